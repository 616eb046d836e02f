"""The shared vectors through the HSM's commands: check values, MACs, purse and production keys; other libraries.

``tests/vectors/hsm.json`` is the shared half of the project's own specification; each vector names its source.
Key blocks, PINs and old keys: `test_hsm_vectors_blocks`. Log, notes and shares: test_ceremony_*, test_verifier_*.
"""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from core import crypto
from core.errors import CityError
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import kcv, keyblock, mac
from hsm_sim import purse_requests as purse
from hsm_sim.ceremony.actions import Birth
from hsm_sim.channel import base_keys, scp02_session_key, scp03_derive
from hsm_sim.derive import CardKey, SessionKey
from hsm_sim.secret import SecretKey
from tests.hsm_vectors import VECTORS, VectorHsm, b, group, refused, vector_hsm

with warnings.catch_warnings():  # the oracle imports ciphers from where they used to be
    warnings.simplefilter("ignore")
    from psec import mac as oracle_mac
    from psec import tr31 as oracle

ORACLE = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorHsm]:
    yield from vector_hsm(tmp_path_factory.mktemp("vectors"))


# -- check values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "out"), group("kcv-tdes"))
def test_tdes_check_values(bench: VectorHsm, given: Any, out: Any) -> None:
    key = b(given["key"])
    made = bench.token(key, "D0" if len(key) > 8 else "M1", "T" if len(key) > 8 else "D", "N")
    shown = bench.local.call(generic.CheckValue(made)).hex().upper()
    length = min(len(shown), len(out["kcv"]))
    assert shown[:length] == out["kcv"][:length]
    alg = {8: "D1", 16: "T2", 24: "T3"}[len(key)]
    assert kcv.check_value(alg, key, len(out["kcv"]) // 2) == out["kcv"]


@pytest.mark.parametrize(("given", "out"), group("kcv-aes-cmac"))
def test_aes_check_values(bench: VectorHsm, given: Any, out: Any) -> None:
    made = bench.token(b(given["key"]), "D0", "A")
    assert out["kcv"].startswith(bench.local.call(generic.CheckValue(made)).hex().upper())
    alg = {16: "A1", 24: "A2", 32: "A3"}[len(given["key"]) // 2]
    assert kcv.check_value(alg, b(given["key"]), len(out["kcv"]) // 2) == out["kcv"]


@pytest.mark.parametrize(("given", "out"), group("kcv-sm4"))
def test_sm4_check_values(given: Any, out: Any) -> None:
    assert kcv.check_value("S4", b(given["key"])) == out["kcv"]
    assert mac.cmac("S4", b(given["key"]), bytes(16))[:3].hex().upper() == out["kcv_cmac"]


@pytest.mark.parametrize(("given", "out"), group("kcv-forbidden"))
def test_forbidden_keys_never_come_in(bench: VectorHsm, given: Any, out: Any) -> None:
    key = b(given["key"])
    assert any(value for value in out.values())
    with refused("75"):
        bench.hsm.actions.component("bad", 1, bytearray(key))
    letter = {"TDES": "T", "AES": "A"}.get(given["algorithm"])
    if letter is not None:
        with refused("75"):
            bench.token(key, "D0", letter)


@pytest.mark.parametrize(("given", "out"), group("des-parity"))
def test_parity(given: Any, out: Any) -> None:
    assert kcv.odd_parity(b(given["key"])) == b(out["key"])


@pytest.mark.parametrize(("given", "out"), group("components"))
def test_components_make_the_key(bench: VectorHsm, given: Any, out: Any) -> None:
    actions, kid = bench.hsm.actions, f"components-{out['kcv']}"
    alg = {32: "T2", 64: "A3"}[len(out["key"])]
    actions.begin(bench.hsm.log.size)
    shown = [
        actions.component(kid, number, bytearray(b(part)))["kcv"]
        for number, part in enumerate(given["components"], 1)
    ]
    made = actions.combine(Birth(kid, alg, "D0", "B", "01", "N", "test", 1), len(shown))
    actions.commit()
    assert (shown, made["kcv"]) == (out["component_kcvs"], out["kcv"])


def test_fingerprints() -> None:
    """The fingerprints of the bundle's keys, from the components and the key published with it."""
    ceremony = VECTORS["ceremony"]
    parts = {
        kid: value for kid, value in ceremony["component_keys"].items() if kid != "fingerprint_key"
    }
    keys = {
        kid: b(value) if isinstance(value, str) else _combined(value)
        for kid, value in parts.items()
    }
    fingerprint_key = b(ceremony["component_keys"]["fingerprint_key"])
    for entry in json.loads(ceremony["bundle"]["keys"]):
        made = kcv.fingerprint(fingerprint_key, entry["alg"], keys[entry["kid"]])
        assert (made, kcv.check_value(entry["alg"], keys[entry["kid"]])) == (
            entry["fp"],
            entry["kcv"],
        )


def _combined(parts: list[str]) -> bytes:
    key = bytes(len(parts[0]) // 2)
    for part in parts:
        key = crypto.xor(key, b(part))
    return key


# -- MACs -------------------------------------------------------------------------------------------


def both_ways(bench: VectorHsm, made: str, data: bytes, algorithm: str, padding: str, size: str,
              expected: bytes) -> None:  # fmt: skip
    """M6 with bytes and with hex gives it, M8 takes it and no other."""
    for form in ("0", "1"):
        request = generic.MakeMac(made, data, algorithm, size, padding, form)
        assert bench.local.call(request) == expected
        check = generic.VerifyMac(made, data, expected, algorithm, size, padding, form)
        assert bench.local.call(check) is None
    wrong = bytes((expected[0] ^ 1,)) + expected[1:]
    with refused("01"):
        bench.local.call(generic.VerifyMac(made, data, wrong, algorithm, size, padding))


@ORACLE
@pytest.mark.parametrize(("given", "out"), group("mac-iso9797-alg1"))
def test_mac_algorithm_1(bench: VectorHsm, given: Any, out: Any) -> None:
    key, data = b(given["key"]), b(given["data"])
    made = bench.token(key, "M1", {8: "D"}.get(len(key), "T"), "C")
    both_ways(bench, made, data, "1", str(given["padding"]), "1", b(out["mac"]))
    assert oracle_mac.generate_cbc_mac(key, data, given["padding"]) == b(out["mac"])


@ORACLE
@pytest.mark.parametrize(("given", "out"), group("mac-iso9797-alg3"))
def test_mac_algorithm_3(bench: VectorHsm, given: Any, out: Any) -> None:
    key, data = b(given["key"]), b(given["data"])
    made = bench.token(key, "M3", "T", "C")
    both_ways(bench, made, data, "3", str(given["padding"]), "1", b(out["mac"]))
    expected = oracle_mac.generate_retail_mac(key[:8], key[8:], data, given["padding"])
    assert expected == b(out["mac"])


@pytest.mark.parametrize(("given", "out"), group("cmac"))
def test_cmac(bench: VectorHsm, given: Any, out: Any) -> None:
    key = b(given["key"])
    made = bench.token(key, "M6", given["algorithm"][0], "C")
    size = "2" if given["algorithm"] == "AES" else "1"
    both_ways(bench, made, b(given["data"]), "6", "0", size, b(out["mac"]))


@pytest.mark.parametrize(("given", "out"), group("cup-ecb-mac"))
def test_unionpay_mac(bench: VectorHsm, given: Any, out: Any) -> None:
    key = b(given["mak"])
    if key[:8] == key[8:]:  # the HSM takes no key with equal halves; the MAC is that of one half
        with refused("75"):
            bench.token(key, "M3", "T", "C")
    assert mac.unionpay(key, b(given["data"])) == b(out["field64"])
    single = len(key) == 8 or key[:8] == key[8:]
    made = bench.token(key[:8] if single else key, "M3", "D" if single else "T", "C")
    both_ways(bench, made, b(given["data"]), "C", "1", "1", b(out["field64"]))


# -- purse and production keys ----------------------------------------------------------------------


@pytest.mark.parametrize(("given", "out"), group("purse-derivation"))
def test_purse_commands(bench: VectorHsm, given: Any, out: Any) -> None:
    factors, date, time = (b(given["factor"]),), b("20260301"), b("093015")
    common = {
        "amount": int(given["amount"], 16),
        "type": b(given["type"]),
        "terminal": b(given["terminal"]),
    }
    if given["kind"] == "load MAC1":
        master = bench.load(f"dlk-{given['master'][:8]}", b(given["master"]), "T2", "11", "X")
        load = {
            "master": master, "factors": factors, "random": b(given["random"]),
            "counter": int(given["online_counter"], 16), "balance": int(given["balance"], 16), **common,
        }  # fmt: skip
        bench.local.call(purse.CheckLoad(**load, mac1=b(out["mac1"])))
        mac2 = bench.local.call(purse.Load(**load, mac1=b(out["mac1"]), date=date, time=time))
        told = b(given["amount"]) + b(given["type"]) + b(given["terminal"]) + date + time
        assert mac2 == crypto.purse_mac(b(out["session_key"]), told)
        with refused("01"):
            bench.local.call(purse.Load(**load, mac1=bytes(4), date=date, time=time))
        return
    bench.hsm.policy = bench.hsm.policy.__class__(switched_on=frozenset({"46", "48"}))
    master = bench.load(f"dpk-{given['master'][:8]}", b(given["master"]), "T2", "10", "X")
    buy = {
        "master": master, "factors": factors, "random": b(given["random"]),
        "counter": int(given["offline_counter"], 16),
        "terminal_counter": int(given["terminal_counter"], 16), **common,
        "date": b(given["date"]), "time": b(given["time"]),
    }  # fmt: skip
    assert bench.local.call(purse.PurchaseMac1(**buy)) == b(out["mac1"])
    mac2 = crypto.purse_mac(b(out["session_key"]), b(given["amount"]))
    bench.local.call(purse.CheckPurchaseMac2(**buy, mac2=mac2))


@pytest.mark.parametrize(("given", "out"), group("scp-derivation"))
def test_card_production_keys(bench: VectorHsm, given: Any, out: Any) -> None:
    """Through `20` and `22`: a card with these keys accepts our cryptogram, and its MAC is right."""
    kmc = b(given["kmc"])
    found = base_keys(SecretKey("T2", kmc), "1", bytes(4) + b(given["keydata6"]))
    assert found == (b(out["k_enc"]), b(out["k_mac"]), b(out["k_dek"]))
    counter = b(given["counter"])
    session = [
        scp02_session_key(key, one, counter)
        for key, one in zip(found, (0x182, 0x101, 0x181), strict=True)
    ]
    assert session == [b(out["s_enc"]), b(out["s_cmac"]), b(out["s_dek"])]
    master = bench.load(f"kmc-{given['kmc'][:8]}", kmc, "T2", "E5", "X")
    handle, host = bench.local.call(issue.BeginChannel("02", b"\x15", master, "1", "3"))
    card = bytes(range(6))
    cryptogram = crypto.des_cbc(session[0], crypto.pad80(host + counter + card))[-8:]
    response = bytes(4) + b(given["keydata6"]) + b"\x01\x02" + counter + card + cryptogram
    apdu = bench.local.call(issue.AuthenticateChannel(handle, response))
    mine = crypto.des_cbc(session[0], crypto.pad80(counter + card + host))[-8:]
    assert apdu[:13] == b("8482030010") + mine
    assert apdu[13:] == mac.algorithm_3(session[1], apdu[:13], "2")


# -- differential: our key blocks against another library ----------------------------------------------


@ORACLE
@pytest.mark.parametrize("usage", ["P0", "M3", "K0", "D0"])
@pytest.mark.parametrize(("letter", "length"), [("T", 16), ("T", 24), ("A", 16), ("A", 32)])
@pytest.mark.parametrize("protection", [16, 24, 32])
def test_key_blocks_agree_with_psec(usage: str, letter: str, length: int, protection: int) -> None:
    key, kbpk = bytes(range(1, 1 + length)), bytes(range(101, 101 + protection))
    version = "D" if protection == 32 else "B"
    header = keyblock.BlockHeader(usage, letter, "B", "07", "E", (("LB", "a label"),), version)
    block = keyblock.wrap(kbpk, header, key)
    opened_header, opened = oracle.unwrap(kbpk, block)
    assert opened == key
    assert (opened_header.key_usage, opened_header.version_num) == (usage, "07")
    assert opened_header.blocks["LB"] == "a label"
    theirs = oracle.Header(version, usage, letter, "B", "07", "E")
    theirs.blocks["KS"] = "00604B120F9292800000"
    again = keyblock.unwrap(kbpk, oracle.wrap(kbpk, theirs, key))
    assert again.material == key
    assert dict(again.header.optional)["KS"] == "00604B120F9292800000"
    for at in range(0, len(block), 7):  # any changed character is refused
        other = "1" if block[at] != "1" else "2"
        with pytest.raises(CityError):
            keyblock.unwrap(kbpk, block[:at] + other + block[at + 1 :])


# -- differential: MACs and secure channels ------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 7, 8, 15, 16, 17, 18, 24, 31, 40])
def test_purse_macs_are_those_of_the_shared_functions(length: int) -> None:
    key, message = bytes(range(3, 19)), bytes(range(length))
    assert SessionKey("D1", key[:8]).mac(message) == crypto.purse_mac(key[:8], message)
    assert SessionKey("S4", key).mac(message) == crypto.sm4_mac(key, message)
    assert CardKey("T2", key).tac(message) == crypto.tac(key, message)
    assert CardKey("S4", key).session(b"abcd", 7).mac(message) == crypto.sm4_mac(
        crypto.sm4_purse_session_key(key, b"abcd", b"\x00\x07", b"\x80\x00"), message
    )


@pytest.mark.parametrize(("size", "bits"), [(16, 128), (24, 192), (32, 256), (16, 64)])
def test_scp03_keys_agree_with_another_kdf(size: int, bits: int) -> None:
    """NIST SP 800-108 counter mode as `cryptography` has it, the counter between label and context."""
    key, context = bytes(range(size)), bytes(range(100, 116))
    label = bytes(11) + b"\x04\x00" + bits.to_bytes(2, "big")
    other = KBKDFCMAC(
        algorithms.AES, Mode.CounterMode, bits // 8, 1, None, CounterLocation.MiddleFixed, None, None,
        label + context, break_location=len(label),
    )  # fmt: skip
    assert scp03_derive(key, 4, bits, context) == other.derive(key)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_card_follows_scp03(bench: VectorHsm, size: int) -> None:
    """A card's half, written down step by step, takes our EXTERNAL AUTHENTICATE and reads what we wrap."""
    key = bytes(range(40, 40 + size))
    master = bench.load(f"kmc-aes-{size}", key, {16: "A1", 24: "A2", 32: "A3"}[size], "E5", "X")
    handle, host = bench.local.call(issue.BeginChannel("03", b"\x10", master, "0", "3"))
    card = bytes(range(200, 208))
    context = host + card
    s_enc, s_mac = (scp03_derive(key, one, 8 * size, context) for one in (4, 6))
    response = bytes(10) + b"\x01\x03\x10" + card + scp03_derive(s_mac, 0, 64, context)
    apdu = bench.local.call(issue.AuthenticateChannel(handle, response))
    assert apdu[:13] == b("8482030010") + scp03_derive(s_mac, 1, 64, context)
    chain = crypto.aes_cmac(s_mac, bytes(16) + apdu[:13])
    assert apdu[13:] == chain[:8]
    for number, data in enumerate((b"first data", bytes(40)), 1):
        plain = b("80E20000") + bytes((len(data),)) + data
        wrapped = bench.local.call(issue.WrapApdu(handle, plain))
        chain = crypto.aes_cmac(s_mac, chain + wrapped[:-8])
        assert wrapped[-8:] == chain[:8]
        icv = (
            Cipher(algorithms.AES(s_enc), modes.ECB())
            .encryptor()
            .update(number.to_bytes(16, "big"))
        )
        opened = Cipher(algorithms.AES(s_enc), modes.CBC(icv)).decryptor().update(wrapped[5:-8])
        assert opened == crypto.pad80(data, 16)
        assert (wrapped[0], wrapped[4]) == (0x84, len(wrapped) - 5)
    assert bench.local.call(issue.UnwrapAnswer(handle, b"data\x90\x00")) == (b"data", b"\x90\x00")
    transport = bytes(range(90, 122))
    field = bench.load(f"transport-{size}", transport[::-1][:31] + bytes((size,)), "A3", "K0", "B")
    clear = bytes(range(32))
    given = (
        Cipher(algorithms.AES(transport[::-1][:31] + bytes((size,))), modes.ECB())
        .encryptor()
        .update(clear)
    )
    again = bench.local.call(issue.ReencryptData(field, handle, given))
    assert Cipher(algorithms.AES(key), modes.CBC(bytes(16))).decryptor().update(again) == clear
    with refused("80"):
        bench.local.call(issue.ReencryptData(field, handle, given[:20]))
    bench.local.call(issue.EndChannel(handle))
    with refused("F5"):
        bench.local.call(issue.WrapApdu(handle, b("80E20000")))
