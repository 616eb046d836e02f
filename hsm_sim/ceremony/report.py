"""The verdict as a text in English and Chinese, the same bytes for every auditor (console.md 4)."""

from hsm_sim.ceremony.verifier import CHECKS, Verdict
from hsm_sim.ceremony.words import groups, words

RULES_ZH = {
    "LOG-PARSE": "每行都是无重复成员的 JSON 对象,并以换行结束。",
    "LOG-CANON": "每行字节与规范形式一致。",
    "LOG-TYPE": "每行的版本、类型和成员均为已知。",
    "LOG-SEQ": "序号等于行号,启动次数连续。",
    "LOG-CHAIN": "每行都指向上一行的散列值。",
    "LOG-TIME": "时间从不倒退。",
    "TRU-GENESIS": "首行就是审计员当初所见的创始记录。",
    "TRU-KEY": "创始记录中的加密机与日志密钥正是审计员所知的。",
    "CHK-FORM": "每个检查点格式正确。",
    "CHK-ORIGIN": "每个检查点都属于本加密机。",
    "CHK-SIG": "每个检查点由本加密机签名,其余签名均来自已知审计员。",
    "CHK-SIZE": "检查点覆盖的行数不超过实际行数。",
    "CHK-ROOT": "检查点的根与重新计算的结果一致。",
    "CHK-STALE": "最新的有效检查点覆盖最后一行。",
    "CHK-ROLLBACK": "日志不短于审计员上次所见。",
    "CHK-FORK": "日志以审计员上次所见的各行开头。",
    "CER-NUM": "仪式编号连续,无缺无重。",
    "CER-PREV": "每次仪式都指向上一次的结束记录。",
    "CER-OPEN": "每次仪式都已结束,且互不交叠。",
    "CER-SCRIPT": "每次仪式的脚本齐全且未改动。",
    "CER-STEP": "各步骤均在仪式内、按脚本顺序进行,例外有见证记录。",
    "CER-COMP": "每个合成密钥的分量齐全且不少于下限。",
    "QUO-ROLE": "出席者和签名者都在名册上,且角色相符。",
    "QUO-SIG": "每个签名在其所在位置有效。",
    "QUO-COUNT": "每项操作都达到法定人数。",
    "QUO-DUP": "一人不重复计数,一把密钥的两个分量不由同一人输入。",
    "QUO-ABSENT": "签名者均出席。",
    "QUO-REVOKED": "被撤销者未再参加。",
    "QUO-CUSTODIAN": "每个分量由其保管人批准。",
    "KEY-ORIGIN": "每把密钥都来自有记录的仪式。",
    "KEY-LOST": "仪式产生的密钥未经销毁不得缺失。",
    "KEY-ATTR": "密钥属性与仪式一致。",
    "KEY-STATE": "状态变更合规,只使用有效密钥。",
    "KEY-DUP": "密钥标识和密钥值均不重复。",
    "KCV-CLOSE": "结束时宣读的密钥与各步骤一致。",
    "KCV-DIR": "目录中的校验值与仪式一致。",
    "KCV-WEAK": "没有全零分量或密钥,分量互不相同。",
    "USE-GAP": "计数区间编号连续,崩溃造成的缺失已声明。",
    "USE-SUM": "使用计数相符。",
    "USE-OPS": "操作文件与其摘要一致。",
    "USE-UNACC": "崩溃后未计数的使用有上限(警告)。",
    "DEV-MODE": "加密机未以开发模式运行。",
    "BND-EXPORT": "最后一行是审计导出。",
    "BND-NONCE": "导出回应了本次审计的随机数。",
    "BND-KEYS": "密钥目录与导出记录一致。",
    "BND-FILES": "附件有据可查,说明文件未改动。",
}
NOT_PROVED_ZH = (
    "加密机程序是否真如日志所记:模拟器的主人可以运行别的代码。",
    "最后一条预留记录之后,是否有人用过密钥再恢复旧状态。",
    "校验值是否属于正确的密钥:本程序没有密钥。",
    "两个“不同”的人是否真是两个人,房间是否上锁。",
)


def bilingual(verdict: Verdict) -> str:
    """Verdict first, then each rule with what was examined, findings, warnings, limits."""
    summary = verdict.summary
    failed = {entry["code"] for entry in verdict.findings}
    said = "VALID 有效" if verdict.verdict == "pass" else "INVALID 无效"
    lines = [
        f"KEY CEREMONIES 密钥仪式 {summary['hsm']}: {said}",
        f"{len(CHECKS) - len(failed)} of {len(CHECKS)} checks hold 项检查通过",
        "",
    ]
    for check, counted in zip(CHECKS, verdict.checks, strict=True):
        code = counted["code"]
        mark = "FAILED 不符" if code in failed else "ok 相符"
        lines += [
            f"{code}  {mark}  [{counted['examined']}]",
            f"  {check.__doc__}",
            f"  {RULES_ZH[code]}",
        ]
    for title, entries in (("FINDING 不符", verdict.findings), ("WARNING 提示", verdict.warnings)):
        for entry in entries:
            lines.append(f"{title} {entry['code']} @ {entry['where']}")
            lines.append(f"  expected 应为: {entry['expected']}")
            lines.append(f"  found 实为: {entry['found']}")
    root = bytes.fromhex(summary["root"])
    lines += [
        "",
        f"lines 行 {summary['lines']}, ceremonies 仪式 {summary['ceremonies']}, "
        f"keys 密钥 {summary['keys']}, uses 使用 {summary['uses']}",
        f"root 根: {groups(root)}",
        f"read aloud 宣读: {words(root)}",
        "",
        "Not proved 未能证明:",
    ]
    for english, chinese in zip(summary["not_proved"], NOT_PROVED_ZH, strict=True):
        lines += [f"- {english}", f"  {chinese}"]
    lines.append(f"verifier 校验程序 {summary['verifier']}, SHA-256 {summary['verifier_sha256']}")
    return "\n".join(lines) + "\n"
