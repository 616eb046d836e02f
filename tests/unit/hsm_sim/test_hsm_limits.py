"""Rate limits and quotas (section 7): guesses are counted, and who goes over waits."""

import hmac
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import crypto
from core.clock import FixedClock
from core.errors import CityError
from hsm_sim import data_requests as data
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import kcv
from hsm_sim import purse_requests as purse
from hsm_sim.clients import Policy
from hsm_sim.errors import HsmMismatch
from hsm_sim.keyring import CARD_INFO
from hsm_sim.limits import Limits, RateLimiter
from tests.hsm_bench import CARD, KnownKeys

START = datetime(2026, 11, 27, 8, tzinfo=UTC)
OTHER = bytes.fromhex("0012345678905678")


class Timed(KnownKeys):
    """An HSM on a clock of its own with the few keys these tests need."""

    def __init__(self, home: Path) -> None:
        self.clock = FixedClock(START)
        super().__init__(home, self.clock)
        self.dtk = bytes(range(3, 19))
        self.master = self.load("dtk", self.dtk, "T2", "12", "X")
        self.reader = self.load("drak", bytes(range(5, 21)), "T2", "22", "X")
        self.index = self.load("index", bytes(range(9, 41)), "H2", "M7", "C")
        self.hsm.set_policy(self.hsm.policy.with_limits(client_failures_per_minute=20))

    def tac(self, card: bytes, good: bool) -> str:
        """Ask for one TAC; the code of the answer."""
        message = bytes(4) + b"\x06" + bytes(6) + bytes(4) + bytes(7)
        made = crypto.tac(crypto.diversify(self.dtk, card), message)
        given = made if good else bytes((made[0] ^ 1,)) + made[1:]
        request = purse.CheckPurchaseTac(
            self.master, (card,), 0, b"\x06", bytes(6), 0, bytes(4), bytes(3), given
        )
        return code_of(self, request)

    def limits_told(self) -> list[str]:
        return [event["body"]["what"].split()[0] for event in self.hsm.log.events("limit")]


def code_of(bench: KnownKeys, request: Any) -> str:
    try:
        bench.local.call(request)
    except CityError as refused:
        return refused.code
    return "ok"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Timed]:
    made = Timed(tmp_path / "hsm")
    yield made
    made.hsm.log.close()


def test_eight_wrong_macs_and_the_card_waits_an_hour(bench: Timed) -> None:
    assert [bench.tac(CARD, False) for _ in range(8)] == ["HSM-01"] * 8
    assert bench.tac(CARD, True) == "HSM-F0"  # not even a right one: nothing was computed
    assert bench.tac(OTHER, True) == "ok"  # other cards go on
    assert bench.limits_told() == ["card"]
    bench.clock.advance(timedelta(minutes=59))
    assert bench.tac(CARD, True) == "HSM-F0"
    bench.clock.advance(timedelta(minutes=1, seconds=1))
    assert bench.tac(CARD, True) == "ok"


def on_line(bench: Timed, algorithm: str = "C") -> tuple[purse.LoadOnLine, bytes, str]:
    """A good load as `4G` takes it, the MAC2 it must give, and its MAK's token."""
    dlk = bytes(range(21, 37))
    master = bench.load("dlk", dlk, "T2", "11", "X")
    usage, form = ("M1", "D1") if algorithm == "1" else ("M3", "T2")
    mak, _ = bench.local.call(generic.GenerateWorkKey(usage, form))
    session = crypto.purse_session_key(
        crypto.diversify(dlk, CARD), b"abcd", b"\x00\x05", b"\x80\x00"
    )
    amount, place, when = (
        (1000).to_bytes(4, "big"),
        b"\x02" + bytes(6),
        bytes.fromhex("20261127160000"),
    )
    made = purse.LoadOnLine(
        master, (CARD,), b"abcd", 5, 0, 1000, b"\x02", bytes(6),
        crypto.purse_mac(session, bytes(4) + amount + place), when[:4], when[4:],
        algorithm, mak, b"0200 the request", seal(bench, algorithm, mak, b"0200 the request"),
        b"0210 MAC2 and more", 5,
    )  # fmt: skip
    return made, crypto.purse_mac(session, amount + place + when), mak


