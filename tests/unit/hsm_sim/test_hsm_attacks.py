"""API attacks of hsm-and-ceremony.md 13: each test fails when its protection is taken out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core import crypto
from core.clock import FixedClock
from core.errors import CityError
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import keyblock, pinblock
from hsm_sim import purse_requests as purse
from hsm_sim import terminal_requests as terminal
from hsm_sim.client import Request, Role
from hsm_sim.commands.issue import ALLOWED_COMMANDS, CARD_BLOCK
from hsm_sim.local import LocalHsm
from hsm_sim.policy import FORMS, RULES
from hsm_sim.work import Client
from tests.hsm_bench import CARD, LOT, HsmCity, KnownKeys, hold

CHIP = bytes.fromhex("A1A2A3A4A5A6A7A8")
START = datetime(2026, 11, 27, 8, tzinfo=UTC)
HEADER = bytes.fromhex("84D401011C")
PREFIX = bytes.fromhex("3EF0010101")
RANDOM = issue.challenge(b"\x01\x02\x03\x04")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownKeys]:
    made = KnownKeys(tmp_path_factory.mktemp("attacks") / "hsm")
    made.hsm.limiter.off = True
    yield made
    made.hsm.log.close()


@pytest.fixture(scope="module")
def bench_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HsmCity]:
    made = hold(tmp_path_factory.mktemp("city"), FixedClock(START))
    yield made
    made.hsm.close()


def refused(code: str) -> Any:
    return pytest.raises(CityError, match=f"HSM-{code}")


def key(n: int, size: int = 16) -> bytes:
    return bytes((n * 37 + k * k * 3 + 5) % 256 for k in range(size))


def test_no_mac2_without_mac1(bench: KnownKeys) -> None:
    """R-14: whatever is wrong, the answer is 01 and holds nothing; no other command makes a load's MAC2."""
    master = bench.load("dlk", key(1), "T2", "11", "X")
    card = crypto.diversify(key(1), CARD)
    session = crypto.purse_session_key(card, b"abcd", b"\x00\x05", b"\x80\x00")
    amount, balance, term = (1000).to_bytes(4, "big"), (0).to_bytes(4, "big"), bytes(6)
    mac1 = crypto.purse_mac(session, balance + amount + b"\x02" + term)
    good: dict[str, Any] = {
        "master": master, "factors": (CARD,), "random": b"abcd", "counter": 5, "balance": 0,
        "amount": 1000, "type": b"\x02", "terminal": term, "mac1": mac1, "date": b"\x20\x26\x11\x27",
        "time": b"\x10\x00\x00",
    }  # fmt: skip
    mac2 = bench.local.call(purse.Load(**good))
    assert mac2 == crypto.purse_mac(session, amount + b"\x02" + term + good["date"] + good["time"])
    for change in ({"mac1": bytes(4)}, {"balance": 1}, {"amount": 1001}, {"counter": 6},
                   {"random": b"abce"}, {"terminal": b"\x01" + bytes(5)}, {"type": b"\x06"},
                   {"factors": (CHIP,)}):  # fmt: skip
        with refused("01"):
            bench.local.call(purse.Load(**{**good, **change}))


def test_pin_blocks_keep_their_account_and_their_binding(bench: KnownKeys) -> None:
    """R-7: another account gives garbage, never the PIN under another account; nothing becomes format 1 or 2."""
    zone = bench.load("zone-1", key(2, 32), "A3", "K0", "B")
    pin_key = key(3)
    block = keyblock.wrap(key(2, 32), keyblock.BlockHeader("P0", "T", "B", "00", "E"), pin_key)
    token, _ = bench.local.call(generic.ImportWorkKey(zone, "R" + block))
    clear = pinblock.write(pinblock.ISO_0, "1234", "123456789012")
    pin = crypto.des_encrypt(pin_key, clear)
    answer = bench.local.call(generic.TranslateTerminalPin(token, token, pin, "123456789012"))
    assert crypto.des_decrypt(pin_key, answer.block) == clear
    with refused("20"):
        bench.local.call(generic.TranslateTerminalPin(token, token, pin, "923456789012"))
    for target in ("05", "34"):
        with pytest.raises(CityError, match=r"HSM-(23|69)"):
            bench.local.call(
                generic.TranslateTerminalPin(token, token, pin, "123456789012", "01", target)
            )


