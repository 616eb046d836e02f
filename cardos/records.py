"""Layouts of MF, purse and PSAM files as typed records, both ways (purse-card.md 8.9, 9.1, 11.1, 12.1).

Bytes that the layout leaves open are 00. All `parse` functions raise ValueError for a wrong length.
Dates are 4 bytes BCD YYYYMMDD, amounts fen.
"""

from dataclasses import dataclass

from cardos.spec import (
    APPLICATION_FIELDS,
    APPLICATION_LENGTH,
    CARD_FILE_FIELDS,
    CARD_FILE_LENGTH,
    ISSUER_DATA_FIELDS,
    ISSUER_DATA_LENGTH,
    LOG_FIELDS,
    LOG_RECORD_LENGTH,
    PSAM_APPLICATION_FIELDS,
    PSAM_APPLICATION_LENGTH,
    PSAM_INFO_LENGTH,
    Field,
)

FACTOR_LENGTH = 8


def expect_length(data: bytes, length: int, name: str) -> None:
    """ValueError when `data` has another length."""
    if len(data) != length:
        raise ValueError(f"{name} has {length} bytes, not {len(data)}")


def number(field: Field, record: bytes) -> int:
    """A field's bytes as a number."""
    return int.from_bytes(field.of(record), "big")


def build_record(length: int, fields: dict[str, Field], values: dict[str, bytes | int]) -> bytes:
    """A record of `length` bytes with the named values in their places."""
    record = bytearray(length)
    for name, value in values.items():
        place = fields[name]
        raw = value.to_bytes(place.length, "big") if isinstance(value, int) else value
        expect_length(raw, place.length, name)
        record[place.offset : place.offset + place.length] = raw
    return bytes(record)


def card_factor(asn: bytes) -> bytes:
    """Factor of every card key: the last 8 bytes of the 10-byte ASN (purse-card.md 10)."""
    expect_length(asn, 10, "an ASN")
    return asn[-FACTOR_LENGTH:]


def asn_of(card_serial: str) -> bytes:
    """ASN of a card: its 14-digit card serial behind six zeros, 10 bytes BCD (purse-card.md 12.4)."""
    if len(card_serial) != 14 or not (card_serial.isascii() and card_serial.isdigit()):
        raise ValueError("a card serial has 14 digits")
    return bytes.fromhex("000000" + card_serial)


@dataclass(frozen=True)
class ApplicationFile:
    """File 0015 of a purse, 30 bytes: issuer 8, kind 1, version 1, ASN 10, start 4, end 4, FCI data 2."""

    issuer: bytes
    asn: bytes
    start: bytes
    end: bytes
    kind: int = 2
    version: int = 1
    fci: bytes = bytes(2)

    @classmethod
    def parse(cls, data: bytes) -> "ApplicationFile":
        """Read the first 30 bytes; some products have longer files (purse-card.md 6)."""
        if len(data) < APPLICATION_LENGTH:
            raise ValueError(f"file 0015 has {APPLICATION_LENGTH} bytes, not {len(data)}")
        f = APPLICATION_FIELDS
        return cls(
            f["issuer"].of(data),
            f["asn"].of(data),
            f["start"].of(data),
            f["end"].of(data),
            number(f["kind"], data),
            number(f["version"], data),
            f["fci"].of(data),
        )

    def __bytes__(self) -> bytes:
        return build_record(APPLICATION_LENGTH, APPLICATION_FIELDS, vars(self))


@dataclass(frozen=True)
class PurseLogRecord:
    """A record of file 0018, 23 bytes. `serial` is the counter after the transaction (purse-card.md 8.9)."""

    serial: int
    overdraft: int
    amount: int
    type: int
    terminal: bytes
    date: bytes
    time: bytes

    @classmethod
    def parse(cls, data: bytes) -> "PurseLogRecord":
        """Read the 23 bytes."""
        expect_length(data, LOG_RECORD_LENGTH, "a purse log record")
        f = LOG_FIELDS
        return cls(
            number(f["serial"], data),
            number(f["overdraft"], data),
            number(f["amount"], data),
            number(f["type"], data),
            f["terminal"].of(data),
            f["date"].of(data),
            f["time"].of(data),
        )

    def __bytes__(self) -> bytes:
        return build_record(LOG_RECORD_LENGTH, LOG_FIELDS, vars(self))


