"""Single rules of hsm-and-ceremony.md 4 to 9 that the vectors do not reach, one test for each."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.clock import FixedClock
from core.errors import CityError
from hsm_sim import data_requests as data
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import kcv, keyblock
from hsm_sim import purse_requests as purse
from hsm_sim import terminal_requests as terminal
from hsm_sim.ceremony.actions import Birth
from hsm_sim.client import Request, Role
from hsm_sim.keystore import State
from hsm_sim.work import Client
from tests.hsm_bench import CARD, KnownKeys

ZONE = bytes(range(32, 64))
KEY = bytes(range(1, 17))
ENTRY = data.Entry(b"person.name.7", b"Li Na")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[KnownKeys]:
    made = KnownKeys(tmp_path / "hsm")
    yield made
    made.hsm.log.close()


def refused(code: str) -> Any:
    return pytest.raises(CityError, match=f"HSM-{code}")


def ask(bench: KnownKeys, request: Request[Any], role: Role) -> str:
    """The error code a client of this role gets."""
    body = b"0000" + request.code.encode() + request.encode()
    answer = bench.engine.execute(Client("test", role), body)
    assert answer is not None
    return answer[6:8].decode()


def put(bench: KnownKeys, kid: str, state: State) -> None:
    store = bench.hsm.keystore
    assert store is not None
    store.put(replace(store.entries[kid], state=state))


def test_a_check_value_is_shown_before_activation_and_not_while_suspended(
    bench: KnownKeys,
) -> None:
    """8.4: PRE_ACTIVE shows its check value; SUSPENDED and COMPROMISED do nothing."""
    field = bench.load("dlk", KEY, "T2", "11", "X")
    for state, shows in (
        (State.PRE_ACTIVE, True), (State.ACTIVE, True), (State.DEACTIVATED, True),
        (State.SUSPENDED, False), (State.COMPROMISED, False), (State.DESTROYED, False),
    ):  # fmt: skip
        put(bench, "dlk", state)
        code = ask(bench, generic.CheckValue(field), Role.TERMS)
        assert code == ("00" if shows else "F1"), state


def test_every_attempt_on_a_compromised_key_raises_an_alarm(bench: KnownKeys) -> None:
    field = bench.load("dlk", KEY, "T2", "11", "X")
    put(bench, "dlk", State.COMPROMISED)
    for _ in range(3):
        assert ask(bench, generic.CheckValue(field), Role.TERMS) == "F1"
    reasons = [event["body"]["reason"] for event in bench.hsm.log.events("auth.fail")]
    assert reasons == ["compromised key dlk"] * 3


def test_psam_keys_are_for_the_role_of_terminals(bench: KnownKeys) -> None:
    request = terminal.ProtectPsamKey("K001", (), "K002", (CARD,), CARD, bytes(5), b"\x22\x01\x00")
    assert ask(bench, request, Role.ISSUE) == "F4"
    assert ask(bench, request, Role.TERMS) == "28"


def test_a_master_goes_into_a_psam_only_when_its_ceremony_said_so(bench: KnownKeys) -> None:
    """R-44: exportability S, and a PSAM's own control key above it."""
    line = bench.load("psam-dcck", bytes(range(21, 37)), "T2", "19", "X", scope="psam")
    header, record = bytes.fromhex("84D400011C"), b"\x22\x01\x00"
    for kid, material, export, code in (
        ("dpk-01", KEY, "N", "AA"), ("dpk-02", KEY[::-1], "E", "AA"), ("dpk-03", ZONE[:16], "S", "17"),
    ):  # fmt: skip
        master = bench.load(kid, material, "T2", "10", "X", export=export)
        request = terminal.ProtectPsamKey(master, (), line, (CARD,), CARD, header, record)
        assert ask(bench, request, Role.TERMS) == code  # 17: allowed, but no batch is open


def test_bare_card_keys_leave_under_tdes_only(bench: KnownKeys) -> None:
    master = bench.load("dlk", KEY, "T2", "11", "X", export="E")
    transport = bench.load("bureau", ZONE, "A3", "K0", "E")
    with refused("A7"):
        bench.local.call(issue.ExportCardKeyBare(master, (CARD,), transport))