def test_no_command_takes_or_gives_a_clear_pin() -> None:
    """R-8: no form has a field for a PIN, a decimalisation table, a PIN offset or a PVV."""
    for form in RULES:
        names = set(form.layout.names) | set(form.answer.names)
        assert not names & {"pin", "decimalisation", "offset", "pvv", "pin_digits"}, form
    for code in ("DA", "DC", "EA", "EC", "BA", "NG", "EE", "DE", "CK", "CG"):
        assert code not in FORMS


def test_tokens_hold_together(bench: KnownKeys) -> None:
    """Swapped halves, another usage, any changed character: the block's MAC refuses it."""
    token, _ = bench.local.call(generic.GenerateWorkKey("M3", mode="C"))
    body = token[-64:]
    swapped = token[:-64] + body[32:] + body[:32]
    for wrong in (
        token.replace("M3TC", "P0TC"), token.replace("M3TC", "M3TN"), swapped,
        token[:-1] + ("0" if token[-1] != "0" else "1"),
    ):  # fmt: skip
        with refused("A4"):
            bench.local.call(generic.MakeMac(wrong, b"data"))


def test_no_strong_key_under_a_weak_one(bench: KnownKeys) -> None:
    """R-23."""
    weak = bench.load("zone-tdes", key(4), "T2", "K0", "B")
    strong, _ = bench.local.call(generic.GenerateWorkKey("D0", "A3", mode="B", exportability="E"))
    with refused("27"):
        bench.local.call(generic.ExportWorkKey(weak, strong))
    with refused("27"):
        bench.local.call(generic.GenerateAndExport(weak, "D0", algorithm="A3", mode="B"))
    same, kcv = bench.local.call(generic.GenerateWorkKey("D0", mode="B", exportability="E"))
    block, told = bench.local.call(generic.ExportWorkKey(weak, same, "B"))
    assert (block[:2], told) == ("RB", kcv)
    again, kcv_again = bench.local.call(generic.ImportWorkKey(weak, block))
    assert (again[:1], again[6:8], kcv_again) == ("S", "D0", kcv)


def test_exportability_and_masters(bench: KnownKeys) -> None:
    zone = bench.load("zone-2", key(5, 32), "A3", "K0", "B")
    token, _ = bench.local.call(generic.GenerateWorkKey("M3", mode="C", exportability="N"))
    with refused("AA"):
        bench.local.call(generic.ExportWorkKey(zone, token))
    for usage in ("10", "K1", "E5", "S0", "M7", "23"):
        with refused("29"):
            bench.local.call(generic.GenerateWorkKey(usage, mode="X"))
        block = keyblock.wrap(key(5, 32), keyblock.BlockHeader(usage, "T", "X", "00", "E"), key(9))
        with refused("29"):
            bench.local.call(generic.ImportWorkKey(zone, "R" + block))


