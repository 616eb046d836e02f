"""Backup and restore: whole, checked, never over anything, and an older one is noticed by who saw more (R-42)."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.hsm import app
from core.errors import CityError
from hsm_sim import backup
from hsm_sim.ceremony import verifier
from hsm_sim.device import Hsm
from tests.ceremony_bench import City, reopen, scripts


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    """After its first ceremony, not serving."""
    made = City(tmp_path / "hsm")
    made.run(scripts()[0]).run()
    made.hsm.close()
    yield made
    made.hsm.log.close()


def test_a_backup_serves_like_the_original(city: City, tmp_path: Path) -> None:
    kept = backup.copy_hsm(city.home, tmp_path / "kept", city.clock)
    assert kept.hsm == city.hsm.log.name
    shown = CliRunner().invoke(
        app, ["restore", "--home", str(tmp_path / "again"), "--backup", str(tmp_path / "kept"), "--json"]
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert (told["hsm"], told["lines"], told["root"]) == (kept.hsm, kept.lines, kept.root)
    hsm = reopen(tmp_path / "again", city.clock)
    assert hsm.unlocked
    assert [row["kcv"] for row in hsm.directory()] == [hsm.lmk_check_value]
    hsm.close()


def test_an_older_backup_is_noticed_by_who_saw_more(city: City, tmp_path: Path) -> None:
    backup.copy_hsm(city.home, tmp_path / "old", city.clock)
    city.hsm = reopen(city.home, city.clock)
    trust = city.export(tmp_path / "first")
    trust["last_seen"] = {"size": city.hsm.log.signed[0], "root": city.hsm.log.signed[1].hex()}
    city.hsm.close()
    shutil.rmtree(city.home)
    backup.copy_hsm(tmp_path / "old", city.home, city.clock)
    city.hsm = reopen(city.home, city.clock)
    city.export(tmp_path / "second")
    city.hsm.close()
    found = verifier.verify(tmp_path / "second", trust)
    codes = {finding["code"] for finding in found.findings}
    assert codes & {"CHK-ROLLBACK", "CHK-FORK"}, codes


def test_nothing_is_written_over_and_nothing_is_left_half(
    city: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, source = city.clock, city.home
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "hsm", "there"]


def test_a_serving_hsm_is_not_copied(city: City, tmp_path: Path) -> None:
    hsm = Hsm.open(city.home, city.clock)
    try:
        with pytest.raises(CityError, match="HSM-F3"):
            backup.copy_hsm(city.home, tmp_path / "copy", city.clock)
    finally:
        hsm.close()
