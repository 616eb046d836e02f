"""What the holder gets on paper: purchases, loads, settlements, in Chinese and English (console.md 5).

A receipt shows the card masked, the trace number and the tail of the TAC, so that a dispute is quick; never a PIN,
an account or a full card number. Lines are at most `WIDTH` columns, a Chinese character taking two.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.money import format_yuan
from payments import responses
from payments.purse_records import PurchaseStatus
from payments.requests import CASH_LOAD, LOAD, OTHER_LOAD, PURCHASE, UNLOAD
from payments.terminal_batch import Settled
from payments.terminal_host import Identity
from payments.terminal_records import LoadCase, LoadState, PurchaseEntry

WIDTH = 32
TAC_TAIL = 4
TAKEN_BACK = ("00", "25")  # answers to a reversal that leave nothing loaded at the host
SERIAL_TAIL = 4

_WORDS = {
    "merchant": ("商户号", "Merchant"),
    "terminal": ("终端号", "Terminal"),
    "card": ("卡号", "Card"),
    "trace": ("流水号", "Trace"),
    "batch": ("批次号", "Batch"),
    "time": ("时间", "Time"),
    "amount": ("金额", "Amount"),
    "balance": ("余额", "Balance"),
    "tac": ("交易认证码", "TAC"),
    "reference": ("参考号", "Reference"),
    "code": ("应答码", "Response"),
    "loads": ("圈存", "Loads"),
    "unloads": ("圈提", "Unloads"),
    "purchases": ("消费", "Purchases"),
    "result": ("对账", "Host"),
}
_LOAD_KINDS = {
    LOAD: ("账户圈存", "LOAD FROM ACCOUNT"),
    CASH_LOAD: ("现金圈存", "CASH LOAD"),
    OTHER_LOAD: ("他户圈存", "LOAD FROM OTHER ACCOUNT"),
    UNLOAD: ("圈提", "UNLOAD TO ACCOUNT"),
}
_LOAD_ENDS = {
    LoadState.CONFIRMED: ("圈存成功", "loaded"),
    LoadState.CREDITED: ("圈存成功", "loaded"),
    LoadState.REVERSED: ("已冲正，未入账", "reversed, not loaded"),
    LoadState.REVERSING: ("冲正中，未入账", "being reversed, not loaded"),
    LoadState.DECLINED: ("交易失败", "declined"),
    LoadState.ANSWERED: ("结果未知，请放回原卡", "unknown: present the card again"),
    LoadState.UNKNOWN: ("结果未知，待查", "unknown, under inquiry"),
    LoadState.REPORTED: ("结果未知，待查", "unknown, under inquiry"),
    LoadState.SENT: ("处理中", "under way"),
}
_RESULTS = {1: ("平账", "balanced"), 2: ("不平", "differs"), 3: ("无法核对", "cannot say")}


@dataclass(frozen=True)
class Receipt:
    """Lines to print."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def masked_serial(asn: bytes) -> str:
    """``****`` and the last four digits of the card's number."""
    return "****" + asn.hex().rstrip("fF")[-SERIAL_TAIL:]


def purchase_receipt(me: Identity, entry: PurchaseEntry) -> Receipt:
    """Slip of a purchase. ValueError for one that is still torn: nothing may be promised yet."""
    record = entry.record
    if not entry.spent:
        raise ValueError("a receipt is for a purchase that happened")
    composite = record.type == 0x09
    title = ("复合消费", "COMPOSITE PURCHASE") if composite else ("脱机消费", "PURCHASE")
    rows = [
        *_head(me), ("card", masked_serial(record.asn)), ("time", _when(record.date, record.time)),
        ("amount", _yuan(record.amount)),
        ("balance", _yuan(record.balance_before - record.amount)),
        ("trace", f"{record.terminal_counter:08X}"),
        ("tac", "…" + record.tac.hex().upper()[-TAC_TAIL:]),
    ]  # fmt: skip
    if record.status is PurchaseStatus.RECOVERED:
        return _receipt(title, rows, ("补登成功", "recovered after a tear"))
    return _receipt(title, rows, ("交易成功", "paid"))


