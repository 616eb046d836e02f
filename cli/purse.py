"""``citycard purse``: what the ledger and the host know of one card, and what two people must decide."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import output
from cli.office import DEFAULT_DATA, Data, Json, opened

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx
    from payments.resolution import Deciders

app = typer.Typer(
    no_args_is_help=True, help="One purse, and what two people decide. 电子钱包查询与裁定。"
)
Serial = Annotated[str, typer.Argument(help="Card serial (14 digits) or ASN (20 digits).")]
ASN_PREFIX = "000000"


As = Annotated[str, typer.Option("--as", help="Who decides.")]
With = Annotated[str, typer.Option("--with", help="The second person.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


def _asn(text: str) -> str:
    if not text.isdecimal() or len(text) not in (14, 20):
        raise typer.BadParameter("14 or 20 digits are expected", param_hint="SERIAL")
    return ASN_PREFIX + text if len(text) == 14 else text


@app.command("show")
def show(serial: Serial, data: Data = DEFAULT_DATA, as_json: Json = False) -> int:
    """Balance by the ledger, what is promised on top, open loads, purchases kept for people. 余额与状态。"""
    from payments.purse_view import view

    with opened(data) as city, city.db.read() as tx:
        found = view(tx, _asn(serial))
    if as_json:
        output.json_object({"schema": "citycard/purse/1", **vars(found)})
        return 0
    from core.money import format_yuan

    output.result(
        f"{found.asn}: {format_yuan(found.posted_fen)} yuan, promised {format_yuan(found.pending_fen)}"
    )
    output.result(
        f"  online counter {found.counter}, {'BLOCKED' if found.blocked else 'not blocked'}, open loads "
        f"{found.open_loads}, purchases kept {found.kept}"
    )
    return 0


@app.command("statement")
def statement(
    serial: Serial,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 100,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """The card's ledger lines, oldest first, pending ones included. 明细。"""
    from core.clock import SHANGHAI
    from core.money import format_yuan
    from payments import ledger

    asn = _asn(serial)
    with opened(data) as city, city.db.read() as tx:
        lines = ledger.statement(tx, ledger.purse(asn), limit)
    if as_json:
        rows = [
            {"id": e.id, "step": e.step, "amount_fen": e.amount, "other": e.other,
             "reason": e.reason, "day": e.day.isoformat(), "at": e.at.isoformat()}
            for e in lines
        ]  # fmt: skip
        output.json_object({"schema": "citycard/statement/1", "asn": asn, "lines": rows})
        return 0
    words = {"P": "promised", "C": "posted", "V": "taken back", "S": "posted"}
    for entry in lines:
        at = entry.at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
        output.result(
            f"{at}  {format_yuan(entry.amount):>12}  {words[entry.step]:<10}  {entry.reason:<10}  {entry.other}"
        )
    return 0


@app.command("kept")
def kept(data: Data = DEFAULT_DATA, as_json: Json = False) -> int:
    """Purchases that were received but not posted, with the number `decide-purchase` asks for. 挂起消费。"""
    from core.money import format_yuan
    from payments.purse_view import kept_purchases

    with opened(data) as city, city.db.read() as tx:
        rows: list[dict[str, Any]] = [
            {"number": str(row.id), "asn": row.asn, "amount_fen": row.amount, "flags": row.flags,
             "made": row.made, "terminal": row.terminal, "merchant": row.merchant,
             "tac_good": row.tac_good}
            for row in kept_purchases(tx)
        ]  # fmt: skip
    if as_json:
        output.json_object({"schema": "citycard/purse-kept/1", "purchases": rows})
        return 0
    for row in rows:
        proof = "TAC good" if row["tac_good"] else "TAC wrong"
        output.result(
            f"{row['number']:>6}  {row['flags']:<4} {row['asn']}  {format_yuan(row['amount_fen']):>10}  "
            f"{row['made']}  {row['terminal']}  {proof}"
        )
    return 0


@app.command("incidents")
def incidents(
    closed: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 1000,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """What people must look at, with the bytes that show it in JSON. 异常事件。"""
    from payments import purse_view

    with opened(data) as city, city.db.read() as tx:
        rows = [
            {"number": str(row.id), "kind": row.kind, "subject": row.subject, "detail": row.detail,
             "evidence": row.evidence.hex().upper(), "day": row.day.isoformat(), "open": row.open}
            for row in purse_view.incidents(tx, closed, limit)
        ]  # fmt: skip
    if as_json:
        output.json_object({"schema": "citycard/purse-incidents/1", "incidents": rows})
        return 0
    for row in rows:
        mark = "" if row["open"] else "  [closed]"
        output.result(
            f"{row['number']:>6}  {row['day']}  {row['kind']:<22} {row['subject']}: {row['detail']}{mark}"
        )
    return 0


@app.command("close-incident")
def close_incident(
    number: Annotated[int, typer.Argument(help="The incident's number, from `incidents`.")],
    who: As,
    second: With,
    reason: Reason,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """Two people have looked at an incident. 关闭异常事件。"""
    from payments import resolution

    def close(tx: "Tx", clock: "Clock", deciders: "Deciders") -> str:
        resolution.close_incident(tx, clock, number, deciders, reason)
        return "CLOSED"

    return _decided(str(number), close, who, second, data, as_json)


@app.command("decide-load")
def decide_load(
    key: Annotated[str, typer.Argument(help="The load's key, from the clearing report.")],
    happened: Annotated[bool, typer.Option("--happened/--not-happened", help="What is true.")],
    who: As,
    second: With,
    reason: Reason,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """Two people settle a load that neither counter nor proof settled. 裁定未决圈存。"""
    from payments import resolution

    def decide(tx: "Tx", clock: "Clock", deciders: "Deciders") -> str:
        return resolution.decide_load(tx, clock, key, happened, deciders, reason)

    return _decided(key, decide, who, second, data, as_json)


@app.command("decide-purchase")
def decide_purchase(
    number: Annotated[int, typer.Argument(help="The purchase's number, from `kept`.")],
    pay: Annotated[bool, typer.Option("--pay/--refuse", help="Pay the merchant or not.")],
    who: As,
    second: With,
    reason: Reason,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """Two people settle a purchase that was kept. 裁定挂起消费。"""
    from payments import resolution

    def decide(tx: "Tx", clock: "Clock", deciders: "Deciders") -> str:
        return resolution.decide_purchase(tx, clock, number, pay, deciders, reason)

    return _decided(str(number), decide, who, second, data, as_json)


def _decided(
    subject: str,
    decide: "Callable[[Tx, Clock, Deciders], str]",
    who: str,
    second: str,
    data: Path,
    as_json: bool,
) -> int:
    """Let two people decide, and tell the state that follows."""
    from payments.resolution import Deciders

    deciders = Deciders(who, second)
    with opened(data) as city, city.db.write() as tx:
        state = decide(tx, city.clock, deciders)
    if as_json:
        output.json_object(
            {"schema": "citycard/purse-decision/1", "subject": subject, "state": state}
        )
    else:
        output.result(f"{subject}: {state}")
    return 0
