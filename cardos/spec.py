"""The contract between the chip and everybody who talks to it: names, numbers, layouts, the permit profile.

Front door of the package: data only, no cryptography. Multi-byte numbers are big-endian, amounts are
fen, dates ``YYYYMMDD`` and times ``HHMMSS`` in BCD. Sources: purse-card.md 1 to 12 and 16.
"""

from enum import IntEnum

from cardos.directories import (
    EF_HEADER,
    FID_KEYS,
    KEY_HEADER,
    KIND_MASK,
    OPTION_PLAIN,
    PURSE_BODY,
    WITH_CIPHER,
    WITH_MAC,
    DirectorySpec,
    FileKind,
    FileSpec,
    KeyFileSpec,
    KeySpec,
)
from cardos.layouts import (
    APPLICATION_FIELDS,
    APPLICATION_LENGTH,
    ATR_OS_VERSION,
    ATR_VENDOR,
    CARD_FILE_FIELDS,
    CARD_FILE_LENGTH,
    CHIP_SERIAL_LENGTH,
    ISSUER_DATA_FIELDS,
    ISSUER_DATA_LENGTH,
    LOG_FIELDS,
    LOG_RECORD_LENGTH,
    PSAM_APPLICATION_FIELDS,
    PSAM_APPLICATION_LENGTH,
    PSAM_INFO_LENGTH,
    STATUS_FIELDS,
    STATUS_LENGTH,
    Field,
    chip_serial,
    make_atr,
)
from cardos.status import (
    SW,
    SW_TEXTS,
    sw_text,
    tries_left,
)

# what stands in directories.py, layouts.py and status.py belongs to the contract too
__all__ = (
    "APPLICATION_FIELDS",
    "APPLICATION_LENGTH",
    "ATR_OS_VERSION",
    "ATR_VENDOR",
    "CARD_FILE_FIELDS",
    "CARD_FILE_LENGTH",
    "CHIP_SERIAL_LENGTH",
    "EF_HEADER",
    "FID_KEYS",
    "ISSUER_DATA_FIELDS",
    "ISSUER_DATA_LENGTH",
    "KEY_HEADER",
    "KIND_MASK",
    "LOG_FIELDS",
    "LOG_RECORD_LENGTH",
    "OPTION_PLAIN",
    "PSAM_APPLICATION_FIELDS",
    "PSAM_APPLICATION_LENGTH",
    "PSAM_INFO_LENGTH",
    "PURSE_BODY",
    "STATUS_FIELDS",
    "STATUS_LENGTH",
    "SW",
    "SW_TEXTS",
    "WITH_CIPHER",
    "WITH_MAC",
    "DirectorySpec",
    "Field",
    "FileKind",
    "FileSpec",
    "KeyFileSpec",
    "KeySpec",
    "chip_serial",
    "make_atr",
    "sw_text",
    "tries_left",
)

# -- limits (purse-card.md 1, 2, 17) ----------------------------------------------------------------

MAX_DATA = 239  # data field and response field
MAX_RECORD = 248
MAX_RECORDS = 255
MAX_NAME = 16
MIN_NAME = 5
MAX_DEPTH = 3  # MF and two levels of DF
MAX_BALANCE = 0xFFFF_FFFF
MAX_SERIAL = 0xFFFF  # onSN, offSN
MAX_CAPP_RECORDS = 3
MAX_CAPP_BYTES = 256
EP_LIMIT_DEFAULT = 100_000  # fen
LOG_RECORDS = 10
CHIP_MEMORY = 16 * 1024
MAC_LENGTH = 4

# Log and GET TRANSACTION PROVE carry the serial after the increment, as real cards do;
# session key and TAC use the value before (purse-card.md 8.8, 18 point 6).
SERIAL_AFTER = True

# -- names and files --------------------------------------------------------------------------------

