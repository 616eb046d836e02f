"""``citycard retention``: the dry run counts, the purge deletes, a hold keeps."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import retention
from registry.residence import applications
from runtime.services import Services
from runtime.settings import Settings
from tests.registry_bench import REVIEWER, City, city


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> City:
    """A year and a day after a refusal; the command opens this city."""
    made = city()
    with made.db.write() as tx:
        acc_no = made.apply(tx, 0)
        applications.verify(tx, made.clock, acc_no)
        applications.refuse(tx, made.clock, acc_no, REVIEWER, "papers do not match")
    made.clock.advance(timedelta(days=366))
    services = Services(Settings(data=Path("none")), made.db, made.clock)
    monkeypatch.setattr("runtime.services.build", lambda _settings: services)
    monkeypatch.setattr(made.db, "close", lambda: None)  # it is in memory
    return made


def run(*words: str) -> str:
    done = CliRunner().invoke(retention.app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def purge(*words: str) -> dict[str, Any]:
    told = json.loads(run("purge", "--by", "admin Gu", "--json", *words))
    return {"rows": {name: n for name, n in told["rows"].items() if n}, "held": told["held"]}


def test_a_dry_run_counts_a_hold_keeps_and_the_purge_deletes(town: City) -> None:
    with town.db.read() as tx:
        (application,) = tx.query(applications.ApplicationRow).all()
        number = str(application.acc_no)
    due = {"rows": {"refused_applications": 1}, "held": 0}
    assert purge("--dry-run") == due == purge("--dry-run")
    assert run("hold", number, "--case", "C-7", "--by", "reviewer Lin") == f"held {number}\n"
    assert purge() == {"rows": {}, "held": 1}
    told = run("release", number, "--by", "reviewer Lin", "--second", "reviewer Shi", "--json")
    assert (json.loads(told)["number"], json.loads(told)["state"]) == (number, "released")
    assert purge() == due
    assert purge() == {"rows": {}, "held": 0}
