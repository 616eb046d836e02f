"""What the purse host asks: loads, TACs, purchases without a PSAM, unload, overdraft limit (section 5.2).

`master` is the key field of a resident master, `factors` the diversification, one factor of 8 bytes (the
card factor) in the pilot. Amounts and balances are fen, counters those of INITIALIZE (before the
increment). `type` 1 byte, `terminal` 6 bytes, `date` 4 and `time` 3 bytes BCD, random, MACs and TACs 4 bytes.
A check that fails raises HSM-01.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from hsm_sim.client import R_co, Request, Role
from hsm_sim.codec import Layout, end_of_body
from hsm_sim.errors import refusal

MAX_TACS = 64
MAX_BULK = 65_536
BULK_RECORD = (
    34  # card factor 8, amount 4, type 1, terminal 6, terminal counter 4, date 4, time 3, TAC 4
)
TAC_INPUT = 22
_ONLINE = "master:KEY factors:DIV random:8H counter:4I balance:8I "
_WHEN = "date:8D time:6D"


@dataclass(frozen=True)
class _OnCard(Request[R_co]):
    """What all of them begin with."""

    roles = (Role.PURSE,)

    master: str
    factors: tuple[bytes, ...]


@dataclass(frozen=True)
class _Online(_OnCard[R_co]):
    """What INITIALIZE of an on-line transaction answered."""

    random: bytes
    counter: int
    balance: int


@dataclass(frozen=True)
class _WithMac1(_Online[R_co]):
    """The amount and the MAC1 that stands for it."""

    amount: int
    type: bytes
    terminal: bytes
    mac1: bytes


@dataclass(frozen=True)
class CheckLoad(_WithMac1[None]):
    """`40` mode 0: is this MAC1 of INITIALIZE FOR LOAD right? For judging evidence."""

    code = "40"
    layout = Layout(f"=0 {_ONLINE} amount:8I type:2H terminal:12H mac1:8H")


@dataclass(frozen=True)
class Load(_WithMac1[bytes]):
    """`40` mode 1: check MAC1 and, only if it is right, make MAC2 (R-14). The answer is MAC2, 4 bytes."""

    code = "40"
    layout = Layout(f"=1 {_ONLINE} amount:8I type:2H terminal:12H mac1:8H {_WHEN}")
    answer = Layout("mac2:8H")

    date: bytes
    time: bytes


@dataclass(frozen=True)
class LoadOnLine(_WithMac1[tuple[bytes, bytes]]):
    """`4G` (ours, ADR 0011): a load whose request and answer have a field 64; one command for `M8`, `40` and `M6`.

    `seal` is field 64 over `asked` as it stands in the request: 8 ASCII characters, with `algorithm` 1 and 3 the
    leftmost 4 bytes as hex. Only when it is right is MAC1 looked at, only when that is right too is MAC2 made.
    MAC2 goes into the answer `told` at `place`; back come MAC2 and field 64 over `told`. A wrong `seal` is HSM-F8
    and counts for no card, a wrong MAC1 is HSM-01.
    """

    code = "4G"
    layout = Layout(
        f"algorithm:[13C] key:KEY asked:4L seal:8B {_ONLINE} amount:8I type:2H terminal:12H mac1:8H {_WHEN} "
        "told:4L place:4I"
    )
    answer = Layout("mac2:8H seal:8B")

    date: bytes
    time: bytes
    algorithm: str
    key: str
    asked: bytes
    seal: bytes
    told: bytes
    place: int

    @classmethod
    def around(
        cls,
        load: Load,
        algorithm: str,
        key: str,
        asked: bytes,
        seal: bytes,
        told: bytes,
        place: int,
    ) -> Self:
        """This load between its request and its answer."""
        made = cls.__new__(cls)
        made.__dict__.update(
            vars(load), algorithm=algorithm, key=key, asked=asked, seal=seal, told=told, place=place
        )
        return made


@dataclass(frozen=True)
class Unload(Load):
    """`4A`: the same for an unload."""

    code = "4A"
    layout = Layout(f"{_ONLINE} amount:8I type:2H terminal:12H mac1:8H {_WHEN}")


@dataclass(frozen=True)
class ConfirmUnload(_Online[None]):
    """`4C`: check MAC3; `balance` after the unload, `counter_before` is what MAC3 covers."""

    code = "4C"
    layout = Layout(f"{_ONLINE} counter_before:4I amount:8I type:2H terminal:12H {_WHEN} mac3:8H")

    counter_before: int
    amount: int
    type: bytes
    terminal: bytes
    date: bytes
    time: bytes
    mac3: bytes


@dataclass(frozen=True)
class ChangeLimit(_Online[bytes]):
    """`4E`: check MAC1 of a limit change and make MAC2; limits are 3 bytes."""

    code = "4E"
    layout = Layout(f"{_ONLINE} old_limit:6I new_limit:6I type:2H terminal:12H mac1:8H {_WHEN}")
    answer = Layout("mac2:8H")

    old_limit: int
    new_limit: int
    type: bytes
    terminal: bytes
    mac1: bytes
    date: bytes
    time: bytes


@dataclass(frozen=True)
class CheckLoadTac(_OnCard[None]):
    """`42` kind 1: the TAC of a load; `balance` is the one after it."""

    code = "42"
    layout = Layout(
        f"=1 master:KEY factors:DIV balance:8I counter:4I amount:8I type:2H terminal:12H {_WHEN} tac:8H"
    )

    balance: int
    counter: int
    amount: int
    type: bytes
    terminal: bytes
    date: bytes
    time: bytes
    tac: bytes


@dataclass(frozen=True)
class CheckPurchaseTac(_OnCard[None]):
    """`42` kind 2: the TAC of a purchase; `terminal_counter` is the PSAM's 4-byte number."""

    code = "42"
    layout = Layout(
        f"=2 master:KEY factors:DIV amount:8I type:2H terminal:12H terminal_counter:8I {_WHEN} tac:8H"
    )

    amount: int
    type: bytes
    terminal: bytes
    terminal_counter: int
    date: bytes
    time: bytes
    tac: bytes


