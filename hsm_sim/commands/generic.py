"""Commands a payShield knows: diagnostics, work keys for partners and terminals, MACs, PIN translation."""

import secrets

from core import crypto
from hsm_sim import keyblock, mac, pinblock, tokens
from hsm_sim.commands.issue import block_version, require_stronger
from hsm_sim.errors import refusal
from hsm_sim.generic_requests import (
    MAC_SIZES,
    CheckValue,
    Diagnose,
    Echo,
    ExportWorkKey,
    GenerateAndExport,
    GenerateWorkKey,
    ImportWorkKey,
    MakeMac,
    RandomBytes,
    TranslateTerminalPin,
    TranslateZonePin,
    VerifyMac,
)
from hsm_sim.kcv import check_value, generate, require_strong
from hsm_sim.secret import DES_ALGORITHMS
from hsm_sim.work import Key, Work, handles

WORK_KEYS = {  # usage: algorithms, modes of use
    "P0": ("T2 T3 A1 A2 A3", "BDEN"),
    "M1": ("D1 T2 T3", "CGVN"),
    "M3": ("D1 T2", "CGVN"),
    "M6": ("T2 T3 A1 A2 A3 S4", "CGVN"),
    "D0": ("T2 T3 A1 A2 A3", "BDEN"),
    "K0": ("T2 T3 A1 A2 A3", "BDEN"),
}
MAC_USAGES = {"1": ("M1",), "3": ("M3",), "6": ("M6",), "C": ("M1", "M3")}
MAC_LIMITS = {"1": 8, "3": 8, "6": 16, "C": 8}
MAX_RANDOM = 256


@handles(Diagnose)
def diagnose(work: Work, request: Diagnose) -> bytes:
    """`NC`."""
    assert request.code == "NC"
    return f"{work.hsm.lmk_check_value:0<16}{work.hsm.firmware}".encode("ascii")


@handles(Echo)
def echo(work: Work, request: Echo) -> bytes:
    """`B2`."""
    assert work.code == "B2"
    return request.data


@handles(RandomBytes)
def random_bytes(work: Work, request: RandomBytes) -> bytes:
    """`N0`."""
    length = int(request.length)
    if not 1 <= length <= MAX_RANDOM:
        raise refusal("15", f"{work.code} gives 1 to {MAX_RANDOM} bytes")
    return secrets.token_bytes(length)


def require_work_key(usage: str, algorithm: str, mode: str, exportability: str) -> None:
    """What A0 and A6 may bring into the world: HSM-29 (usage), A7, A8, AA."""
    if usage not in WORK_KEYS:
        raise refusal("29", "masters come from ceremonies")
    algorithms, modes = WORK_KEYS[usage]
    if algorithm not in algorithms.split():
        raise refusal("A7")
    if mode not in modes:
        raise refusal("A8")
    if exportability not in ("N", "E", "S"):
        raise refusal("AA")


@handles(GenerateWorkKey)
def generate_work_key(work: Work, request: GenerateWorkKey) -> bytes:
    """`A0` mode 0."""
    require_work_key(request.usage, request.algorithm, request.mode, request.exportability)
    material = bytes(generate(request.algorithm))
    token = tokens.make(
        work.hsm.lmk, material, request.usage, request.algorithm, request.mode, request.version,
        request.exportability,
    )  # fmt: skip
    return (token + check_value(request.algorithm, material)).encode("ascii")


@handles(GenerateAndExport)
def generate_and_export(work: Work, request: GenerateAndExport) -> bytes:
    """`A0` mode 1."""
    require_work_key(request.usage, request.algorithm, request.mode, request.exportability)
    under = work.key("under")
    material = bytes(generate(request.algorithm))
    token = tokens.make(
        work.hsm.lmk, material, request.usage, request.algorithm, request.mode, request.version,
        request.exportability,
    )  # fmt: skip
    kcv = check_value(request.algorithm, material)
    if request.scheme == "X":
        if request.kind != "1":
            raise refusal("26", "a zone key takes key blocks only")
        exported = "X" + wrap_bare(under, request.algorithm, material).hex().upper()
    else:
        header = keyblock.BlockHeader(
            request.usage, tokens.letter_of(request.algorithm), request.mode, request.version,
            request.exportability,
        )  # fmt: skip
        exported = "R" + wrap_block(under, header, request.algorithm, material)
    work.hsm.log_export(work.client, "", under.kid or "token", kcv, f"A0{request.scheme}")
    return (token + exported + kcv).encode("ascii")


def wrap_block(under: Key, header: keyblock.BlockHeader, algorithm: str, material: bytes) -> str:
    """A key block under a ZMK or TMK; HSM-27 when that is weaker than the key."""
    require_stronger(under, algorithm)
    told = keyblock.BlockHeader(
        header.usage, header.algorithm, header.mode, header.key_version, header.exportability,
        header.optional, block_version(under),
    )  # fmt: skip
    return keyblock.wrap(under.secret.reveal(), told, material)


def wrap_bare(under: Key, algorithm: str, material: bytes) -> bytes:
    """TDES-ECB of the bare key, each half on its own, only where the TMK lists it (section 4, scheme X)."""
    if not under.bare:
        raise refusal("26", "this key's attributes do not list bare export")
    if under.alg not in DES_ALGORITHMS or algorithm not in DES_ALGORITHMS:
        raise refusal("A7", "bare export is TDES under TDES")
    require_stronger(under, algorithm)
    return under.secret.encrypt_blocks(material)