MF_NAME = b"1PAY.SYS.DDF01"
AID_PURSE = bytes.fromhex("A00000000386980701")  # setting P-AID-PURSE
AID_RESIDENCE = bytes.fromhex("F0535A52455301")  # setting P-AID-RES, unregistered class
ISSUER_ID = bytes.fromhex("9156440308000001")  # setting P-ISSUER, synthetic

FID_MF = 0x3F00
FID_PURSE_ADF = 0x3F01
FID_RESIDENCE_ADF = 0xDF02
FID_SERVICE_ADF = 0xDF03
FID_DIR = 0x0001  # in the MF
FID_CARD = 0x0005  # in the MF
FID_ED = 0x0001  # in a purse ADF
FID_EP = 0x0002
FID_APPLICATION = 0x0015
FID_HOLDER = 0x0016
FID_ISSUER_DATA = 0x0017
FID_LOG = 0x0018
FID_CAPP = 0x0019
FID_ID = 0x0001  # in the residence ADF
FID_ADDRESS = 0x0002
FID_STATUS = 0x0003
FID_SERVICES = 0x0004
FID_BASIS = 0x0006
FID_PHOTO = 0x0007
FID_STATUS_LOG = 0x0018
FID_PSAM_INFO = 0x0015  # in a PSAM's MF
FID_PSAM_TERMINAL = 0x0016  # in a PSAM's MF
FID_PSAM_APPLICATION = 0x0017  # in a PSAM's ADF
FID_PSAM_SERIAL = 0x0018  # in a PSAM's ADF


OPTION_PROTECTED_READ = 0x7F
OPTION_SEQUENCE = 0xEF  # bytes 3-6 must not decrease (purse-card.md 12.1)

# -- keys (purse-card.md 4.1, 9.2) ------------------------------------------------------------------


class KeyType(IntEnum):
    """Type of a key record without the protection bits."""

    ENCRYPT = 0x30
    DECRYPT = 0x31
    MAC = 0x32
    TAC = 0x34
    LINE = 0x36
    PIN_UNBLOCK = 0x37
    PIN_RELOAD = 0x38
    CONTROL = 0x39
    PIN = 0x3A
    OVERDRAFT = 0x3C
    UNLOAD = 0x3D
    PURCHASE = 0x3E
    LOAD = 0x3F


KEY_PROTECTED = 0xC0  # both protection bits: may be changed only encrypted with MAC
ALGORITHM_TDES = 0x00
ALGORITHM_DES = 0x01
ALGORITHM_SM4 = 0x04
PSAM_PURCHASE_USAGE = 0x22  # one diversification level, type 02


class PsamKey(IntEnum):
    """Low five bits of a PSAM key's usage byte; the high three count the diversification levels."""

    CONTROL = 0x00
    MAINTENANCE = 0x01
    PURCHASE = 0x02
    PIN_UNBLOCK = 0x03
    PIN_RELOAD = 0x04
    CARD_MAINTENANCE = 0x05
    MAC = 0x06
    ENCRYPTION = 0x07
    MAC_AND_ENCRYPTION = 0x08
    LOAD = 0x09
    TAC = 0x0C
    PIN = 0x0D
    EXTERNAL = 0x0E
    INTERNAL = 0x0F
    EXPORT = 0x1E


# -- commands ---------------------------------------------------------------------------------------

CLA_ISO = 0x00
CLA_ISO_PROTECTED = 0x04
CLA_BANK = 0x80
CLA_BANK_PROTECTED = 0x84


