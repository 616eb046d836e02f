"""TACs of purchases, proven by the HSM: `44` for a few, `90` on the bulk listener for many (hsm-and-ceremony.md 5).

The bulk form costs some milliseconds a call whatever the number, and a microsecond a record (performance.md 1.2).
"""

from collections.abc import Sequence
from typing import Protocol

from core.errors import NotFound
from hsm_sim.client import Hsm
from hsm_sim.purse_requests import MAX_BULK, MAX_TACS, CheckPurchaseTacs, CheckTacs, TacEntry
from payments.limits import USAGE_TAC, Masters
from payments.purse_data import factor_of

BULK_FROM = 1_024
PURCHASE_KIND = "2"


class Provable(Protocol):
    """A purchase with what its TAC covers. Texts are hex; `made` is YYYYMMDDhhmmss."""

    @property
    def id(self) -> int: ...
    @property
    def asn(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def type(self) -> int: ...
    @property
    def psam(self) -> str: ...
    @property
    def terminal_counter(self) -> int: ...
    @property
    def made(self) -> str: ...
    @property
    def tac(self) -> str: ...
    @property
    def key_version(self) -> int: ...


def check_tacs(
    hsm: Hsm, masters: Masters, records: Sequence[Provable], bulk: bool = False
) -> dict[int, bool]:
    """Whether each record's TAC is good, by id. A key version nobody has makes it bad.

    `bulk`: the HSM has its bulk listener. Raises the HSM's errors when it is away: then nothing is judged.
    """
    found: dict[int, bool] = {}
    by_version: dict[int, list[Provable]] = {}
    for record in records:
        by_version.setdefault(record.key_version, []).append(record)
    for version, group in sorted(by_version.items()):
        try:
            master = masters(USAGE_TAC, version)
        except NotFound:
            found |= dict.fromkeys((record.id for record in group), False)
            continue
        many = bulk and len(group) >= BULK_FROM
        size, check = (MAX_BULK, _many) if many else (MAX_TACS, _few)
        for at in range(0, len(group), size):
            part = group[at : at + size]
            good = check(hsm, master, part)
            found |= {record.id: one for record, one in zip(part, good, strict=True)}
    return found


def _few(hsm: Hsm, master: str, records: Sequence[Provable]) -> Sequence[bool]:
    entries = (TacEntry((_factor(r),), covered(r), bytes.fromhex(r.tac)) for r in records)
    return hsm.call(CheckTacs(PURCHASE_KIND, master, tuple(entries)))


def _many(hsm: Hsm, master: str, records: Sequence[Provable]) -> Sequence[bool]:
    packed = b"".join(_factor(r) + covered(r) + bytes.fromhex(r.tac) for r in records)
    bits = hsm.call(CheckPurchaseTacs(master, (), packed)).bitmap
    return [bool(bits[at >> 3] & 0x80 >> (at & 7)) for at in range(len(records))]


def _factor(record: Provable) -> bytes:
    return bytes.fromhex(factor_of(bytes.fromhex(record.asn)))


def covered(record: Provable) -> bytes:
    """What a purchase TAC covers, 22 bytes: amount 4, type 1, PSAM 6, terminal counter 4, date 4, time 3."""
    return (
        record.amount.to_bytes(4, "big")
        + bytes((record.type,))
        + bytes.fromhex(record.psam)
        + record.terminal_counter.to_bytes(4, "big")
        + bytes.fromhex(record.made)
    )