@dataclass(frozen=True)
class CheckLimitTac(_OnCard[None]):
    """`42` kind 3: the TAC of an overdraft-limit change; `limit` is the new one, 3 bytes."""

    code = "42"
    layout = Layout(
        f"=3 master:KEY factors:DIV balance:8I counter:4I limit:6I type:2H terminal:12H {_WHEN} tac:8H"
    )

    balance: int
    counter: int
    limit: int
    type: bytes
    terminal: bytes
    date: bytes
    time: bytes
    tac: bytes


@dataclass(frozen=True)
class TacEntry:
    """One entry of `44`: the card's factors, its TAC input and its TAC."""

    factors: tuple[bytes, ...]
    message: bytes
    tac: bytes


TAC_FIELDS = {
    "1": Layout("factors:DIV message:48W tac:8H"),
    "2": Layout("factors:DIV message:44W tac:8H"),
    "3": Layout("factors:DIV message:46W tac:8H"),
}


@dataclass(frozen=True)
class CheckTacs(Request[tuple[bool, ...]]):
    """`44`: up to 64 TACs of one kind and master; the answer says of each whether it is good.

    An entry's `message` is the TAC input of 8.2, which is what the fields of `42` come to in order:
    24 bytes for kind 1, 22 for kind 2, 23 for kind 3.
    """

    code = "44"
    roles = (Role.PURSE,)
    layout = Layout("kind:[123] master:KEY count:2I entries:TAIL")
    answer = Layout("count:2I bitmap:TAIL")

    kind: str
    master: str
    entries: tuple[TacEntry, ...]

    def encode(self) -> bytes:
        each = TAC_FIELDS[self.kind]
        packed = b"".join(
            each.write(entry.factors, entry.message, entry.tac) for entry in self.entries
        )
        return self.layout.write(self.kind, self.master, len(self.entries), packed)

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (kind, master, count), at = _TACS_HEAD.take(text)
        if not 1 <= count <= MAX_TACS:
            raise refusal("15", "1 to 64 entries")
        groups, at = TAC_FIELDS[kind].repeat(text, at, count)
        return cls(kind, master, tuple(TacEntry(*one) for one in groups)), end_of_body(text, at)

    def parse(self, data: bytes) -> tuple[bool, ...]:
        count, bitmap = self.answer.read(data)
        return read_bitmap(bytes.fromhex(bitmap.decode("ascii")), count)