class Ins(IntEnum):
    """Instruction bytes (purse-card.md 6 to 9). UPDATE_RECORD with CLA 80 is UPDATE CAPP DATA CACHE."""

    ERASE_DF = 0x0E
    CARD_BLOCK = 0x16
    APPLICATION_UNBLOCK = 0x18
    DERIVE_KEY = 0x1A
    APPLICATION_BLOCK = 0x1E
    VERIFY = 0x20
    PIN_UNBLOCK = 0x24
    INITIALIZE = 0x50
    CREDIT = 0x52
    DEBIT = 0x54
    UPDATE_LIMIT = 0x58
    GET_PROOF = 0x5A
    GET_BALANCE = 0x5C
    CHANGE_PIN = 0x5E
    INIT_SAM = 0x70
    CREDIT_SAM = 0x72
    EXTERNAL_AUTHENTICATE = 0x82
    GET_CHALLENGE = 0x84
    INTERNAL_AUTHENTICATE = 0x88
    SELECT = 0xA4
    READ_BINARY = 0xB0
    READ_RECORD = 0xB2
    GET_RESPONSE = 0xC0
    UPDATE_BINARY_OLD = 0xD0
    WRITE_KEY = 0xD4
    UPDATE_BINARY = 0xD6
    UPDATE_RECORD = 0xDC
    CREATE_FILE = 0xE0
    APPEND_RECORD = 0xE2
    CRYPT = 0xFA


RECORD_BY_TAG = 0b000
RECORD_NEW = 0b010
RECORD_ADD_CYCLIC = 0b011
RECORD_BY_NUMBER = 0b100


class Transaction(IntEnum):
    """Transaction type codes (purse-card.md 8.0)."""

    LOAD_ED = 0x01
    LOAD_EP = 0x02
    UNLOAD = 0x03
    WITHDRAWAL = 0x04
    PURCHASE_ED = 0x05
    PURCHASE_EP = 0x06
    LIMIT_CHANGE = 0x07
    COMPOSITE = 0x09


ONLINE = frozenset(
    {Transaction.LOAD_ED, Transaction.LOAD_EP, Transaction.UNLOAD, Transaction.LIMIT_CHANGE}
)

# -- the permit card's profile (purse-card.md 12) ---------------------------------------------------

PROFILE_VERSION = 1
ALWAYS = 0xF0
NEVER = 0xEF
MF_STATE_2 = 0x02
STATE_1 = 0xF1
STATE_2 = 0xF2
NEXT_STATE_PRODUCTION = 0x22
NEXT_STATE_ISSUED = 0x00
COUNTER_PRODUCTION = 0xFF
COUNTER_ISSUED = 0x33
PIN_CLOSED = 0x30


def _flagged(kind: KeyType) -> int:
    return kind | KEY_PROTECTED


def _binary(fid: int, size: int, read: int, write: int = ALWAYS, option: int = 0xFF) -> FileSpec:
    kind = FileKind.BINARY | WITH_MAC
    return FileSpec(fid, kind, size.to_bytes(2, "big"), read, write, option)


_CONTROL = (ALWAYS, ALWAYS, NEXT_STATE_PRODUCTION, COUNTER_ISSUED)
_LINE = (ALWAYS, ALWAYS, 0xFF, COUNTER_PRODUCTION)

MF_PROFILE = DirectorySpec(
    fid=FID_MF,
    name=MF_NAME,
    space=0xFFFF,
    create=MF_STATE_2,
    erase=NEVER,
    app_file=0x01,
    key_file=KeyFileSpec(0x0080, 0x01, STATE_2),
    keys=(
        KeySpec(_flagged(KeyType.CONTROL), 0, *_CONTROL, hsm_usage=19, scope="card"),
        KeySpec(_flagged(KeyType.LINE), 0, *_LINE, hsm_usage=20, scope="card"),
    ),
    files=(
        FileSpec(FID_DIR, FileKind.VARIABLE | WITH_MAC, bytes.fromhex("0060"), ALWAYS, MF_STATE_2),
        _binary(FID_CARD, CARD_FILE_LENGTH, ALWAYS, MF_STATE_2),
    ),
)

