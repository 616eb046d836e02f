"""Layouts of the residence application's files as typed records, both ways (purse-card.md 12.1, residence.md 6.6).

Bytes that the layout leaves open are 00. All `parse` functions raise ValueError for a wrong length.
Dates are 4 bytes BCD YYYYMMDD. Records with a person's data have no `repr` of their content.
"""

from dataclasses import dataclass

from cardos.records import build_record, expect_length, number
from cardos.spec import STATUS_FIELDS, STATUS_LENGTH

SERVICES = 16
SERVICE_LENGTH = 8
ADDRESS_CODE_DIGITS = 25
ADDRESS_LENGTH = 0x57
ADDRESS_TEXT = 70
ID_LENGTH = 0x80
BASIS_LENGTH = 8
STATUS_LOG_LENGTH = 12


@dataclass(frozen=True)
class StatusRecord:
    """EF.STATUS, 32 bytes (residence.md 6.6). `body` are the first 24, which the MAC covers with the serial."""

    status: int
    causes: int
    ssn: int
    effective: bytes
    lease_until: bytes
    valid_until: bytes
    policy: int
    writer: bytes
    mac: bytes = bytes(8)
    layout: int = 1

    @classmethod
    def parse(cls, data: bytes) -> "StatusRecord":
        """Read the 32 bytes."""
        expect_length(data, STATUS_LENGTH, "EF.STATUS")
        f = STATUS_FIELDS
        return cls(
            number(f["status"], data),
            number(f["causes"], data),
            number(f["ssn"], data),
            f["effective"].of(data),
            f["lease_until"].of(data),
            f["valid_until"].of(data),
            number(f["policy"], data),
            f["writer"].of(data),
            f["mac"].of(data),
            number(f["layout"], data),
        )

    @property
    def body(self) -> bytes:
        """The first 24 bytes."""
        return bytes(self)[: STATUS_FIELDS["mac"].offset]

    def __bytes__(self) -> bytes:
        return build_record(STATUS_LENGTH, STATUS_FIELDS, vars(self))


def _text(value: str, length: int) -> bytes:
    """UTF-16LE with blanks behind (purse-card.md 12.1)."""
    raw = value.encode("utf-16-le")
    if len(raw) > length or length % 2:
        raise ValueError(f"the text does not fit {length} bytes")
    return raw + " ".encode("utf-16-le") * ((length - len(raw)) // 2)


def _untext(raw: bytes) -> str:
    return raw.decode("utf-16-le").rstrip(" ")


@dataclass(frozen=True, repr=False)
class Identity:
    """EF.ID, 128 bytes: name 30, citizen id 36, sex 1, ethnic 2, birth 4, permit no. 9, type 1, issuer 30,
    issued 4, valid until 4, rest 00. Texts are UTF-16LE, `permit_no` is 18 digits BCD.
    """

    name: str
    citizen_id: str
    sex: int
    ethnic: int
    birth: bytes
    permit_no: str
    type: int
    issuer: str
    issued: bytes
    valid_until: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Identity":
        """Read the 128 bytes."""
        expect_length(data, ID_LENGTH, "EF.ID")
        return cls(
            _untext(data[:30]),
            _untext(data[30:66]),
            data[66],
            int.from_bytes(data[67:69], "big"),
            data[69:73],
            data[73:82].hex(),
            data[82],
            _untext(data[83:113]),
            data[113:117],
            data[117:121],
        )

    def __bytes__(self) -> bytes:
        record = _text(self.name, 30) + _text(self.citizen_id, 36) + bytes((self.sex,))
        record += self.ethnic.to_bytes(2, "big") + self.birth + bytes.fromhex(self.permit_no)
        record += bytes((self.type,)) + _text(self.issuer, 30) + self.issued + self.valid_until
        expect_length(record, 121, "the content of EF.ID")
        return record.ljust(ID_LENGTH, b"\x00")


@dataclass(frozen=True, repr=False)
class AddressRecord:
    """A record of EF.ADDR, 87 bytes: address code 13 (25 digits BCD, F behind), since 4, text 70 UTF-16LE."""

    code: str
    since: bytes
    text: str

    @classmethod
    def parse(cls, data: bytes) -> "AddressRecord":
        """Read the 87 bytes."""
        expect_length(data, ADDRESS_LENGTH, "a record of EF.ADDR")
        return cls(data[:13].hex()[:ADDRESS_CODE_DIGITS], data[13:17], _untext(data[17:]))

    def __bytes__(self) -> bytes:
        if len(self.code) != ADDRESS_CODE_DIGITS or not self.code.isdigit():
            raise ValueError("an address code has 25 digits")
        record = bytes.fromhex(self.code + "f") + self.since + _text(self.text, ADDRESS_TEXT)
        expect_length(record, ADDRESS_LENGTH, "a record of EF.ADDR")
        return record


@dataclass(frozen=True)
class ServiceEntry:
    """One of the 16 places of EF.SVC, 8 bytes: id 2, version 2, flags 1, reserve 3. Id 0: empty."""

    id: int
    version: int
    enabled: bool
    dormant_ok: bool

    def __bytes__(self) -> bytes:
        flags = self.enabled | self.dormant_ok << 1
        return (
            self.id.to_bytes(2, "big") + self.version.to_bytes(2, "big") + bytes((flags, 0, 0, 0))
        )


def parse_services(data: bytes) -> tuple[ServiceEntry, ...]:
    """The used places of EF.SVC (128 bytes) in order."""
    expect_length(data, SERVICES * SERVICE_LENGTH, "EF.SVC")
    found = []
    for at in range(0, len(data), SERVICE_LENGTH):
        entry = data[at : at + SERVICE_LENGTH]
        number, version = int.from_bytes(entry[:2], "big"), int.from_bytes(entry[2:4], "big")
        if number not in (0, 0xFFFF):
            found.append(ServiceEntry(number, version, bool(entry[4] & 1), bool(entry[4] & 2)))
    return tuple(found)


def build_services(entries: tuple[ServiceEntry, ...]) -> bytes:
    """EF.SVC from its entries, the rest empty."""
    if len(entries) > SERVICES:
        raise ValueError("EF.SVC has 16 places")
    return b"".join(map(bytes, entries)).ljust(SERVICES * SERVICE_LENGTH, b"\x00")


@dataclass(frozen=True)
class Basis:
    """EF.BASIS, 8 bytes: kind of ground 1 (0 none), date 4, reserve 3. No employer's name."""

    kind: int
    date: bytes = bytes(4)

    @classmethod
    def parse(cls, data: bytes) -> "Basis":
        """Read the 8 bytes."""
        expect_length(data, BASIS_LENGTH, "EF.BASIS")
        return cls(data[0], data[1:5])

    def __bytes__(self) -> bytes:
        expect_length(self.date, 4, "a date")
        return bytes((self.kind,)) + self.date + bytes(3)


@dataclass(frozen=True)
class StatusLogRecord:
    """A record of the residence EF.LOG, 12 bytes: ssn 4, status 1, point 3, date 4."""

    ssn: int
    status: int
    point: bytes
    date: bytes

    @classmethod
    def parse(cls, data: bytes) -> "StatusLogRecord":
        """Read the 12 bytes."""
        expect_length(data, STATUS_LOG_LENGTH, "a record of EF.LOG")
        return cls(int.from_bytes(data[:4], "big"), data[4], data[5:8], data[8:])

    def __bytes__(self) -> bytes:
        record = self.ssn.to_bytes(4, "big") + bytes((self.status,)) + self.point + self.date
        expect_length(record, STATUS_LOG_LENGTH, "a record of EF.LOG")
        return record
