"""Card keys and protected commands: a key leaves only as a cryptogram, and only within a batch (R-10)."""

import binascii

from core import crypto
from hsm_sim import keyblock, pinblock
from hsm_sim.codec import with_length
from hsm_sim.derive import CardKey, require_factors
from hsm_sim.errors import refusal
from hsm_sim.issue_requests import (
    AuthenticateExternally,
    CardKeyCheckValue,
    CheckCardAnswer,
    CheckInternalAuthentication,
    CheckStatusMac,
    ExportCardKey,
    ExportCardKeyBare,
    ProtectCardKey,
    ProtectCommand,
    StatusMac,
    UnblockPin,
)
from hsm_sim.secret import DES_ALGORITHMS
from hsm_sim.terminal_requests import ProtectPsamKey
from hsm_sim.tokens import letter_of
from hsm_sim.work import Key, Work, handles

WRITE_KEY = b"\x84\xd4"
PIN_UNBLOCK = bytes.fromhex("84240000")
MAC_LENGTH = 4
MAX_LC = 239
DCMK = "20"
# CLA and INS that line keys may protect: update, append, protected read, block and unblock of the
# application; the card's own maintenance key may block the card as well. A PIN is never among them.
ALLOWED_COMMANDS = frozenset(
    bytes.fromhex(pair) for pair in ("04D6", "04D0", "04DC", "04E2", "04B0", "04B2", "841E", "8418")
)
CARD_BLOCK = bytes.fromhex("8416")
STATUS_MAC_LENGTH = 8
CONTROL_USAGES = ("18", "19")
FOUR_BYTE_TAIL = bytes(4)


def _text(data: bytes) -> bytes:
    return binascii.hexlify(data).upper()


@handles(CardKeyCheckValue)
def card_key_check_value(work: Work, request: CardKeyCheckValue) -> bytes:
    """`10`."""
    return work.card_key("master", request.factors).kcv.encode("ascii")


def meter(work: Work, master: Key, card: tuple[bytes, ...]) -> str:
    """Count the card of an export in its batch; the batch's name."""
    return work.hsm.batches.count(work.code, master.kid, work.hsm.keys.pseudonym(card))


@handles(ExportCardKey)
def export_card_key(work: Work, request: ExportCardKey) -> bytes:
    """`12` R: a key block under a K1 key, with the master's usage and version, not exportable again."""
    master, wrapping = work.key("master"), work.key("wrapping")
    key = work.card_key("master", request.factors)
    require_stronger(wrapping, key.alg)
    batch = meter(work, master, request.factors)
    header = keyblock.BlockHeader(
        master.usage, letter_of(key.alg), "N", master.version, "N",
        version=block_version(wrapping),
    )  # fmt: skip
    block = keyblock.wrap(wrapping.secret.reveal(), header, key.material)
    work.hsm.log_export(work.client, master.kid, wrapping.kid or "token", key.kcv, "12R", batch)
    return with_length(block.encode("ascii")) + key.kcv.encode("ascii")


@handles(ExportCardKeyBare)
def export_card_key_bare(work: Work, request: ExportCardKeyBare) -> bytes:
    """`12` D: TDES-ECB under a transport key of mode E, where the master's exportability is E."""
    master, wrapping = work.key("master"), work.key("wrapping")
    if master.export != "E":
        raise refusal("AA", "this master's keys leave in key blocks only")
    if wrapping.alg not in DES_ALGORITHMS:
        raise refusal("A7", "bare export is TDES")
    key = work.card_key("master", request.factors)
    require_stronger(wrapping, key.alg)
    batch = meter(work, master, request.factors)
    data = wrapping.secret.encrypt_blocks(key.material)
    work.hsm.log_export(work.client, master.kid, wrapping.kid or "token", key.kcv, "12D", batch)
    return with_length(data) + key.kcv.encode("ascii")


def _protect_key(key: CardKey, line: CardKey, request: ProtectCardKey | ProtectPsamKey) -> bytes:
    """Data of WRITE KEY: cipher over LD || prefix || key, then the MAC over the header and the cipher."""
    if request.header[:2] != WRITE_KEY:
        raise refusal("29", "only WRITE KEY carries a key")
    cipher = line.line_cipher(request.prefix + key.material)
    if request.header[4] != len(cipher) + MAC_LENGTH or request.header[4] > MAX_LC:
        raise refusal("80", "Lc does not fit the data")
    return cipher + line.line_mac(request.random, request.header + cipher)


@handles(ProtectCardKey)
def protect_card_key(work: Work, request: ProtectCardKey) -> bytes:
    """`14`: the card key under the chip's present line key."""
    master, line = work.key("master"), work.key("line")
    key = work.card_key("master", request.factors)
    data = _protect_key(key, work.card_key("line", request.line_factors), request)
    batch = meter(work, master, request.factors)
    work.hsm.log_export(work.client, master.kid, line.kid, key.kcv, "14", batch)
    return with_length(data)


