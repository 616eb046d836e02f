"""Record layouts and the ATR: where each value stands (purse-card.md 1, 8.9, 9.1, 11, 12; residence.md 6.6)."""

from dataclasses import dataclass

# -- record layouts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """Where a value stands in a record: offset and length in bytes."""

    offset: int
    length: int

    def of(self, record: bytes) -> bytes:
        """The field's bytes."""
        return record[self.offset : self.offset + self.length]


LOG_RECORD_LENGTH = 23
LOG_FIELDS = {
    "serial": Field(0, 2),
    "overdraft": Field(2, 3),
    "amount": Field(5, 4),
    "type": Field(9, 1),
    "terminal": Field(10, 6),
    "date": Field(16, 4),
    "time": Field(20, 3),
}
APPLICATION_LENGTH = 30
APPLICATION_FIELDS = {
    "issuer": Field(0, 8),
    "kind": Field(8, 1),  # 01 ED, 02 EP, 03 both
    "version": Field(9, 1),
    "asn": Field(10, 10),
    "start": Field(20, 4),
    "end": Field(24, 4),
    "fci": Field(28, 2),
}
ISSUER_DATA_LENGTH = 64
ISSUER_DATA_FIELDS = {  # purse-card.md 12.1 names the values; the offsets are ours
    "account": Field(0, 8),
    "limit": Field(8, 4),  # highest balance of the EP, 0 means the default
    "profile_version": Field(12, 1),
}
CARD_FILE_LENGTH = 64
CARD_FILE_FIELDS = {
    "layout": Field(0, 1),
    "card_serial": Field(1, 7),
    "chip_lot": Field(8, 8),
    "issued": Field(16, 4),
    "point": Field(20, 3),
    "profile_version": Field(23, 1),
}
STATUS_LENGTH = 32
STATUS_FIELDS = {  # residence.md 6.6
    "layout": Field(0, 1),
    "status": Field(1, 1),
    "causes": Field(2, 1),
    "ssn": Field(3, 4),
    "effective": Field(7, 4),
    "lease_until": Field(11, 4),
    "valid_until": Field(15, 4),
    "policy": Field(19, 2),
    "writer": Field(21, 3),
    "mac": Field(24, 8),
}
PSAM_INFO_LENGTH = 14
PSAM_APPLICATION_LENGTH = 25
PSAM_APPLICATION_FIELDS = {
    "key_index": Field(0, 1),
    "issuer": Field(1, 8),
    "acceptor": Field(9, 8),
    "start": Field(17, 4),
    "end": Field(21, 4),
}

# -- ATR --------------------------------------------------------------------------------------------

CHIP_SERIAL_LENGTH = 8
ATR_OS_VERSION = 0x20
ATR_VENDOR = bytes.fromhex("8638")
_ATR_T0 = bytes.fromhex("3B6C0002")
_ATR_T1 = bytes.fromhex("3BEC000081312045")


def make_atr(serial: bytes, t0: bool = False) -> bytes:
    """ATR with 12 historical bytes: OS version, card state, vendor 2, chip serial 8 (purse-card.md 1).

    T=1 carries TD1, TD2 and the check byte; T=0 is the bank style without them.
    """
    if len(serial) != CHIP_SERIAL_LENGTH:
        raise ValueError("a chip serial has 8 bytes")
    history = bytes((ATR_OS_VERSION, 0)) + ATR_VENDOR + serial
    if t0:
        return _ATR_T0 + history
    atr = _ATR_T1 + history
    check = 0
    for byte in atr[1:]:
        check ^= byte
    return atr + bytes((check,))


def chip_serial(atr: bytes) -> bytes:
    """The 8 bytes at the end of the historical bytes; ValueError for an ATR of another maker's form."""
    for prefix, tail in ((_ATR_T0, 0), (_ATR_T1, 1)):
        if atr.startswith(prefix) and len(atr) == len(prefix) + 12 + tail:
            return atr[len(prefix) + 4 : len(prefix) + 12]
    raise ValueError("the ATR carries no chip serial in our form")
