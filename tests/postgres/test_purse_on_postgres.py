"""The purse network on PostgreSQL: the same rules, immutable transfers, two hosts on one database racing."""

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from payments import requests as r
from tests.host_bench import Keys, LabCard, LabHost
from tests.host_races import race

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("postgres-keys"))


def test_a_day_of_loads_and_purchases(keys: Keys, postgres_url: str) -> None:
    host = LabHost(keys, url=postgres_url)
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    assert terminal.load(card, 5000, r.LOAD).response == "00"
    purchase = terminal.purchase(card, 1350)
    assert terminal.ask(purchase).response == "00"
    assert terminal.ask(purchase).response == "00"
    report = host.clearing.close(date(2026, 11, 28), {card.asn.hex(): card.balance})
    assert (report.purchases, report.unexplained, report.float_fen) == (1, 0, 3650)
    for statement in ("UPDATE {} SET amount = 1", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
        with pytest.raises(DBAPIError, match="immutable"), host.db.write() as tx:
            tx.execute(text(statement.format("ledger_transfer")))
    host.close()


def test_two_hosts_race_for_a_load(keys: Keys, postgres_url: str, tmp_path: Path) -> None:
    seen = race(keys, postgres_url, 30, tmp_path / "bank.jsonl")
    assert seen.total() == 30


@pytest.mark.slow
def test_two_hosts_race_a_thousand_times(
    keys: Keys, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = race(keys, postgres_url, 1000, tmp_path / "bank.jsonl")
    with capsys.disabled():
        print("\n", dict(seen))  # noqa: T201
    assert seen.total() == 1000
