"""Fields with inner structure: 48, 54, 60, 61, 62 and 63 (iso8583-host.md 4, 7, 12).

Pure: values to and from the digits, characters or bytes of a field. Field 58 has a file of its own,
`payments.purse_data`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from core.errors import Rejected

LIST_BLACK, LIST_STATUS = "BL", "SL"
BLACK_ENTRY = 12
STATUS_ENTRY = 22
BLACK_PAGE_MAX = 40
STATUS_PAGE_MAX = 22
PAGE_NOTHING, PAGE_LAST, PAGE_MORE = 0, 1, 2
_PAGE_HEAD = 28  # flag letters 2, flag 1, version 8, base 8, index 6, count 3
TOTALS_LENGTH = 62
OPERATOR_LENGTH = 3
COUNT_MAX = 999
DETAIL_RECORD = 40
DETAILS_MAX = 8
ITEMS_MAX = 64
MERCHANT_NAME_BYTES = 40  # of parameter 22, in GB18030
DECIMAL_DIGITS, HEX_DIGITS = frozenset("0123456789"), frozenset("0123456789ABCDEF")
# Status items (7.10): records waiting, minutes of the oldest, blacklist version, PSAM number and counter in hex,
# clock, reversals waiting.
STATUS_LENGTHS = {"70": 4, "71": 6, "72": 8, "73": 12, "74": 8, "75": 14, "76": 3}
STATUS_HEX = frozenset({"73", "74"})


class PartFault(Rejected):
    """A field's inner structure is broken; `field` says where."""

    response_code = "30"

    def __init__(self, field: int, detail: str) -> None:
        super().__init__("ISO-PART", f"field {field}: {detail}", field=field)
        self.field = field