_TACS_HEAD = Layout("kind:[123] master:KEY count:2I")


@dataclass(frozen=True)
class BulkVerdict:
    """Answer of `90`: how many records, how many bad TACs, a bit a record (first = highest, 1 = good)."""

    count: int
    bad: int
    bitmap: bytes


@dataclass(frozen=True)
class CheckPurchaseTacs(Request[BulkVerdict]):
    """`90` on the bulk listener: up to 65,536 purchase TACs of one master.

    `records` are 34 bytes each: card factor 8, TAC input 22 (amount, type, terminal, terminal counter, date,
    time), TAC 4. `levels` are factors applied before the card's own (none in the pilot, at most two).
    """

    code = "90"
    roles = (Role.PURSE,)
    layout = Layout("master:KEY levels:DIV count:8I records:TAIL")
    answer = Layout("count:8I bad:8I bitmap:TAIL")
    bulk: ClassVar[bool] = True

    master: str
    levels: tuple[bytes, ...]
    records: bytes

    def encode(self) -> bytes:
        count, rest = divmod(len(self.records), BULK_RECORD)
        if rest or len(self.levels) > 2:
            raise ValueError("records have 34 bytes, fixed levels are at most two")
        return self.layout.write(self.master, self.levels, count, self.records)

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (master, levels, count), at = _BULK_HEAD.take(text)
        end = at + count * BULK_RECORD
        if not 1 <= count <= MAX_BULK or len(levels) > 2:
            raise refusal("15", "1 to 65,536 records, at most two levels")
        if end > len(text):
            raise refusal("15", "fewer records than the count says")
        records = text[at:end].encode("latin-1")
        return cls(master, levels, records), end_of_body(text, end)

    def parse(self, data: bytes) -> BulkVerdict:
        return BulkVerdict(*self.answer.read(data))


_BULK_HEAD = Layout("master:KEY levels:DIV count:8I")


@dataclass(frozen=True)
class _Purchase(_OnCard[R_co]):
    """A purchase at a site whose PSAM is the host. Off unless policy says so (R-15)."""

    random: bytes
    counter: int
    terminal_counter: int
    amount: int
    type: bytes
    terminal: bytes
    date: bytes
    time: bytes


@dataclass(frozen=True)
class PurchaseMac1(_Purchase[bytes]):
    """`46`: MAC1 of a purchase."""

    code = "46"
    layout = Layout(
        "master:KEY factors:DIV random:8H counter:4I terminal_counter:8I amount:8I type:2H terminal:12H "
        + _WHEN
    )
    answer = Layout("mac1:8H")


@dataclass(frozen=True)
class CheckPurchaseMac2(_Purchase[None]):
    """`48`: is MAC2 of the card right?"""

    code = "48"
    layout = Layout(PurchaseMac1.layout.spec + " mac2:8H")

    mac2: bytes


def write_bitmap(good: Sequence[bool]) -> bytes:
    """One bit a record, first record = highest bit of the first byte, 1 = good."""
    bits = "".join("1" if one else "0" for one in good)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def read_bitmap(bitmap: bytes, count: int) -> tuple[bool, ...]:
    """The inverse of `write_bitmap`."""
    bits = f"{int.from_bytes(bitmap, 'big'):0{8 * len(bitmap)}b}"
    return tuple(bit == "1" for bit in bits[:count])
