"""Backup and restore: whole, checked, never over anything, and an older one is noticed by who saw more (R-42)."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.hsm import app
from core.clock import FixedClock
from core.errors import CityError
from hsm_sim import backup
from hsm_sim import generic_requests as generic
from hsm_sim.ceremony import verifier
from hsm_sim.device import Hsm
from hsm_sim.engine import Engine
from hsm_sim.local import LocalHsm
from tests.hsm_bench import HsmCity, hold

START = datetime(2026, 11, 27, 8, tzinfo=UTC)
NONCE = "6e" * 16


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> HsmCity:
    made = hold(tmp_path_factory.mktemp("city"), FixedClock(START))
    made.hsm.close()
    return made


def test_a_backup_serves_like_the_original(city: HsmCity, tmp_path: Path) -> None:
    kept = backup.copy_hsm(city.city.home, tmp_path / "kept", FixedClock(START))
    assert kept.hsm == city.hsm.log.name
    shown = CliRunner().invoke(
        app, ["restore", "--home", str(tmp_path / "hsm"), "--backup", str(tmp_path / "kept"), "--json"]
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert (told["hsm"], told["lines"], told["root"]) == (kept.hsm, kept.lines, kept.root)
    hsm = Hsm.open(tmp_path / "hsm", FixedClock(START + timedelta(minutes=5)))
    hsm.unlock(city.city.unlock_secrets)
    key = city.slots["purse-dlk-01"]
    assert len(LocalHsm(Engine(hsm)).call(generic.CheckValue(key))) == 3
    hsm.close()


def test_an_older_backup_is_noticed_by_who_saw_more(city: HsmCity, tmp_path: Path) -> None:
    clock = FixedClock(START + timedelta(hours=1))
    home = tmp_path / "hsm"
    backup.copy_hsm(city.city.home, home, clock)
    backup.copy_hsm(home, tmp_path / "old", clock)
    hsm = Hsm.open(home, clock)
    hsm.unlock(city.city.unlock_secrets)
    hsm.export_audit(NONCE)
    size, root = hsm.log.signed
    hsm.close()
    shutil.rmtree(home)
    backup.copy_hsm(tmp_path / "old", home, clock)
    hsm = Hsm.open(home, clock)
    hsm.unlock(city.city.unlock_secrets)
    city.city.hsm, before = hsm, city.city.hsm
    try:
        bundle = city.city.audit(tmp_path / "bundle", NONCE)
    finally:
        city.city.hsm = before
    trust = json.loads((city.city.home.parent / "audit" / "trust.json").read_text("utf-8"))
    trust["last_seen"] = {"size": size, "root": root.hex()}
    found = verifier.verify(bundle, trust)
    hsm.close()
    codes = {finding["code"] for finding in found.findings}
    assert codes & {"CHK-ROLLBACK", "CHK-FORK"}, codes


def test_nothing_is_written_over_and_nothing_is_left_half(
    city: HsmCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, source = FixedClock(START), city.city.home
    (tmp_path / "there").mkdir()
    with pytest.raises(CityError, match="HSM-HOME"):
        backup.copy_hsm(source, tmp_path / "there", clock)
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    lines = (broken / "log.jsonl").read_bytes().splitlines(keepends=True)
    (broken / "log.jsonl").write_bytes(b"".join(lines[:-2]))
    with pytest.raises(CityError, match="LOG-ROLLBACK"):
        backup.copy_hsm(broken, tmp_path / "copy", clock)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.shutil, "copytree", full)
    with pytest.raises(CityError, match="HSM-HOME"):
        backup.copy_hsm(source, tmp_path / "copy", clock)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "there"]


def test_a_serving_hsm_is_not_copied(city: HsmCity, tmp_path: Path) -> None:
    clock, home = FixedClock(START + timedelta(hours=2)), tmp_path / "hsm"
    backup.copy_hsm(city.city.home, home, clock)
    hsm = Hsm.open(home, clock)
    try:
        with pytest.raises(CityError, match="HSM-F3"):
            backup.copy_hsm(home, tmp_path / "copy", clock)
    finally:
        hsm.close()