@handles(ImportWorkKey)
def import_work_key(work: Work, request: ImportWorkKey) -> bytes:
    """`A6`: usage, version, optional blocks stay what the partner said (R-23); A and C come in at the console."""
    zone = work.key("zone")
    text = request.block[1:]
    if text[:1] not in ("B", "D"):
        raise refusal("26", "this version comes in at the console only")
    opened = keyblock.unwrap(zone.secret.reveal(), text)
    header = opened.header
    algorithm = tokens.algorithm_of(header.algorithm, len(opened.material))
    require_work_key(header.usage, algorithm, header.mode, header.exportability)
    if header.key_version.startswith("c"):
        raise refusal("A9", "a component is not a key")
    require_stronger(zone, algorithm)
    require_strong(algorithm, opened.material)
    token = tokens.make(
        work.hsm.lmk, opened.material, header.usage, algorithm, header.mode, header.key_version,
        header.exportability, tokens.foreign(header.optional),
    )  # fmt: skip
    return (token + check_value(algorithm, opened.material)).encode("ascii")


@handles(ExportWorkKey)
def export_work_key(work: Work, request: ExportWorkKey) -> bytes:
    """`A8`: only what its exportability lets out, under the version the zone key wants."""
    zone, key = work.key("zone"), work.key("key")
    if key.export not in ("E", "S"):
        raise refusal("AA")
    if request.version and request.version != block_version(zone):
        raise refusal("26", "the zone key wants the other version")
    header = keyblock.BlockHeader(
        key.usage, tokens.letter_of(key.alg), key.mode, key.version, key.export, key.partner
    )
    block = wrap_block(zone, header, key.alg, key.secret.reveal())
    kcv = check_value(key.alg, key.secret.reveal())
    work.hsm.log_export(work.client, key.kid, zone.kid or "token", kcv, "A8")
    return f"R{block}{kcv}".encode("ascii")


@handles(CheckValue)
def show_check_value(work: Work, request: CheckValue) -> bytes:
    """`BU`."""
    assert request.code == "BU"
    key = work.key("key")
    return check_value(key.alg, key.secret.reveal()).encode("ascii")


def message_mac(key: Key, algorithm: str, data: bytes, size: str, padding: str = "1") -> bytes:
    """The MAC in its size: leftmost bytes; C is always 8 ASCII characters."""
    if key.usage not in MAC_USAGES[algorithm]:
        raise refusal("A6", "this MAC is made under another usage")
    if algorithm in "6C" and padding not in ("0", "1"):
        raise refusal("15", "this MAC pads by itself")
    if algorithm != "6" and key.alg not in DES_ALGORITHMS:
        raise refusal("A7")
    length = MAC_SIZES[size]
    full = _whole_mac(key, algorithm, data, padding)
    if length > len(full) or (algorithm == "C" and length != len(full)):
        raise refusal("15", "MAC size")
    return full[:length]


def _whole_mac(key: Key, algorithm: str, data: bytes, padding: str) -> bytes:
    """The MAC in full length. Single blocks go through the encryptor kept with the key."""
    secret = key.secret
    material, kept = secret.reveal(), secret.encrypt_blocks
    match algorithm:
        case "1":
            return mac.algorithm_1(material, data, padding)
        case "3":
            return mac.algorithm_3(material, data, padding, kept)
        case "6":
            return mac.cmac(key.alg, material, data)
        case _:
            return mac.unionpay(material, data, kept)


def _mac_asked(work: Work, request: MakeMac | VerifyMac) -> bytes:
    return message_mac(
        work.key("key"), request.algorithm, request.data, request.size, request.padding
    )


@handles(MakeMac)
def make_mac(work: Work, request: MakeMac) -> bytes:
    """`M6`."""
    return _mac_asked(work, request).hex().upper().encode("ascii")


@handles(VerifyMac)
def verify_mac(work: Work, request: VerifyMac) -> bytes:
    """`M8`."""
    if not crypto.equal(_mac_asked(work, request), request.mac):
        raise refusal("01")
    return b""


def _translate(work: Work, request: TranslateTerminalPin) -> bytes:
    """Decrypt, read, write in the new format under the same account, encrypt (R-7)."""
    pinblock.require_change(request.source_format, request.target_format)
    source, target = work.secret("source"), work.secret("target")
    given, wanted = request.source_format, request.target_format
    if (given == pinblock.ISO_4) != source.alg.startswith("A"):
        raise refusal("A7", "format 4 comes under AES, the others under TDES")
    if (wanted == pinblock.ISO_4) != target.alg.startswith("A"):
        raise refusal("A7", "format 4 goes under AES, the others under TDES")
    if len(request.block) != (16 if given == pinblock.ISO_4 else 8):
        raise refusal("15", "PIN block length")
    if given == pinblock.ISO_4:
        clear = pinblock.open_aes(source.reveal(), request.block, request.account)
    else:
        clear = pinblock.open_tdes(source.reveal(), request.block)
    pin = pinblock.read(given, clear, request.account)
    fresh = pinblock.write(wanted, pin, request.account)
    if wanted == pinblock.ISO_4:
        block = pinblock.close_aes(target.reveal(), fresh, request.account)
    else:
        block = crypto.des_encrypt(target.reveal(), fresh)
    return f"{len(pin):02d}{block.hex().upper()}{wanted}".encode("ascii")


@handles(TranslateTerminalPin)
def translate_terminal_pin(work: Work, request: TranslateTerminalPin) -> bytes:
    """`CA`."""
    return _translate(work, request)


@handles(TranslateZonePin)
def translate_zone_pin(work: Work, request: TranslateZonePin) -> bytes:
    """`CC`."""
    return _translate(work, request)