def test_the_newest_version_must_be_allowed_to_seal(bench: KnownKeys) -> None:
    """`86` makes new ciphertext, so its key needs a mode that does (A8)."""
    old = bench.load("data-01", ZONE, "A3", "D0", "B", version="01")
    sealed = bench.local.call(data.EncryptFields(old, (ENTRY,)))
    bench.load("data-02", ZONE[::-1], "A3", "D0", "D", version="02")
    with refused("A8"):
        bench.local.call(data.ReencryptFields(old, (data.Entry(ENTRY.context, sealed[0]),)))
    bench.load("data-03", bytes(range(90, 122)), "A3", "D0", "E", version="03")
    again = bench.local.call(data.ReencryptFields(old, (data.Entry(ENTRY.context, sealed[0]),)))
    assert again[0][:2] == b"03"


def test_the_quota_of_the_index_comes_before_the_key(bench: KnownKeys) -> None:
    """R-18: who is over the limit learns nothing about a key."""
    bench.hsm.set_policy(bench.hsm.policy.with_limits(index_values_per_day=1))
    wrong = bench.load("zone", ZONE, "A3", "K0", "B")
    assert ask(bench, data.KeyedIndex(wrong, (ENTRY,)), Role.DATA) == "A6"
    assert ask(bench, data.KeyedIndex(wrong, (ENTRY,)), Role.DATA) == "F0"


def test_an_absent_pin_key_is_named_as_source_or_destination(bench: KnownKeys) -> None:
    pin = bench.load("tpk", KEY, "T2", "P0", "B")
    for source, target, code in (("KFFF", pin, "10"), (pin, "KFFF", "11")):
        request = generic.TranslateZonePin(source, target, bytes(8), "123456789012")
        assert ask(bench, request, Role.SWITCH) == code


def test_key_blocks_name_the_method_of_their_check_value(bench: KnownKeys) -> None:
    """X9.143 block KC: method 00 is the zero block of TDES and SM4, 01 the CMAC of AES."""
    for algorithm, method, length in (("T2", "00", 3), ("A3", "01", 5)):
        token, shown = bench.local.call(generic.GenerateWorkKey("D0", algorithm, mode="B"))
        (name, text), *_ = keyblock.parse(token[1:])[0].optional
        assert (name, text[:2], text[2:8]) == ("KC", method, shown.hex().upper())
        assert len(text) == 2 + 2 * length
    assert kcv.block_check("H2", ZONE) == ()


def test_unknown_optional_blocks_survive_import_and_export(bench: KnownKeys) -> None:
    """9.1; a partner's label does not become one of ours: bare export is granted by our own only."""
    zone = bench.load("zone", ZONE, "A3", "K0", "B")
    theirs = (("LB", "bare-export"), ("TS", "20261127T101500Z"), ("19", "z" * 300))
    header = keyblock.BlockHeader("K0", "A", "B", "07", "E", theirs)
    block = keyblock.wrap(ZONE, header, bytes(range(70, 86)))
    token, _ = bench.local.call(generic.ImportWorkKey(zone, "R" + block))
    assert "LB" not in dict(keyblock.parse(token[1:])[0].optional)
    again, _ = bench.local.call(generic.ExportWorkKey(zone, token))
    kept = {n: text for n, text in keyblock.parse(again[1:])[0].optional if n != "PB"}
    assert kept == dict(theirs[1:])


@pytest.mark.parametrize(
    ("digits", "good"), [("01", True), ("02", True), ("03", True), ("00", False)]
)
def test_long_optional_blocks_say_how_long_their_length_is(digits: str, good: bool) -> None:
    size = 6 + 2 * int(digits) + 8
    text = f"TT00{digits}{size:0{2 * int(digits)}X}abcdefgh" if good else "TT00000Eabcdefgh"
    text += f"PB{4 + -(len(text) + 4) % 16:02X}" + "0" * (-(len(text) + 4) % 16)
    block = f"D{16 + len(text) + 96:04d}D0AB00E0200{text}" + "0" * 96
    if not good:
        with refused("83"):
            keyblock.parse(block)
        return
    assert dict(keyblock.parse(block)[0].optional)["TT"] == "abcdefgh"