def seal(bench: Timed, algorithm: str, mak: str, data: bytes) -> bytes:
    """Field 64 by the commands that are not ours."""
    size = generic.MAC_8 if algorithm == "C" else generic.MAC_4
    mac = bench.local.call(generic.MakeMac(mak, data, algorithm, size))
    return mac if algorithm == "C" else mac.hex().upper().encode()


@pytest.mark.parametrize("algorithm", ["C", "3", "1"])
def test_a_load_on_line_is_what_three_commands_would_do(bench: Timed, algorithm: str) -> None:
    request, mac2, mak = on_line(bench, algorithm)
    told = b"0210 " + mac2 + b" and more"
    assert bench.local.call(request) == (mac2, seal(bench, algorithm, mak, told))
    for place in (len(request.told) - 3, 0xFFFF):
        assert code_of(bench, replace(request, place=place)) == "HSM-15"


def test_a_wrong_message_mac_counts_for_no_card(bench: Timed) -> None:
    """Who has no MAC key cannot make a card wait, whatever MAC1 it sends; who has one and guesses MAC1 can."""
    request, mac2, _ = on_line(bench)
    stranger = replace(request, seal=b"00000000", mac1=bytes(4))
    assert [code_of(bench, stranger) for _ in range(10)] == ["HSM-F8"] * 10
    assert bench.local.call(request)[0] == mac2
    guess = replace(request, mac1=bytes(4))
    assert [code_of(bench, guess) for _ in range(8)] == ["HSM-01"] * 8
    assert code_of(bench, request) == "HSM-F0"
    assert bench.limits_told() == ["card"]
    bench.clock.advance(timedelta(hours=1, seconds=1))
    assert [code_of(bench, stranger) for _ in range(21)] == ["HSM-F8"] * 20 + ["HSM-F0"]
    assert bench.limits_told() == ["card", "client"]


def test_failures_are_forgotten_after_an_hour(bench: Timed) -> None:
    for _ in range(3):
        assert [bench.tac(CARD, False) for _ in range(7)] == ["HSM-01"] * 7
        bench.clock.advance(timedelta(minutes=61))
    assert bench.tac(CARD, True) == "ok"


def test_a_restart_does_not_forget_who_waits(bench: Timed) -> None:
    for _ in range(8):
        bench.tac(CARD, False)
    again = RateLimiter(bench.hsm.policy.limits, bench.clock, bench.hsm.log)
    card = bench.hsm.keys.pseudonym((CARD,))
    with pytest.raises(CityError, match="HSM-F0"):
        again.require_card("12/test", card)
    again.require_card("12/test", bench.hsm.keys.pseudonym((OTHER,)))


def test_a_client_with_too_many_failures_waits_a_minute(bench: Timed) -> None:
    cards = [n.to_bytes(8, "big") for n in range(1, 30)]
    codes = [bench.tac(card, False) for card in cards]
    assert codes == ["HSM-01"] * 20 + ["HSM-F0"] * 9
    bench.clock.advance(timedelta(seconds=61))
    assert bench.tac(CARD, True) == "ok"
    assert bench.limits_told() == ["client"]


def test_bulk_tacs_have_a_daily_quota_instead(bench: Timed) -> None:
    """Decision 24: 100,000 bad TACs a day, alarm at half, then F0 for the whole frame; no card ever waits."""
    bench.hsm.set_policy(bench.hsm.policy.with_limits(bad_tacs_per_day=100))
    bad = purse.CheckPurchaseTacs(bench.master, (), (CARD + bytes(26)) * 40)
    assert bench.local.call(bad).bad == 40
    assert bench.limits_told() == []
    assert bench.local.call(bad).bad == 40
    assert bench.limits_told() == ["bad-tacs-half"]
    assert bench.local.call(bad).bad == 40
    assert code_of(bench, bad) == "HSM-F0"
    entry = purse.TacEntry((CARD,), bytes(22), bytes(4))
    assert code_of(bench, purse.CheckTacs("2", bench.master, (entry,))) == "HSM-F0"
    assert bench.tac(CARD, True) == "ok"
    bench.clock.advance(timedelta(days=1, seconds=1))
    assert bench.local.call(bad).bad == 40


