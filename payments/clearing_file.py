"""Our clearing file: 279 characters a line, every record with its TAC and all it covers (iso8583-host.md 13.1).

The receiver checks in this order (I-28): name and header agree, every line 279, running numbers 1..n, trailer
counts and sums, digest, MAC; then each record. A file is taken whole or not at all; a bad *record* in a good
file comes back in an E file with its result and the same running number.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Self

from core.errors import EvidenceMismatch
from payments.columns import LineFault, join, number_of, signed, split, unsigned

LENGTH = 279
EOL = b"\r\n"
FORM = "PCF01"
TRANSACTIONS, RETURNED, ADJUSTMENTS = "T", "E", "A"
KINDS = frozenset({TRANSACTIONS, RETURNED, ADJUSTMENTS})
FIRST, LAST = "0" * 10, "9" * 10
NO_MAC = "0" * 16
MAX_RECORDS = 9_999_999
CURRENCY = "156"
_HEAD = (10, 5, 1, 11, 11, 8, 4, 14, 3, 4)
_DETAIL = (
    10, 8, 2, 6, 11, 15, 8, 6, 6, 14, 12, 16, 20, 4, 2, 12, 13, 12, 8, 14, 8, 4, 2, 13, 12, 2, 4, 8,
)  # fmt: skip
_TAIL = (10, 10, 10, 14, 10, 14, 10, 14, 15, 64, 16)
_KIND_AT = sum(_DETAIL[:2]) + 2
_AMOUNT_AT = sum(_DETAIL[:15]) + 15
_RESULT_AT = sum(_DETAIL[:25]) + 25
ACCEPTED, FORMAT_WRONG = "00", "09"
_NAME = re.compile(r"PC_(\d{8})_(\d{8})_([TEA])_(\d{2})\.txt")
_HEX = re.compile(r"[0-9A-F]*")
_HEX_FIELDS = (
    "issuer",
    "asn",
    "counter",
    "type",
    "psam",
    "terminal_counter",
    "tac",
    "key",
    "algorithm",
    "random",
)
_DIGIT_FIELDS = ("day", "processing", "batch", "trace", "received", "made", "original")
LOADS, PURCHASES, UNLOADS = frozenset({"40", "41", "42"}), frozenset({"36"}), frozenset({"43"})
RESULTS = {
    "00": "accepted", "01": "TAC", "02": "duplicate", "03": "amount or limit", "04": "card",
    "05": "terminal or PSAM", "06": "late", "07": "blacklist", "08": "counter", "09": "format",
    "10": "test card",
}  # fmt: skip


class FileFault(EvidenceMismatch):
    """A clearing file is not taken: `reason` is the first check of I-28 that failed."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__("FILE-REFUSED", f"{reason} (line {line})", reason=reason, line=line)
        self.reason = reason


@dataclass(frozen=True)
class Record:
    """One transaction. Hex fields are upper-case text; `fee` is negative when the merchant pays."""

    number: int
    day: str
    kind: str
    processing: str
    acquirer: str
    merchant: str
    terminal: str
    batch: str
    trace: str
    received: str
    reference: str
    issuer: str
    asn: str
    counter: str
    type: str
    amount: int
    balance: int
    psam: str
    terminal_counter: str
    made: str
    tac: str
    key: str
    algorithm: str
    fee: int
    original: str
    result: str
    flags: str
    random: str

    @property
    def purse_key(self) -> str:
        """Key of 11.3, as an upload has it: ASN, card counter, type, PSAM, its counter, TAC."""
        parts = (self.asn, self.counter, self.type, self.psam, self.terminal_counter, self.tac)
        return "".join(parts).lower()

    def line(self) -> str:
        """The record's 279 characters."""
        values = [
            f"{self.number:010d}", self.day, self.kind, self.processing, self.acquirer,
            self.merchant, self.terminal, self.batch, self.trace, self.received, self.reference,
            self.issuer, self.asn, self.counter, self.type, f"{self.amount:012d}",
            signed(self.balance, 13), self.psam, self.terminal_counter, self.made, self.tac,
            self.key, self.algorithm, signed(self.fee, 13), self.original, self.result,
            self.flags, self.random,
        ]  # fmt: skip
        return join(values, _DETAIL, LENGTH)

    @classmethod
    def parse(cls, line: str, number: int) -> Self:
        """Raises LineFault."""
        texts = split(line, _DETAIL, number, LENGTH)
        if not line.isprintable():
            raise LineFault(number, "characters")
        amount, balance, fee = texts[15], texts[16], texts[23]
        named = [
            number_of(texts[0], number), *texts[1:4], texts[4].rstrip(), texts[5].rstrip(),
            texts[6].rstrip(), *texts[7:15], number_of(amount, number), unsigned(balance, number),
            *texts[17:23], unsigned(fee, number), *texts[24:26], texts[26].rstrip(), texts[27],
        ]  # fmt: skip
        record = cls(*named)  # type: ignore[arg-type]  # the texts stand in the fields' order
        for name in _HEX_FIELDS:
            if _HEX.fullmatch(getattr(record, name)) is None:
                raise LineFault(number, name)
        for name in _DIGIT_FIELDS:
            number_of(getattr(record, name), number)
        if record.kind not in LOADS | PURCHASES | UNLOADS:
            raise LineFault(number, "kind")
        if record.result not in RESULTS:
            raise LineFault(number, "result")
        return record