@handles(ProtectPsamKey)
def protect_psam_key(work: Work, request: ProtectPsamKey) -> bytes:
    """`52`: the one way a master leaves, under a PSAM's own control key, within a batch (R-44)."""
    master, line = work.key("master"), work.key("line")
    if master.export != "S":
        raise refusal("AA", "its ceremony did not allow PSAMs")
    if line.scope != "psam":
        raise refusal("28", "the line key is not a PSAM's control key")
    key = work.card_key("master", request.factors, least=0)
    data = _protect_key(key, work.card_key("line", request.line_factors), request)
    batch = meter(work, master, request.line_factors)
    work.hsm.log_export(work.client, master.kid, line.kid, key.kcv, "52", batch)
    return with_length(data)


@handles(ProtectCommand)
def protect_command(work: Work, request: ProtectCommand) -> bytes:
    """`30`: MAC over CLA INS P1 P2 Lc data; mode 2 encrypts the data first."""
    allowed = request.header[:2] in ALLOWED_COMMANDS
    if not allowed and (request.header[:2] != CARD_BLOCK or work.key("master").usage != DCMK):
        raise refusal("29", "this command is not on the allow list")
    key = work.card_key("master", request.factors)
    data = key.line_cipher(request.data) if request.mode == "2" else request.data
    length = len(data) + MAC_LENGTH
    if length > MAX_LC:
        raise refusal("80", "too long for one APDU")
    mac = key.line_mac(request.random, request.header + bytes((length,)) + data)
    return with_length(data) + _text(mac)


@handles(AuthenticateExternally)
def authenticate_externally(work: Work, request: AuthenticateExternally) -> bytes:
    """`32`: one block under the card key; control keys take 4 bytes and zeros only (R-12)."""
    master = work.key("master")
    if master.usage in CONTROL_USAGES and request.random[4:] != FOUR_BYTE_TAIL:
        raise refusal("15", "control keys take a 4-byte challenge and zeros")
    require_factors(request.factors)
    work.hsm.limiter.require_authentication(
        master.lineage, work.hsm.keys.pseudonym(request.factors)
    )
    return _text(work.card_key("master", request.factors).encrypt_block(request.random))


@handles(UnblockPin)
def unblock_pin(work: Work, request: UnblockPin) -> bytes:
    """`34`: the PIN of a format 0 block as BCD, encrypted and MACed for ``84 24 00 00``."""
    pad = work.secret("pin_key")
    if pad.alg not in ("T2", "T3"):
        raise refusal("A7", "format 0 blocks come under TDES")
    clear = pinblock.open_tdes(pad.reveal(), request.pin_block)
    pin = pinblock.read(pinblock.ISO_0, clear, request.account)
    key = work.card_key("master", request.factors)
    cipher = key.line_cipher(pinblock.card_form(pin))
    header = PIN_UNBLOCK + bytes((len(cipher) + MAC_LENGTH,))
    return with_length(cipher) + _text(key.line_mac(request.random, header + cipher))


def _status_mac(work: Work, record: bytes, card_serial: str) -> bytes:
    message = record + bytes.fromhex(card_serial)
    return crypto.aes_cmac(work.secret("key").reveal(), message)[:STATUS_MAC_LENGTH]


@handles(StatusMac)
def status_mac(work: Work, request: StatusMac) -> bytes:
    """`36` mode 0: AES-256 CMAC over record and card serial, first 8 bytes."""
    return _text(_status_mac(work, request.record, request.card_serial))


@handles(CheckStatusMac)
def check_status_mac(work: Work, request: CheckStatusMac) -> bytes:
    """`36` mode 1."""
    if not crypto.equal(_status_mac(work, request.record, request.card_serial), request.mac):
        raise refusal("01")
    return b""


@handles(CheckCardAnswer)
def check_card_answer(work: Work, request: CheckCardAnswer) -> bytes:
    """`38`: MAC over the answer data alone, the command's challenge as IV (purse-card.md 5)."""
    key = work.card_key("master", request.factors)
    if not crypto.equal(key.line_mac(request.random, request.data), request.mac):
        raise refusal("01")
    return b""


@handles(CheckInternalAuthentication)
def check_internal_authentication(work: Work, request: CheckInternalAuthentication) -> bytes:
    """`3A`: type 30, one block under the card key."""
    key = work.card_key("master", request.factors)
    if not crypto.equal(key.encrypt_block(request.data), request.response):
        raise refusal("01")
    return b""


def require_stronger(wrapping: Key, alg: str) -> None:
    """R-23: a wrapping key is at least as strong as what it wraps (HSM-27)."""
    order = {"D1": 0, "T2": 1, "T3": 2, "S4": 3, "A1": 3, "A2": 4, "A3": 5, "H2": 5, "ED": 5}
    if order[wrapping.alg] < order[alg] or (wrapping.alg == "T2" and alg == "T3"):
        raise refusal("27", "the wrapping key is weaker than the key")


def block_version(wrapping: Key) -> str:
    """Key block version that goes with a protection key: D under AES, B under TDES; HSM-A7 else."""
    if wrapping.alg.startswith("A"):
        return "D"
    if wrapping.alg in ("T2", "T3"):
        return "B"
    raise refusal("A7", "no key blocks under this algorithm")
