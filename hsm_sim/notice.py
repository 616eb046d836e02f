"""What the simulator must say about itself: at start, in its status, in every bundle and report.

hsm-and-ceremony.md 14, sentence by sentence, in both languages.
"""

TITLE = "This HSM is a simulator."
TITLE_ZH = "本加密机为模拟器。"
NOTICES = (
    (
        "This is software. It is not FIPS 140, PCI HSM or GM/T certified and gives no protection against\n"
        "whoever controls the machine, its memory or its backups.",
        "这是软件，未通过 FIPS 140、PCI HSM 或 GM/T 认证，无法防范掌控本机、内存或备份的人。",
    ),
    (
        "Do not load production keys. Instances are marked `test` at genesis unless the operator types a\n"
        "sentence saying otherwise, and that sentence is logged.",
        "请勿装入生产密钥。除非操作员输入另行声明并记入日志，实例在创始时标为 test。",
    ),
    (
        "Python cannot reliably erase secrets from memory.",
        "Python 无法可靠地从内存中清除秘密。",
    ),
    ("Time comes from the operating system.", "时间来自操作系统。"),
    (
        "Side channels: no claim. TDES and single DES are here because the cards need them.",
        "对侧信道不作任何声明。使用 TDES 和单 DES 仅因卡片需要。",
    ),
    (
        "Component entry at a keyboard of a general computer is a rehearsal, not a key ceremony under PCI rules.",
        "在普通计算机键盘上输入分量只是演练，不是符合 PCI 规则的密钥仪式。",
    ),
    (
        "The audit log proves consistency and agreement of people, not honesty of code.",
        "审计日志证明记录一致且经人员同意，不能证明程序诚实。",
    ),
)


def banner() -> str:
    """The notice as numbered lines, for a console at start.

    >>> banner().splitlines()[0]
    'This HSM is a simulator.'
    """
    rows = [
        f"{number}. {english}".replace("\n", "\n   ")
        for number, (english, _) in enumerate(NOTICES, 1)
    ]
    return "\n".join([TITLE, *rows])