def test_bare_export_only_where_the_key_says_so(bench: KnownKeys) -> None:
    pad = bench.load("pad", key(6), "T2", "K0", "B")
    with refused("26"):
        bench.local.call(generic.GenerateAndExport(pad, "K0", mode="B", scheme="X"))
    tmk = bench.local.call(generic.GenerateAndExport(pad, "K0", mode="B"))
    keys = bench.local.call(terminal.MakeWorkKeys(tmk.token, "3", mac_algorithm="D1"))
    clear = keyblock.unwrap(key(6), tmk.exported[1:]).material
    assert [crypto.des_kcv(crypto.des_decrypt(clear, one.wrapped), 4) for one in keys] == [
        one.check_value for one in keys
    ]
    assert [len(one.wrapped) for one in keys] == [16, 8]
    assert len(terminal.field_62(keys)) == 40
    strong, _ = bench.local.call(generic.GenerateWorkKey("K0", "A3", mode="B"))
    with refused("26"):
        bench.local.call(terminal.MakeWorkKeys(strong, "3"))
    blocks = bench.local.call(terminal.MakeWorkKeys(strong, "7", wrap="R", long_check="0"))
    assert [(one.wrapped[:2], len(one.check_value)) for one in blocks] == [(b"RD", 3)] * 3


def test_factors_of_zeros_and_ones_are_refused(bench: KnownKeys) -> None:
    """R-11: under factor 0 a derived key would begin with the master's own check value."""
    master = bench.load("dtk", key(7), "T2", "12", "X")
    for factor in (bytes(8), b"\xff" * 8):
        with refused("22"):
            bench.local.call(issue.CardKeyCheckValue(master, (factor,)))
        with refused("22"):
            bench.local.call(purse.CheckPurchaseTacs(master, (), factor + bytes(26)))
    with refused("22"):
        bench.local.call(issue.CardKeyCheckValue(master, ()))


def test_external_authentication_is_no_oracle(bench: KnownKeys) -> None:
    """R-12: control keys take four bytes and zeros; only the reader key takes eight, and no other usage any."""
    control = bench.load("dack", key(8), "T2", "18", "X")
    reader = bench.load("drak", key(10), "T2", "22", "X")
    line = bench.load("damk", key(11), "T2", "15", "X")
    with refused("15"):
        bench.local.call(issue.AuthenticateExternally(control, (CARD,), bytes(range(8))))
    made = bench.local.call(issue.AuthenticateExternally(control, (CARD,), RANDOM))
    assert made == crypto.des_encrypt(crypto.diversify(key(8), CARD), RANDOM)
    made = bench.local.call(issue.AuthenticateExternally(reader, (CARD,), bytes(range(8))))
    assert made == crypto.des_encrypt(crypto.diversify(key(10), CARD), bytes(range(8)))
    with refused("A6"):
        bench.local.call(issue.AuthenticateExternally(line, (CARD,), RANDOM))


def test_line_protection_has_an_allow_list(bench: KnownKeys) -> None:
    """R-13: never WRITE KEY, a PIN command or an authentication; card block under its own key only."""
    damk = bench.load("damk-2", key(12), "T2", "15", "X")
    dcmk = bench.load("dcmk", key(13), "T2", "20", "X")
    for cla in (0x00, 0x04, 0x80, 0x84):
        for ins in range(0, 256, 2):
            pair = bytes((cla, ins))
            for master, extra in ((damk, ()), (dcmk, (CARD_BLOCK,))):
                request = issue.ProtectCommand(
                    master, (CARD,), RANDOM, "1", pair + b"\x00\x00", b"x"
                )
                if pair in ALLOWED_COMMANDS or pair in extra:
                    bench.local.call(request)
                else:
                    with refused("29"):
                        bench.local.call(request)


def test_a_handle_belongs_to_its_connection(bench: KnownKeys) -> None:
    """R-13."""
    kmc = bench.load("kmc", key(14), "T2", "E5", "X")
    mine, other = Client("a", Role.ISSUE, 1), Client("a", Role.ISSUE, 2)

    def ask(client: Client, request: Request[Any]) -> bytes:
        body = b"0000" + request.code.encode() + request.encode()
        answer = bench.engine.execute(client, body)
        assert answer is not None
        return answer[6:]

    begun = ask(mine, issue.BeginChannel("02", b"\x15", kmc, "0", "1"))
    handle = bytes.fromhex(begun[2:10].decode())
    assert ask(other, issue.EndChannel(handle)) == b"F5"
    assert ask(mine, issue.WrapApdu(handle, bytes(4))) == b"F5"  # the card has not answered yet
    assert ask(mine, issue.AuthenticateChannel(handle, bytes(28))) == b"01"
    assert ask(mine, issue.AuthenticateChannel(handle, bytes(28))) == b"F5"  # one try only
    handle = bytes.fromhex(
        ask(mine, issue.BeginChannel("02", b"\x15", kmc, "0", "1"))[2:10].decode()
    )
    bench.engine.connection_ended(mine)
    assert ask(mine, issue.EndChannel(handle)) == b"F5"