def test_pin_errors_are_a_padding_oracle(bench: Timed) -> None:
    token, _ = bench.local.call(generic.GenerateWorkKey("P0", mode="B"))
    request = generic.TranslateTerminalPin(token, token, bytes(8), "123456789012")
    codes = [code_of(bench, request) for _ in range(25)]
    assert set(codes[:20]) <= {"HSM-20", "HSM-24"}
    assert set(codes[20:]) == {"HSM-F0"}


def test_four_cryptograms_a_minute_for_one_card(bench: Timed) -> None:
    request = issue.AuthenticateExternally(bench.reader, (CARD,), bytes(range(8)))
    assert [code_of(bench, request) for _ in range(5)] == ["ok"] * 4 + ["HSM-F0"]
    assert code_of(bench, replace(request, factors=(OTHER,))) == "ok"
    bench.clock.advance(timedelta(seconds=61))
    assert code_of(bench, request) == "ok"


def test_the_index_has_a_daily_quota(bench: Timed) -> None:
    """R: identity numbers are easy to enumerate."""
    bench.hsm.set_policy(bench.hsm.policy.with_limits(index_values_per_day=40))
    request = data.KeyedIndex(bench.index, (data.Entry(b"id", b"x"),) * 16)
    assert [code_of(bench, request) for _ in range(3)] == ["ok", "ok", "HSM-F0"]
    assert bench.limits_told() == ["index-half"]
    bench.clock.advance(timedelta(days=1, seconds=1))
    assert code_of(bench, request) == "ok"


def test_exports_a_second(bench: Timed) -> None:
    bench.hsm.set_policy(bench.hsm.policy.with_limits(exports_per_second=3))
    limiter = bench.hsm.limiter
    for _ in range(3):
        limiter.require_export("perso")
    with pytest.raises(CityError, match="HSM-F0"):
        limiter.require_export("perso")
    limiter.require_export("another")
    bench.clock.advance(timedelta(seconds=2))
    limiter.require_export("perso")


def test_counters_are_bounded(bench: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsm_sim.limits.MAX_CARDS", 50)
    limiter = bench.hsm.limiter
    for n in range(200):
        limiter.note_failure(f"client {n}", "12/test", f"card {n}")
    assert len(limiter._windows) <= 51


def test_a_policy_says_only_what_there_is() -> None:
    assert Policy.parse(Policy().with_limits(card_failures=5).text()).limits.card_failures == 5
    for wrong in (
        {"unknown": 1},
        {"card_failures": 0},
        {"card_failures": "8"},
        {"card_failures": True},
    ):
        with pytest.raises(ValueError, match="unknown limit"):
            Limits.of(wrong)
    good = Policy().text()
    for text in (b"", b"{}", b"[]", good.replace(b'"on":[]', b'"on":["40"]'),
                 good.replace(b'"limits"', b'"Limits"'), good[:-1] + b',"x":1}'):  # fmt: skip
        with pytest.raises(HsmMismatch):
            Policy.parse(text)


def test_a_change_of_policy_is_in_the_log(bench: Timed) -> None:
    told = [event["body"]["sha256"] for event in bench.hsm.log.events("config")]
    assert told[-1] == bench.hsm.policy.digest
    bench.hsm.set_policy(bench.hsm.policy.with_limits(card_failures=3))
    told = [event["body"]["sha256"] for event in bench.hsm.log.events("config")]
    assert told[-1] == bench.hsm.policy.digest
    assert told[-1] != told[-2]


def test_a_pseudonym_is_an_hmac(bench: Timed) -> None:
    key = kcv.derived_key(bench.hsm.lmk.reveal(), CARD_INFO)
    for factors in ((CARD,), (CARD, OTHER)):
        made = hmac.digest(key, b"".join(factors), "sha256")
        assert bench.hsm.keys.pseudonym(factors) == made[:8].hex()
