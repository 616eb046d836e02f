"""The verdict in English and Chinese, as a text and as a PDF: the same bytes for every auditor (console.md 4).

The PDF is set by typst from ``report.typ`` with Noto Sans CJK of the operating system (Debian:
fonts-noto-cjk); no date and no machine goes into it.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import typst

from core.errors import NotFound
from hsm_sim.ceremony.verifier import CHECKS, Verdict
from hsm_sim.ceremony.words import groups, words
from hsm_sim.notice import NOTICES

FONT = "NotoSansCJK-Regular.ttc"
FONT_FOLDERS = (
    "/usr/share/fonts/opentype/noto",
    "/usr/share/fonts/noto-cjk",
    "/usr/share/fonts/google-noto-cjk",
    "/usr/share/fonts/noto",
    "/Library/Fonts",
)
MAX_FACTS = 2_000  # characters of one expected or found value on paper

RULES_ZH = {
    "LOG-PARSE": "每行都是无重复成员的 JSON 对象，并以换行结束。",
    "LOG-CANON": "每行字节与规范形式一致。",
    "LOG-TYPE": "每行的版本、类型和成员均为已知。",
    "LOG-SEQ": "序号等于行号。",
    "LOG-CHAIN": "每行都指向上一行的散列值。",
    "LOG-TIME": "时间从不倒退。",
    "TRU-GENESIS": "首行就是审计员当初所见的创始记录。",
    "TRU-KEY": "创始记录中的加密机与日志密钥正是审计员所知的。",
    "CHK-FORM": "每个检查点格式正确。",
    "CHK-ORIGIN": "每个检查点都属于本加密机。",
    "CHK-SIG": "每个检查点由本加密机签名，其余签名均来自已知审计员。",
    "CHK-SIZE": "检查点覆盖的行数不超过实际行数。",
    "CHK-ROOT": "检查点的根与重新计算的结果一致。",
    "CHK-STALE": "最新的有效检查点覆盖最后一行。",
    "CHK-ROLLBACK": "日志不短于审计员上次所见。",
    "CHK-FORK": "日志以审计员上次所见的各行开头。",
    "CER-NUM": "仪式编号连续，无缺无重。",
    "CER-PREV": "每次仪式都指向上一次的结束记录。",
    "CER-OPEN": "每次仪式都已结束，且互不交叠。",
    "CER-SCRIPT": "每次仪式的脚本齐全且未改动。",
    "CER-STEP": "各步骤均在仪式内、按脚本顺序进行，例外有见证记录。",
    "CER-COMP": "每个合成密钥的分量齐全且不少于下限。",
    "QUO-ROLE": "出席者和签名者都在名册上，且角色相符。",
    "QUO-SIG": "每个签名在其所在位置有效。",
    "QUO-COUNT": "每项操作都达到法定人数。",
    "QUO-DUP": "一人不重复计数，一把密钥的两个分量不由同一人输入。",
    "QUO-ABSENT": "签名者均出席。",
    "QUO-REVOKED": "被撤销者未再参加。",
    "QUO-CUSTODIAN": "每个分量由其保管人批准。",
    "KEY-ORIGIN": "每把登记、使用、导出或变更的密钥都来自有记录的仪式。",
    "KEY-LOST": "仪式产生的密钥未经销毁不得缺失。",
    "KEY-ATTR": "密钥属性与仪式一致，整把导出的密钥均可导出。",
    "KEY-STATE": "状态变更合规，只使用有效且在有效期内的密钥。",
    "KEY-DUP": "密钥标识和密钥值均不重复。",
    "KCV-CLOSE": "结束时宣读的密钥与各步骤一致，导入密钥与人工键入的校验值一致。",
    "KCV-DIR": "目录中和导出时的校验值与仪式一致。",
    "KCV-WEAK": "没有全零分量或密钥，分量互不相同。",
    "USE-GAP": "计数区间先预留、编号连续，崩溃造成的缺失已声明。",
    "USE-SUM": "使用计数相符。",
    "USE-OPS": "操作文件与其摘要一致，逐行编号，无缺无多。",
    "USE-UNACC": "崩溃后未计数的使用有上限（警告）。",
    "DEV-MODE": "加密机未以开发模式运行。",
    "BND-EXPORT": "最后一行是审计导出。",
    "BND-NONCE": "导出回应了本次审计的随机数。",
    "BND-KEYS": "密钥目录与导出记录一致。",
}
NOT_PROVED_ZH = (
    "加密机程序是否真如日志所记：模拟器的主人可以运行别的代码。",
    "最后一条预留记录之后，是否有人用过密钥再恢复旧状态。",
    "校验值是否属于正确的密钥：本程序没有密钥。",
    "两个“不同”的人是否真是两个人，房间是否上锁。",
)


def content(verdict: Verdict) -> dict[str, Any]:
    """Everything the report says, as the text and the paper both print it."""
    summary = verdict.summary
    failed = {entry["code"] for entry in verdict.findings}
    passed = verdict.verdict == "pass"
    root = bytes.fromhex(summary["root"])
    return {
        "hsm": summary["hsm"],
        "passed": passed,
        "said_en": "VALID" if passed else "INVALID",
        "said_zh": "有效" if passed else "无效",
        "held": len(CHECKS) - len(failed),
        "total": len(CHECKS),
        "notices": [
            {"en": english.replace("\n", " ").replace("`", ""), "zh": chinese}
            for english, chinese in NOTICES
        ],
        "checks": [
            {
                "code": counted["code"],
                "held": counted["code"] not in failed,
                "examined": str(counted["examined"]),
                "en": check.__doc__,
                "zh": RULES_ZH[counted["code"]],
            }
            for check, counted in zip(CHECKS, verdict.checks, strict=True)
        ],
        "findings": [_told("FINDING 不符", entry) for entry in verdict.findings],
        "warnings": [_told("WARNING 提示", entry) for entry in verdict.warnings],
        "lines": str(summary["lines"]),
        "ceremonies": str(summary["ceremonies"]),
        "keys": str(summary["keys"]),
        "uses": str(summary["uses"]),
        "genesis": groups(bytes.fromhex(summary["genesis"])),
        "nonce": summary["nonce"],
        "root": groups(root),
        "words": words(root),
        "not_proved": [
            {"en": english, "zh": chinese}
            for english, chinese in zip(summary["not_proved"], NOT_PROVED_ZH, strict=True)
        ],
        "verifier": summary["verifier"],
        "verifier_sha256": summary["verifier_sha256"],
    }


def _told(title: str, entry: dict[str, str]) -> dict[str, str]:
    """A finding for paper: long values are cut, which the JSON form never does."""
    short = {name: f"{text[:MAX_FACTS]}…" for name, text in entry.items() if len(text) > MAX_FACTS}
    return {"title": title, **entry, **short}


def bilingual(verdict: Verdict) -> str:
    """Verdict first, then each rule with what was examined, findings, warnings, limits."""
    said = content(verdict)
    lines = [
        f"KEY CEREMONIES 密钥仪式 {said['hsm']}: {said['said_en']} {said['said_zh']}",
        f"{said['held']} of {said['total']} checks hold 项检查通过",
        "",
    ]
    for row in said["checks"]:
        mark = "ok 相符" if row["held"] else "FAILED 不符"
        lines += [f"{row['code']}  {mark}  [{row['examined']}]", f"  {row['en']}", f"  {row['zh']}"]
    for row in said["findings"] + said["warnings"]:
        lines.append(f"{row['title']} {row['code']} @ {row['where']}")
        lines.append(f"  expected 应为: {row['expected']}")
        lines.append(f"  found 实为: {row['found']}")
    lines += [
        "",
        f"lines 行 {said['lines']}, ceremonies 仪式 {said['ceremonies']}, "
        f"keys 密钥 {said['keys']}, uses 使用 {said['uses']}",
        f"genesis 创始: {said['genesis']}",
        f"nonce 随机数: {said['nonce']}",
        f"root 根: {said['root']}",
        f"read aloud 宣读: {said['words']}",
        "",
        "Not proved 未能证明:",
    ]
    for row in said["not_proved"]:
        lines += [f"- {row['en']}", f"  {row['zh']}"]
    lines.append(f"verifier 校验程序 {said['verifier']}, SHA-256 {said['verifier_sha256']}")
    return "\n".join(lines) + "\n"


def pdf(verdict: Verdict) -> bytes:
    """The report as a PDF, the same bytes for the same verdict; raises NotFound (CER-FONT)."""
    folder = next((name for name in FONT_FOLDERS if (Path(name) / FONT).is_file()), None)
    if folder is None:
        raise NotFound("CER-FONT", f"looked in {', '.join(FONT_FOLDERS)}", file=FONT)
    with resources.as_file(resources.files("hsm_sim.ceremony").joinpath("report.typ")) as template:
        return typst.compile(
            template,
            format="pdf",
            font_paths=[Path(folder)],
            ignore_system_fonts=True,
            sys_inputs={"verdict": json.dumps(content(verdict), ensure_ascii=False)},
        )