def _number(field: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise PartFault(field, "digits are expected")
    return int(text)


def _ascii(field: int, raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise PartFault(field, "characters are expected") from None


# ---- field 60 and 61


def field60(kind: str, batch: str, function: str = "000", tail: str = "60") -> str:
    """Type(2) batch(6) code(3), and for all but 08xx, 0500 and end messages reading ability and chip condition.

    >>> field60("40", "000042")
    '4000004200060'
    """
    return kind + batch + function + tail


@dataclass(frozen=True)
class Original:
    """Field 61: the message meant. Batch(6) trace(6), and the date MMDD(4) when it is known."""

    batch: str
    trace: str
    date: str = ""

    def __str__(self) -> str:
        return self.batch + self.trace + self.date

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises PartFault."""
        if len(text) not in (12, 16, 29):
            raise PartFault(61, "12 or 16 digits are expected")
        return cls(text[:6], text[6:12], text[12:16])


# ---- field 54


def field54(available_fen: int) -> str:
    """Account 00, amount type 02 (available), currency 156, sign, twelve digits."""
    return f"0002156{'D' if available_fen < 0 else 'C'}{abs(available_fen):012d}"


def parse_field54(text: str) -> int:
    """Available fen, negative for a debit balance. Raises PartFault."""
    if len(text) != 20 or text[:7] != "0002156" or text[7] not in "CD":
        raise PartFault(54, "one available balance in currency 156 is expected")
    value = _number(54, text[8:])
    return -value if text[7] == "D" else value


# ---- fields 48 and 63 of a settlement


@dataclass(frozen=True)
class KindTotal:
    """Number and sum of one transaction type."""

    count: int = 0
    amount: int = 0


DEBIT_KINDS = frozenset({"36", "40", "41", "42"})
CREDIT_KINDS = frozenset({"43"})


@dataclass(frozen=True)
class Totals:
    """A terminal's day by transaction type (12.1). Debit: loads and purchases; credit: unloads."""

    kinds: Mapping[str, KindTotal]

    def side(self, wanted: frozenset[str]) -> KindTotal:
        """Sum over some types."""
        chosen = [total for kind, total in self.kinds.items() if kind in wanted]
        return KindTotal(sum(t.count for t in chosen), sum(t.amount for t in chosen))

    def field48(self, domestic: int = 0, foreign: int = 0) -> str:
        """Domestic then foreign block: debit amount(12) count(3) credit amount(12) count(3) result(1)."""
        debit, credit = self.side(DEBIT_KINDS), self.side(CREDIT_KINDS)
        block = (
            f"{debit.amount:012d}{min(debit.count, COUNT_MAX):03d}"
            f"{credit.amount:012d}{min(credit.count, COUNT_MAX):03d}"
        )
        return f"{block}{domestic}{'0' * 30}{foreign}"

    def field63(self, operator: str = "01 ") -> str:
        """Operator(3) ``PT`` number of types(2), per type: type(2) count(6) amount(12), rising."""
        parts = [f"{kind}{t.count:06d}{t.amount:012d}" for kind, t in sorted(self.kinds.items())]
        return f"{operator}PT{len(parts):02d}{''.join(parts)}"


def parse_operator(text: str) -> str:
    """Field 63 of a sign-on: the operator, three characters. Raises PartFault."""
    if len(text) != OPERATOR_LENGTH:
        raise PartFault(63, "an operator has three characters")
    return text


def parse_field63(text: str) -> Totals | None:
    """The totals by type behind the operator; None when there are none. Raises PartFault."""
    if len(text) <= OPERATOR_LENGTH:
        parse_operator(text)
        return None
    if text[3:5] != "PT":
        raise PartFault(63, "PT is expected behind the operator")
    count, parts = _number(63, text[5:7]), text[7:]
    if len(parts) != 20 * count:
        raise PartFault(63, "the number of types does not fit")
    kinds: dict[str, KindTotal] = {}
    for at in range(0, len(parts), 20):
        kind = parts[at : at + 2]
        if kinds and kind <= max(kinds):
            raise PartFault(63, "types must rise")
        count_digits, amount_digits = parts[at + 2 : at + 8], parts[at + 8 : at + 20]
        kinds[kind] = KindTotal(_number(63, count_digits), _number(63, amount_digits))
    return Totals(kinds)


@dataclass(frozen=True)
class Field48:
    """Usage 1 of field 48, domestic block: sums, counts (999 means "999 or more") and result digits."""

    debit: KindTotal
    credit: KindTotal
    domestic: int
    foreign: int


def parse_field48(text: str) -> Field48:
    """Totals of a settlement. Raises PartFault."""
    if len(text) != TOTALS_LENGTH:
        raise PartFault(48, f"{TOTALS_LENGTH} digits are expected")
    debit = KindTotal(_number(48, text[12:15]), _number(48, text[:12]))
    credit = KindTotal(_number(48, text[27:30]), _number(48, text[15:27]))
    if text[31:61].strip("0"):
        raise PartFault(48, "the foreign block must be zero")
    return Field48(debit, credit, _number(48, text[30]), _number(48, text[61]))


@dataclass(frozen=True)
class PackedDetail:
    """One record of a detail pack: it proves nothing, it only says what to ask for (12.3)."""

    kind: str
    trace: str
    number: str
    amount: int


def parse_pack(text: str) -> tuple[PackedDetail, ...]:
    """Usage 2 of field 48: count(2) then kind(2) trace(6) number(20) amount(12) each. Raises PartFault."""
    count = _number(48, text[:2])
    if not 0 < count <= DETAILS_MAX or len(text) != 2 + DETAIL_RECORD * count:
        raise PartFault(48, "the number of details does not fit")
    records = (text[at : at + DETAIL_RECORD] for at in range(2, len(text), DETAIL_RECORD))
    return tuple(PackedDetail(r[:2], r[2:8], r[8:28], _number(48, r[28:])) for r in records)


# ---- field 62 by message


@dataclass(frozen=True)
class ListAsk:
    """Request for a list page: letters, version in hand(8), next index(6)."""

    letters: str
    version: int
    index: int = 0

    def __bytes__(self) -> bytes:
        return f"{self.letters}{self.version:08d}{self.index:06d}".encode()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises PartFault."""
        text = _ascii(62, raw)
        if len(text) != 16 or text[:2] not in (LIST_BLACK, LIST_STATUS):
            raise PartFault(62, "BL or SL, version and index are expected")
        return cls(text[:2], _number(62, text[2:10]), _number(62, text[10:16]))


@dataclass(frozen=True)
class ListPage:
    """One page: flag (0 nothing new, 1 last, 2 more), version(8) base(8) index(6) count(3), entries."""

    letters: str
    flag: int
    version: int
    base: int
    index: int
    entries: tuple[bytes, ...]

    def __bytes__(self) -> bytes:
        head = (
            f"{self.letters}{self.flag}{self.version:08d}{self.base:08d}"
            f"{self.index:06d}{len(self.entries):03d}"
        )
        return head.encode() + b"".join(self.entries)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises PartFault."""
        head = _ascii(62, raw[:_PAGE_HEAD])
        letters = head[:2]
        size, most = {
            LIST_BLACK: (BLACK_ENTRY, BLACK_PAGE_MAX),
            LIST_STATUS: (STATUS_ENTRY, STATUS_PAGE_MAX),
        }.get(letters, (0, 0))
        if len(head) != _PAGE_HEAD or not size:
            raise PartFault(62, "not a list page")
        numbers = (head[2], head[3:11], head[11:19], head[19:25], head[25:28])
        flag, version, base, index, count = (_number(62, text) for text in numbers)
        body = raw[_PAGE_HEAD:]
        if flag > PAGE_MORE or count > most or len(body) != size * count:
            raise PartFault(62, "flag or number of entries does not fit")
        entries = tuple(body[at : at + size] for at in range(0, len(body), size))
        if any(entry[:1] not in (b"A", b"D") for entry in entries):
            raise PartFault(62, "an entry adds or drops")
        return cls(letters, flag, version, base, index, entries)


def black_entry(asn: str, reason: str, drop: bool = False) -> bytes:
    """12 bytes: ``A`` or ``D``, ASN(10), reason(1: 01 lost, 02 stolen, 03 cancelled, 04 suspect; 00 with D)."""
    return (b"D" if drop else b"A") + bytes.fromhex(asn) + bytes.fromhex("00" if drop else reason)


def list_done(letters: str, version: int) -> bytes:
    """Field 62 of an end message: the list that was applied."""
    return f"{letters}{version:08d}".encode()


def parse_list_done(raw: bytes) -> tuple[str, int]:
    """Letters and version of an applied list. Raises PartFault."""
    text = _ascii(62, raw)
    if len(text) != 10 or text[:2] not in (LIST_BLACK, LIST_STATUS):
        raise PartFault(62, "BL or SL and version are expected")
    return text[:2], _number(62, text[2:])


def items(values: Mapping[str, str]) -> bytes:
    """Parameters or status (7.8, 7.10): tag(2 digits) length(3 digits) value, one after the other."""
    return b"".join(
        f"{tag}{len(value.encode('gb18030')):03d}".encode() + value.encode("gb18030")
        for tag, value in values.items()
    )


def parse_items(raw: bytes) -> dict[str, str]:
    """Items by tag. Raises PartFault, also for a tag that comes twice."""
    found: dict[str, str] = {}
    at = 0
    while at < len(raw):
        head = _ascii(62, raw[at : at + 5])
        if len(head) != 5 or not head.isdigit():
            raise PartFault(62, f"tag and length are expected at offset {at}")
        tag, length = head[:2], int(head[2:])
        value = raw[at + 5 : at + 5 + length]
        if len(value) != length or tag in found or len(found) >= ITEMS_MAX:
            raise PartFault(62, f"item {tag} is cut or doubled")
        try:
            found[tag] = value.decode("gb18030")
        except UnicodeDecodeError:
            raise PartFault(62, f"item {tag} is no text") from None
        at += 5 + length
    return found


def parse_status(raw: bytes) -> dict[str, str]:
    """The items of a terminal's status, known ones in their form (7.10). Raises PartFault."""
    found = parse_items(raw)
    for tag, value in found.items():
        digits = HEX_DIGITS if tag in STATUS_HEX else DECIMAL_DIGITS
        length = STATUS_LENGTHS.get(tag)
        if length is not None and (len(value) != length or not digits.issuperset(value)):
            raise PartFault(62, f"status item {tag} has another form")
    return found


def sequence_number(device: str, licence: str = "3101") -> bytes:
    """Field 62 of a sign-on: ``Sequence No``, length(2), licence(4) and device serial."""
    rest = licence + device
    return f"Sequence No{len(rest):02d}{rest}".encode()


def parse_sequence_number(raw: bytes) -> str:
    """Licence and device serial of a sign-on. Raises PartFault."""
    text = _ascii(62, raw)
    head = "Sequence No"
    if not text.startswith(head) or _number(62, text[11:13]) != len(text) - 13:
        raise PartFault(62, "Sequence No is expected")
    return text[13:]


@dataclass(frozen=True)
class WorkKeys:
    """Field 62 of a sign-on answer: wrapped keys and 4-byte check values (7.1). `track` may be empty.

    A single-length MAK stands in the first 8 of its 16 bytes, 8 literal zero bytes behind.
    """

    pik: bytes
    pik_check: bytes
    mak: bytes
    mak_check: bytes
    track: bytes = b""
    track_check: bytes = b""

    def __bytes__(self) -> bytes:
        return b"".join(
            (self.pik, self.pik_check, self.mak.ljust(16, b"\x00"), self.mak_check,
             self.track, self.track_check)
        )  # fmt: skip

    @property
    def single_mak(self) -> bool:
        """Whether the MAK has 8 bytes."""
        return self.mak[8:] == bytes(8)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """40 or 60 bytes. Raises PartFault; 24 bytes (single-length keys) are refused by our terminals."""
        if len(raw) not in (40, 60):
            raise PartFault(62, "40 or 60 bytes of work keys are expected")
        return cls(raw[:16], raw[16:20], raw[20:36], raw[36:40], raw[40:56], raw[56:60])


def load_detail(raw: bytes) -> bytes:
    """Field 62 of a batch detail for a load, 53 bytes, as field 58 with its flag (12.3). Raises PartFault."""
    if len(raw) != 53:
        raise PartFault(62, "53 bytes of a load detail are expected")
    return b"SV" + raw


def entries_of(raw: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    """A list cut into pages of at most `size` entries; one empty page for an empty list."""
    pages = [raw[at : at + size] for at in range(0, len(raw), size)]
    return pages or [()]
