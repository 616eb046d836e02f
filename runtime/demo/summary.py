"""Chapter 7, proof: what happened in words, and which equations do not hold."""

from typing import Any

from core.money import format_yuan

SCHEMA = "citycard/demo/1"


def broken(report: dict[str, Any]) -> list[str]:
    """Every equation of a run that does not hold; empty when the city balances."""
    stock, purse, clearing = report["stock"], report["purse"], report["clearing"]
    applications = report["applications"]
    rules = {
        "applications: received = approved + refused": applications["received"]
        == applications["approved"] + applications["refused"],
        "stock: opening = good + spoiled + remaining": stock["opening"]
        == stock["good"] + stock["spoiled"] + stock["remaining"]
        and stock["difference"] == 0,
        "stock: one good card for each approved application": stock["good"]
        == applications["approved"] == len(report["cards"]),
        "money: loaded - spent = float": purse["loaded_fen"] - purse["spent_fen"]
        == purse["float_fen"],
        "money: float = sum of the chips": purse["difference_fen"] == 0
        and purse["float_fen"] == purse["chip_total_fen"],
        "money: each card's balance = its account": all(
            card["balance_fen"] == card["ledger_fen"] for card in report["cards"]
        ),
        "clearing: every TAC is good": clearing["tac_bad"] == 0
        and clearing["tac_ok"] == clearing["transactions"],
        "clearing: no unexplained difference": clearing["differences"] == 0,
        "tear: the torn payment was recovered": report["tear"]["recovered"] == 1,
        "duplicates: the second upload was refused": report["duplicates_rejected"] >= 1,
        "dormancy: slept, refused with 62, woken": report["dormancy"]["slept"] == 1
        and report["dormancy"]["woken"] == 1 and report["dormancy"]["load_refused_code"] == "62",
        "ceremony: verdict pass": report["ceremony"]["verdict"] == "pass"
        and report["ceremony"]["findings"] == [],
        "day: every use of a key is in the second bundle": report["day"]["verdict"] == "pass"
        and report["day"]["findings"] == [],
    }  # fmt: skip
    return [rule for rule, holds in rules.items() if not holds]


def people_text(report: dict[str, Any], lang: str) -> str:
    """The summary a person reads, in English or Chinese."""
    return "\n".join(_chinese(report) if lang == "zh" else _english(report))


def _english(report: dict[str, Any]) -> list[str]:
    apps, stock, purse = report["applications"], report["stock"], report["purse"]
    clearing, sleep, ceremony = report["clearing"], report["dormancy"], report["ceremony"]
    mark = "HOLDS" if not report["broken"] else "DOES NOT HOLD"
    return [
        f"A day in the city, {report['seconds']} s, readers: {report['reader']}",
        "",
        f"  Applications   {apps['received']} received, {apps['approved']} approved, "
        f"{apps['refused']} refused: {apps['refusal']}",
        f"  Cards          {stock['good']} made, {stock['spoiled']} spoiled by the ribbon and remade",
        f"  Stock          {stock['opening']} = {stock['good']} good + {stock['spoiled']} spoiled + "
        f"{stock['remaining']} remaining      difference {stock['difference']}",
        f"  Money          {format_yuan(purse['loaded_fen'])} loaded - {format_yuan(purse['spent_fen'])} spent"
        f" = {format_yuan(purse['float_fen'])} float = {format_yuan(purse['chip_total_fen'])} on the chips"
        f"      difference {format_yuan(purse['difference_fen'])}",
        f"  Purse          {purse['loads']} loads, {purse['purchases']} purchases, "
        f"{report['tear']['recovered']} torn and recovered, {report['duplicates_rejected']} sent twice and refused",
        f"  Host           {report['iso8583']['messages']} messages: "
        + ", ".join(f"{mti} x {n}" for mti, n in sorted(report["iso8583"]["by_mti"].items())),
        f"  Dormancy       {sleep['slept']} permit fell asleep after {sleep['nights']} nights, its load was "
        f"refused with {sleep['load_refused_code']}, {sleep['woken']} woke",
        f"  Clearing       {clearing['transactions']} purchases, {clearing['tac_ok']} TACs good, "
        f"{clearing['tac_bad']} bad, {clearing['differences']} differences",
        f"  Keys           {'VALID' if ceremony['verdict'] == 'pass' else 'INVALID'}: "
        f"{ceremony['checks']} checks, {len(ceremony['findings'])} findings; the day "
        f"{'VALID' if report['day']['verdict'] == 'pass' else 'INVALID'}, "
        f"{report['day']['events_sealed']} events under seal",
        "",
        f"  Every equation {mark}.",
        *(f"    broken: {rule}" for rule in report["broken"]),
        "",
        f"  Pictures       {report['pictures']}",
        f"  Check it       python {report['verifier']} verify {ceremony['bundle']} --trust {ceremony['trust']}",
        f"  See it         citycard serve --data {report['out']}",
    ]


def _chinese(report: dict[str, Any]) -> list[str]:
    apps, stock, purse = report["applications"], report["stock"], report["purse"]
    clearing, sleep, ceremony = report["clearing"], report["dormancy"], report["ceremony"]
    mark = "全部平衡" if not report["broken"] else "有不平衡项"
    return [
        f"城市的一天，用时 {report['seconds']} 秒，读卡器：{report['reader']}",
        "",
        f"  申请    收件 {apps['received']}，批准 {apps['approved']}，不予批准 {apps['refused']}",
        f"  制证    合格 {stock['good']}，色带故障废卡 {stock['spoiled']}（已补制）",
        f"  空白卡  {stock['opening']} = 合格 {stock['good']} + 废卡 {stock['spoiled']} + 结存 "
        f"{stock['remaining']}，差额 {stock['difference']}",
        f"  资金    充值 {format_yuan(purse['loaded_fen'])} − 消费 {format_yuan(purse['spent_fen'])} = "
        f"备付金 {format_yuan(purse['float_fen'])} = 卡上 {format_yuan(purse['chip_total_fen'])}，"
        f"差额 {format_yuan(purse['difference_fen'])}",
        f"  钱包    圈存 {purse['loads']} 笔，消费 {purse['purchases']} 笔，拔卡恢复 "
        f"{report['tear']['recovered']} 笔，重复上送拒绝 {report['duplicates_rejected']} 笔",
        f"  主机    报文 {report['iso8583']['messages']} 条",
        f"  休眠    {sleep['slept']} 证休眠（{sleep['nights']} 夜后），圈存被拒 {sleep['load_refused_code']}，"
        f"{sleep['woken']} 证激活",
        f"  清算    {clearing['transactions']} 笔，TAC 正确 {clearing['tac_ok']}，错误 {clearing['tac_bad']}，"
        f"差异 {clearing['differences']}",
        f"  密钥    {'有效' if ceremony['verdict'] == 'pass' else '无效'}：检查 {ceremony['checks']} 项，"
        f"问题 {len(ceremony['findings'])} 项；当日{'有效' if report['day']['verdict'] == 'pass' else '无效'}，"
        f"存证事件 {report['day']['events_sealed']} 条",
        "",
        f"  {mark}。",
        *(f"    不平衡：{rule}" for rule in report["broken"]),
        "",
        f"  图片    {report['pictures']}",
        f"  核验    python {report['verifier']} verify {ceremony['bundle']} --trust {ceremony['trust']}",
        f"  查看    citycard serve --data {report['out']}",
    ]
