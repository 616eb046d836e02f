"""Races between hosts of one database, and the clock's edges (iso8583-host.md 16, numbers 4 and 7)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.clock import FixedClock
from payments import ledger
from payments import requests as r
from payments.purse_data import PurseAnswer
from payments.references import reference
from tests.host_bench import Keys, LabCard, LabHost
from tests.host_races import race


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("races"))


def test_a_load_and_its_reversal_at_once(keys: Keys, tmp_path: Path) -> None:
    seen = race(keys, f"sqlite:///{tmp_path / 'purse.db'}", 10)
    assert seen.total() == 10


@pytest.mark.slow
def test_a_thousand_races(keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = race(keys, f"sqlite:///{tmp_path / 'purse.db'}", 1000)
    with capsys.disabled():
        print("\n", dict(seen))  # noqa: T201
    assert seen.total() == 1000


@pytest.mark.parametrize(
    "before",
    [
        datetime(2026, 11, 28, 15, 59, 50, tzinfo=UTC),  # a day ends in Shenzhen
        datetime(2026, 12, 31, 15, 59, 50, tzinfo=UTC),  # a year ends
        datetime(2028, 2, 28, 15, 59, 50, tzinfo=UTC),  # the 29th begins
        datetime(2028, 2, 29, 15, 59, 50, tzinfo=UTC),  # the 29th ends
    ],
)
def test_a_day_that_ends_during_a_load(keys: Keys, before: datetime) -> None:
    host = LabHost(keys, clock=FixedClock(before))
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    request, purse = terminal.load_request(card, 5000, r.LOAD)
    answer = terminal.ask(request)
    assert answer.text(13) == (before + timedelta(hours=8)).strftime("%m%d")
    host.clock.advance(timedelta(seconds=20))
    proof = card.finish(purse, PurseAnswer.parse(answer.octets(58)))
    late = terminal.confirm(request, answer, proof)
    assert late.response == "77"  # a new day begins with a sign-on; the record is kept and repeated
    terminal.sign_on()
    assert terminal.confirm(request, answer, proof).response == "00"
    with host.db.read() as tx:
        assert ledger.balance(tx, ledger.purse(card.asn.hex())) == ledger.Balance(5000, 0)
    days = [(before + timedelta(hours=8)).date(), (before + timedelta(days=1, hours=8)).date()]
    assert reference(days[0], 1) < reference(days[1], 1) or days[0].year != days[1].year
    report = host.clearing.close(days[1], {card.asn.hex(): card.balance})
    assert report.unexplained == 0
    host.close()