def test_a_component_is_not_imported_as_a_key(bench: KnownKeys) -> None:
    zone = bench.load("zone", ZONE, "A3", "K0", "B")
    block = keyblock.wrap(ZONE, keyblock.BlockHeader("D0", "T", "B", "c1", "E"), KEY)
    with refused("A9"):
        bench.local.call(generic.ImportWorkKey(zone, "R" + block))


@pytest.mark.parametrize(
    "halves",
    [("1F1F1F1F0E0E0E0E", "0123456789ABCDEF"), ("0123456789ABCDEF", "0123456789ABCDEF"),
     ("0123456789ABCDEF", "0022446688AACCEE")],
    ids=["weak half", "equal halves", "equal but for parity"],
)  # fmt: skip
def test_weak_keys_never_come_in(bench: KnownKeys, halves: tuple[str, str]) -> None:
    """R-24."""
    zone = bench.load("zone", ZONE, "A3", "K0", "B")
    weak = bytes.fromhex("".join(halves))
    block = keyblock.wrap(ZONE, keyblock.BlockHeader("D0", "T", "B", "00", "E"), weak)
    with refused("75"):
        bench.local.call(generic.ImportWorkKey(zone, "R" + block))


def test_generated_tdes_keys_have_odd_parity(bench: KnownKeys) -> None:
    """R-39, seen where a key leaves: under a zone key of ours."""
    zone = bench.load("zone", ZONE, "A3", "K0", "B")
    for _ in range(4):
        made = bench.local.call(generic.GenerateAndExport(zone, "D0", kind="0", mode="B"))
        key = keyblock.unwrap(ZONE, made.exported[1:]).material
        assert all(byte.bit_count() % 2 == 1 for byte in key)


def dated(bench: KnownKeys, starts: str, until: str) -> None:
    store = bench.hsm.keystore
    assert store is not None
    store.put(replace(store.entries["dlk"], state=State.ACTIVE, starts=starts, until=until))


def test_a_key_works_within_its_dates(tmp_path: Path) -> None:
    """F7; after the last day it still verifies (8.4), and once that was noticed it is DEACTIVATED."""
    clock = FixedClock(datetime(2026, 11, 27, 8, tzinfo=UTC))
    bench = KnownKeys(tmp_path / "hsm", clock)
    field = bench.load("dlk", KEY, "T2", "11", "X")
    online = {"master": field, "factors": (CARD,), "random": bytes(4), "counter": 1, "balance": 0,
              "amount": 1, "type": b"\x02", "terminal": bytes(6), "mac1": bytes(4)}  # fmt: skip
    check = purse.CheckLoad(**online)
    load = purse.Load(**online, date=b"\x20\x26\x11\x27", time=bytes(3))
    for starts, until, checking, making in (
        ("2026-11-28", "", "F7", "F7"), ("2026-11-27", "2026-11-27", "01", "01"),
        ("", "2026-11-26", "01", "F7"),
    ):  # fmt: skip
        dated(bench, starts, until)
        assert ask(bench, check, Role.PURSE) == checking
        assert ask(bench, load, Role.PURSE) == making
    bench.hsm.tick()
    assert [event["body"] for event in bench.hsm.log.events("key.expire")] == [
        {"kid": "dlk", "reason": "2026-11-26"}
    ]
    assert ask(bench, load, Role.PURSE) == "F1"
    assert bench.hsm.directory()[-1]["until"] == "2026-11-26"
    bench.hsm.tick()
    assert len(list(bench.hsm.log.events("key.expire"))) == 1
    bench.hsm.log.close()


@pytest.mark.parametrize(
    ("starts", "until", "good"),
    [("", "", True), ("2026-01-01", "2031-12-31", True), ("2026-01-01", "2026-01-01", True),
     ("2026-01-02", "2026-01-01", False), ("20260101", "", False), ("", "2026-02-30", False)],
)  # fmt: skip
def test_the_dates_of_a_new_key_are_dates(
    bench: KnownKeys, starts: str, until: str, good: bool
) -> None:
    birth = Birth("dlk", "T2", "11", "X", "01", "N", "purse", 1, starts, until)
    bench.hsm.actions.begin(bench.hsm.log.size)
    with nullcontext() if good else refused("15"):
        bench.hsm.actions.generate(birth)
        assert bench.hsm.directory()[-1].get("until", "") == until
    bench.hsm.actions.rollback()