@dataclass(frozen=True)
class FileName:
    """``PC_<sender 8>_<yyyymmdd>_<kind>_<nn>.txt``."""

    sender: str
    day: date
    kind: str
    number: int

    def __str__(self) -> str:
        return f"PC_{self.sender}_{self.day:%Y%m%d}_{self.kind}_{self.number:02d}.txt"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Raises FileFault ``name``."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise FileFault("name")
        try:
            day = datetime.strptime(match[2], "%Y%m%d").date()  # noqa: DTZ007
        except ValueError:
            raise FileFault("name") from None
        return cls(match[1], day, match[3], int(match[4]))


@dataclass(frozen=True)
class Header:
    """First line: who sends what to whom."""

    kind: str
    sender: str
    receiver: str
    day: str
    number: int
    made: str

    def line(self) -> str:
        """279 characters."""
        values = (
            FIRST, FORM, self.kind, self.sender, self.receiver, self.day, f"{self.number:04d}",
            self.made, CURRENCY, f"{LENGTH:04d}",
        )  # fmt: skip
        return join(values, _HEAD, LENGTH)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Raises FileFault ``header``."""
        try:
            texts = split(line, _HEAD, 0, LENGTH)
            if (texts[0], texts[1], texts[8], texts[9]) != (FIRST, FORM, CURRENCY, f"{LENGTH:04d}"):
                raise FileFault("header")
            number_of(texts[5] + texts[7], 0)
            return cls(
                texts[2], texts[3].rstrip(), texts[4].rstrip(), texts[5], number_of(texts[6], 0),
                texts[7],
            )  # fmt: skip
        except LineFault:
            raise FileFault("header") from None


@dataclass(frozen=True)
class Sums:
    """What the trailer says of the records."""

    details: int
    load_count: int
    load_fen: int
    purchase_count: int
    purchase_fen: int
    unload_count: int
    unload_fen: int

    @property
    def net(self) -> int:
        """Net change of the float: loads less purchases and unloads."""
        return self.load_fen - self.purchase_fen - self.unload_fen

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Counted from the records themselves."""

        return cls._added([(record.kind, record.amount) for record in records])

    @classmethod
    def stated(cls, details: Sequence[str]) -> Self:
        """As the lines state them, a record of wrong form included: its form is judged after the trailer."""
        amounts = (
            (line[_KIND_AT : _KIND_AT + 2], line[_AMOUNT_AT : _AMOUNT_AT + 12]) for line in details
        )
        return cls._added(
            [(kind, int(text) if text.isdecimal() else None) for kind, text in amounts]
        )

    @classmethod
    def _added(cls, amounts: Sequence[tuple[str, int | None]]) -> Self:
        def side(kinds: frozenset[str]) -> tuple[int, int]:
            chosen = [fen for kind, fen in amounts if kind in kinds and fen is not None]
            return len(chosen), sum(chosen)

        return cls(len(amounts), *side(LOADS), *side(PURCHASES), *side(UNLOADS))


@dataclass(frozen=True)
class ClearingFile:
    """A whole file: header, records, digest (SHA-256 of all bytes before the trailer) and MAC (16 hex).

    `broken`: running number and line of records whose form is wrong; they go back with result 09.
    """

    header: Header
    records: tuple[Record, ...]
    digest: str
    mac: str = NO_MAC
    broken: tuple[tuple[int, str], ...] = ()

    @property
    def sums(self) -> Sums:
        """Counts and sums of the records."""
        return Sums.of(self.records)


def write_file(
    header: Header, records: Iterable[Record], mac: Callable[[bytes], str] | None = None
) -> bytes:
    """The bytes of a file; records are numbered 1..n. `mac` makes 16 hex characters of the digest."""
    numbered = [replace(record, number=index) for index, record in enumerate(records, 1)]
    if len(numbered) > MAX_RECORDS:
        raise ValueError("too many records for one file")
    return _sealed(header, [record.line() for record in numbered], Sums.of(numbered), mac)