@dataclass(frozen=True)
class IssuerData:
    """File 0017 of the purse, 64 bytes: purse account (16 digits BCD), purse limit (0: default), profile."""

    account: str
    limit: int
    profile_version: int = 1

    @classmethod
    def parse(cls, data: bytes) -> "IssuerData":
        """Read the 64 bytes."""
        expect_length(data, ISSUER_DATA_LENGTH, "file 0017")
        f = ISSUER_DATA_FIELDS
        return cls(
            f["account"].of(data).hex(),
            number(f["limit"], data),
            number(f["profile_version"], data),
        )

    def __bytes__(self) -> bytes:
        values: dict[str, bytes | int] = {
            "account": bytes.fromhex(self.account),
            "limit": self.limit,
            "profile_version": self.profile_version,
        }
        return build_record(ISSUER_DATA_LENGTH, ISSUER_DATA_FIELDS, values)


@dataclass(frozen=True)
class CardFile:
    """File 0005 of the MF, 64 bytes: layout, card serial (14 digits), chip lot 8, issued 4, point 3, profile."""

    card_serial: str
    chip_lot: bytes
    issued: bytes
    point: bytes
    layout: int = 1
    profile_version: int = 1

    @classmethod
    def parse(cls, data: bytes) -> "CardFile":
        """Read the 64 bytes."""
        expect_length(data, CARD_FILE_LENGTH, "file 0005")
        f = CARD_FILE_FIELDS
        return cls(
            f["card_serial"].of(data).hex(),
            f["chip_lot"].of(data),
            f["issued"].of(data),
            f["point"].of(data),
            number(f["layout"], data),
            number(f["profile_version"], data),
        )

    def __bytes__(self) -> bytes:
        values = vars(self) | {"card_serial": bytes.fromhex(self.card_serial)}
        return build_record(CARD_FILE_LENGTH, CARD_FILE_FIELDS, values)


@dataclass(frozen=True)
class PsamInfo:
    """File 0015 of a PSAM, 14 bytes: serial 10, version 1, key-card type 1, issuer data 2."""

    serial: bytes
    version: int = 1
    key_card: int = 0
    issuer_data: bytes = bytes(2)

    @classmethod
    def parse(cls, data: bytes) -> "PsamInfo":
        """Read the 14 bytes."""
        expect_length(data, PSAM_INFO_LENGTH, "file 0015 of a PSAM")
        return cls(data[:10], data[10], data[11], data[12:])

    def __bytes__(self) -> bytes:
        record = self.serial + bytes((self.version, self.key_card)) + self.issuer_data
        expect_length(record, PSAM_INFO_LENGTH, "file 0015 of a PSAM")
        return record


@dataclass(frozen=True)
class PsamApplication:
    """File 0017 of a PSAM's ADF, 25 bytes: purchase key index 1, issuer 8, acceptor 8, start 4, end 4."""

    key_index: int
    issuer: bytes
    acceptor: bytes
    start: bytes
    end: bytes

    @classmethod
    def parse(cls, data: bytes) -> "PsamApplication":
        """Read the 25 bytes."""
        expect_length(data, PSAM_APPLICATION_LENGTH, "file 0017 of a PSAM")
        f = PSAM_APPLICATION_FIELDS
        return cls(
            number(f["key_index"], data),
            f["issuer"].of(data),
            f["acceptor"].of(data),
            f["start"].of(data),
            f["end"].of(data),
        )

    def __bytes__(self) -> bytes:
        return build_record(PSAM_APPLICATION_LENGTH, PSAM_APPLICATION_FIELDS, vars(self))