def load_receipt(me: Identity, case: LoadCase) -> Receipt:
    """Slip of a load in whatever state it is."""
    asked = case.request
    rows = [
        *_head(me), ("card", masked_serial(asked.asn)), ("batch", f"{case.batch:06d}"),
        ("trace", f"{case.trace:06d}"), ("amount", _yuan(asked.amount)),
    ]  # fmt: skip
    if case.date:
        rows.append(("time", _when(case.date, case.time)))
    if case.reference:
        rows.append(("reference", case.reference))
    if case.tac:
        rows.append(("balance", _yuan(asked.balance_after)))
        rows.append(("tac", "…" + case.tac.hex().upper()[-TAC_TAIL:]))
    refused = case.state is LoadState.REVERSED and case.code not in TAKEN_BACK
    if case.state is LoadState.DECLINED or refused:
        rows.append(("code", f"{case.code} {responses.reads(case.code, 'zh')}"))
    if refused:  # the host holds another view of this load (8.2)
        return _receipt(
            _LOAD_KINDS[case.kind], rows, ("冲正被拒，待人工核对", "not reversed, see office")
        )
    if case.kind == UNLOAD and case.counted and case.tac:
        return _receipt(_LOAD_KINDS[case.kind], rows, ("圈提成功", "unloaded"))
    return _receipt(_LOAD_KINDS[case.kind], rows, _LOAD_ENDS[case.state])


def settlement_receipt(me: Identity, settled: Settled) -> Receipt:
    """Slip of a closed batch."""
    kinds = settled.totals.kinds
    rows = [*_head(me), ("batch", f"{settled.batch:06d}")]
    loads = [kind for kind in kinds if kind in _LOAD_KINDS and kind != UNLOAD]
    for name, group in (("loads", loads), ("unloads", [UNLOAD]), ("purchases", [PURCHASE])):
        totals = [kinds[kind] for kind in group if kind in kinds]
        count, amount = sum(t.count for t in totals), sum(t.amount for t in totals)
        if totals or name != "unloads":
            rows.append((name, f"{count}  {_yuan(amount)}"))
    zh, en = _RESULTS.get(settled.result, _RESULTS[3])
    rows.append(("result", f"{zh} {en}"))
    if settled.differences:
        return _receipt(
            ("结算", "SETTLEMENT"), rows, ("有差异，待人工核对", "differences, see office")
        )
    return _receipt(("结算", "SETTLEMENT"), rows, ("批次已关闭", "batch closed"))


def _head(me: Identity) -> list[tuple[str, str]]:
    return [("merchant", me.merchant), ("terminal", me.terminal)]


def _yuan(fen: int) -> str:
    return f"¥{format_yuan(fen)}"


def _when(date: bytes, time: bytes) -> str:
    d, t = date.hex(), time.hex()
    return f"{d[:4]}-{d[4:6]}-{d[6:]} {t[:2]}:{t[2:4]}:{t[4:]}"


def _receipt(
    title: tuple[str, str], rows: Sequence[tuple[str, str]], end: tuple[str, str]
) -> Receipt:
    lines = [_centred(title[0]), _centred(title[1]), "-" * WIDTH]
    for name, value in rows:
        lines.extend(_row(name, value))
    lines += ["-" * WIDTH, _centred(end[0]), _centred(end[1])]
    return Receipt(tuple(lines))


def _row(name: str, value: str) -> Iterator[str]:
    """Both labels and the value on one line, or the value on a line of its own."""
    label = " ".join(_WORDS[name])
    gap = WIDTH - columns(label) - columns(value)
    if gap >= 1:
        yield label + " " * gap + value
        return
    yield label
    yield value.rjust(WIDTH - columns(value) + len(value))


def _centred(text: str) -> str:
    return " " * ((WIDTH - columns(text)) // 2) + text


def columns(text: str) -> int:
    """How wide a text prints: wide characters take two columns."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