def _sealed(
    header: Header, details: Sequence[str], sums: Sums, mac: Callable[[bytes], str] | None
) -> bytes:
    body = b"".join(line.encode("ascii") + EOL for line in (header.line(), *details))
    digest = hashlib.sha256(body)
    values = (
        LAST, f"{len(details):010d}", f"{sums.load_count:010d}", f"{sums.load_fen:014d}",
        f"{sums.purchase_count:010d}", f"{sums.purchase_fen:014d}", f"{sums.unload_count:010d}",
        f"{sums.unload_fen:014d}", signed(sums.net, 15), digest.hexdigest().upper(),
        NO_MAC if mac is None else mac(digest.digest()),
    )  # fmt: skip
    return body + join(values, _TAIL, LENGTH).encode("ascii") + EOL


def read_file(
    name: str, raw: bytes, check_mac: Callable[[bytes, str], bool] | None = None
) -> ClearingFile:
    """A file after every check of I-28. Raises FileFault with the first reason.

    A returned file (kind E) keeps the numbers of the file it answers, which rise but need not be 1..n.
    """
    named = FileName.parse(name)
    lines = raw.split(EOL)
    if len(lines) < 3 or lines[-1]:
        raise FileFault("line length")
    try:
        texts = [line.decode("ascii") for line in lines[:-1]]
    except UnicodeDecodeError:
        raise FileFault("characters") from None
    header = Header.parse(texts[0])
    stated = (header.sender, header.day, header.kind, header.number)
    if stated != (named.sender, f"{named.day:%Y%m%d}", named.kind, named.number):
        raise FileFault("header")
    for number, text in enumerate(texts):
        if len(text) != LENGTH:
            raise FileFault("line length", number)
    _check_numbers(texts[1:-1], header.kind)
    tail, digest = _check_trailer(texts, raw)
    if check_mac is not None and not check_mac(bytes.fromhex(digest), tail[10]):
        raise FileFault("MAC")
    records, broken = _records(texts[1:-1])
    return ClearingFile(header, records, digest, tail[10], broken)


def _records(lines: Sequence[str]) -> tuple[tuple[Record, ...], tuple[tuple[int, str], ...]]:
    good: list[Record] = []
    broken: list[tuple[int, str]] = []
    for line in lines:
        try:
            good.append(Record.parse(line, int(line[:10])))
        except LineFault:
            broken.append((int(line[:10]), line))
    return tuple(good), tuple(broken)


def _check_numbers(details: Sequence[str], kind: str) -> None:
    last = 0
    for index, text in enumerate(details, 1):
        number = text[:10]
        if not number.isdecimal():
            raise FileFault("running number", index)
        value = int(number)
        if (value <= last) if kind == RETURNED else (value != index):
            raise FileFault("running number", index)
        last = value


def _check_trailer(texts: Sequence[str], raw: bytes) -> tuple[list[str], str]:
    """The trailer's fields, after form, count and digest."""
    at = len(texts) - 1
    try:
        tail = split(texts[-1], _TAIL, at, LENGTH)
    except LineFault:
        raise FileFault("trailer", at) from None
    if tail[0] != LAST or tail[1] != f"{at - 1:010d}":
        raise FileFault("trailer", at)
    _check_sums(tail, texts[1:-1], at)
    before = raw[: -(LENGTH + len(EOL))]
    if hashlib.sha256(before).hexdigest().upper() != tail[9]:
        raise FileFault("digest", at)
    return tail, tail[9]


def _check_sums(tail: Sequence[str], details: Sequence[str], at: int) -> None:
    sums = Sums.stated(details)
    counted = [
        sums.load_count, sums.load_fen, sums.purchase_count, sums.purchase_fen, sums.unload_count,
        sums.unload_fen,
    ]  # fmt: skip
    try:
        stated = [number_of(text, at) for text in tail[2:8]]
        stated_net = unsigned(tail[8], at)
    except LineFault:
        raise FileFault("trailer", at) from None
    if stated != counted or stated_net != sums.net:
        raise FileFault("trailer", at)


def returned_file(taken: ClearingFile, results: Sequence[str], made: str) -> bytes | None:
    """The E file of a good file's bad records, with results and their own running numbers; None: all good."""
    lines = {
        record.number: replace(record, result=result).line()
        for record, result in zip(taken.records, results, strict=True)
        if result != ACCEPTED
    }
    for number, line in taken.broken:
        lines[number] = line[:_RESULT_AT] + FORMAT_WRONG + line[_RESULT_AT + 2 :]
    if not lines:
        return None
    header = replace(
        taken.header, kind=RETURNED, sender=taken.header.receiver, receiver=taken.header.sender,
        made=made,
    )  # fmt: skip
    details = [lines[number] for number in sorted(lines)]
    return _sealed(header, details, Sums.stated(details), None)