# -- exports are metered ----------------------------------------------------------------------------


def protect(bench_city: HsmCity, card: bytes) -> issue.ProtectCardKey:
    slots = bench_city.slots
    return issue.ProtectCardKey(
        slots["purse-dlk-01"], (card,), slots[f"lot-{LOT}-01"], (CHIP,), RANDOM, HEADER, PREFIX
    )


def test_no_more_cards_than_the_batch_says(bench_city: HsmCity) -> None:
    """R-10: each card counts once over all its keys and all retries, then F6; a restart forgets nothing."""
    hsm = LocalHsm(bench_city.local._engine)
    batch = bench_city.hsm.batches._batches[0]
    left = bench_city.hsm.batches.left(batch.name)
    hsm.call(protect(bench_city, CARD))
    hsm.call(protect(bench_city, CARD))
    assert bench_city.hsm.batches.left(batch.name) == left - 1
    bench_city.restart(FixedClock(START))
    batch = bench_city.hsm.batches._batches[0]
    assert bench_city.hsm.batches.left(batch.name) == left - 1
    batch.cards = 2
    hsm = bench_city.local
    hsm.call(protect(bench_city, CARD[:-1] + b"\x99"))
    with refused("F6"):
        hsm.call(protect(bench_city, CARD[:-1] + b"\x98"))
    hsm.call(protect(bench_city, CARD))
    batch.cards = 20_000
    methods = {event["body"]["method"] for event in bench_city.hsm.log.events("export")}
    assert methods == {"14"}


def test_exports_need_an_open_batch(bench_city: HsmCity) -> None:
    batch = bench_city.hsm.batches._batches[0]
    expires, batch.expires = batch.expires, (START - timedelta(days=1)).date()
    try:
        with refused("17"):
            bench_city.local.call(protect(bench_city, CARD))
    finally:
        batch.expires = expires
    methods, batch.methods = batch.methods, frozenset({"52"})
    try:
        with refused("17"):
            bench_city.local.call(protect(bench_city, CARD))
    finally:
        batch.methods = methods


def test_only_psams_get_a_master(bench_city: HsmCity) -> None:
    """R-44: underived only by `52`, only usages 10, 21, 22 with export S, only under a PSAM's control key."""
    slots, hsm = bench_city.slots, bench_city.local
    good = terminal.ProtectPsamKey(
        slots["purse-dpk-01"], (), slots["psam-dcck-01"], (CHIP,), RANDOM,
        bytes.fromhex("84D400011C"), b"\x22\x01\x00",
    )  # fmt: skip
    assert len(hsm.call(good)) == 28
    from dataclasses import replace

    for change, code in (
        ({"master": slots["purse-dlk-01"]}, "A6"), ({"line": slots["card-dcck-01"]}, "28"),
        ({"line": slots["purse-dack-01"]}, "A6"), ({"line_factors": ()}, "22"),
        ({"header": bytes.fromhex("04D600001C")}, "29"), ({"header": bytes.fromhex("84D400011B")}, "80"),
    ):  # fmt: skip
        with refused(code):
            hsm.call(replace(good, **change))
    with refused("22"):
        hsm.call(issue.ProtectCardKey(slots["purse-dpk-01"], (), slots["psam-dcck-01"], (CHIP,),
                                      RANDOM, HEADER, PREFIX))  # fmt: skip