PURSE_PROFILE = DirectorySpec(
    fid=FID_PURSE_ADF,
    name=AID_PURSE,
    space=0x0500,
    create=STATE_2,
    erase=STATE_2,
    app_file=0x95,
    key_file=KeyFileSpec(0x0100, 0x95, STATE_2),
    keys=(
        KeySpec(_flagged(KeyType.CONTROL), 0, *_CONTROL, hsm_usage=18, scope="purse"),
        KeySpec(_flagged(KeyType.LINE), 0, *_LINE, hsm_usage=15, scope="purse"),
        KeySpec(_flagged(KeyType.TAC), 0, ALWAYS, ALWAYS, 1, 0, hsm_usage=12, scope="purse"),
        KeySpec(_flagged(KeyType.PURCHASE), 1, ALWAYS, ALWAYS, 1, 0, hsm_usage=10, scope="purse"),
        KeySpec(_flagged(KeyType.PURCHASE), 2, ALWAYS, ALWAYS, 2, 0, 10, "purse", 2),
        KeySpec(_flagged(KeyType.LOAD), 1, STATE_1, ALWAYS, 1, 0, hsm_usage=11, scope="purse"),
        KeySpec(
            _flagged(KeyType.PIN_UNBLOCK), 0, ALWAYS, ALWAYS, 0xFF, COUNTER_ISSUED, 16, "purse"
        ),
        KeySpec(KeyType.PIN, 0, ALWAYS, NEVER, 0x11, PIN_CLOSED, hsm_usage=None, scope="purse"),
    ),
    files=(
        _binary(FID_APPLICATION, APPLICATION_LENGTH, ALWAYS),
        _binary(FID_HOLDER, 0x37, ALWAYS),
        _binary(FID_ISSUER_DATA, ISSUER_DATA_LENGTH, ALWAYS),
        FileSpec(FID_LOG, FileKind.CYCLIC, bytes((LOG_RECORDS, LOG_RECORD_LENGTH)), ALWAYS, NEVER),
        FileSpec(FID_CAPP, FileKind.VARIABLE, bytes.fromhex("0100"), ALWAYS, ALWAYS),
        FileSpec(FID_EP, FileKind.PURSE, bytes.fromhex("0208"), ALWAYS, 0x00, FID_LOG),
    ),
)

RESIDENCE_PROFILE = DirectorySpec(
    fid=FID_RESIDENCE_ADF,
    name=AID_RESIDENCE,
    space=0x1800,
    create=STATE_2,
    erase=STATE_2,
    app_file=0x00,
    key_file=KeyFileSpec(0x0100, 0x80, STATE_2),
    keys=(
        KeySpec(_flagged(KeyType.CONTROL), 0, *_CONTROL, hsm_usage=18, scope="residence"),
        KeySpec(_flagged(KeyType.LINE), 0, *_LINE, hsm_usage=15, scope="residence"),
        KeySpec(
            _flagged(KeyType.CONTROL), 1, ALWAYS, ALWAYS, 0x11, COUNTER_PRODUCTION, 22, "residence"
        ),
        KeySpec(
            _flagged(KeyType.ENCRYPT), 0, ALWAYS, ALWAYS, 1, 0, hsm_usage=21, scope="residence"
        ),
    ),
    files=(
        _binary(FID_ID, 0x80, STATE_1),
        FileSpec(FID_ADDRESS, FileKind.CYCLIC | WITH_MAC, bytes.fromhex("0457"), STATE_1, ALWAYS),
        _binary(FID_STATUS, STATUS_LENGTH, ALWAYS, option=OPTION_SEQUENCE),
        _binary(FID_SERVICES, 0x80, ALWAYS),
        _binary(FID_BASIS, 8, STATE_1),
        _binary(FID_PHOTO, 0x1000, STATE_1),
        FileSpec(
            FID_STATUS_LOG, FileKind.CYCLIC | WITH_MAC, bytes.fromhex("0A0C"), STATE_1, ALWAYS
        ),
    ),
)

PERMIT_PROFILE = (MF_PROFILE, PURSE_PROFILE, RESIDENCE_PROFILE)
