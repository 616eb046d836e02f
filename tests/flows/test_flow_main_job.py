"""The main job from beginning to end, with readers in process: what `citycard demo` promises."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import Rejected, Unavailable
from runtime.demo.city import Options
from runtime.demo.run import run_demo
from runtime.demo.summary import broken, people_text

ROOT = Path(__file__).parents[2]
SHOWN = (
    "schema",
    "reader",
    "applications",
    "cards",
    "stock",
    "purse",
    "iso8583",
    "tear",
    "dormancy",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_demo(Options(tmp_path_factory.mktemp("city") / "run", cards=3, reader="direct"))


def test_every_equation_holds(report: dict) -> None:
    assert report["broken"] == []
    assert set(SHOWN) <= set(report)
    assert report["reader"] == "direct"


def test_the_report_on_disk_is_the_report(report: dict) -> None:
    assert json.loads((Path(report["out"]) / "summary.json").read_text("utf-8")) == report


def test_the_faces_are_pictures_of_different_people(report: dict) -> None:
    fronts = {Path(card["front_png"]).read_bytes() for card in report["cards"]}
    assert len(fronts) == len(report["cards"]) == 3
    assert all(face.startswith(b"\x89PNG") for face in fronts)


def test_nothing_of_the_hsm_is_readable_by_others(report: dict) -> None:
    home = Path(report["out"]) / "hsm"
    assert all(path.stat().st_mode & 0o077 == 0 for path in home.iterdir() if path.is_file())


def test_the_event_log_is_under_seal(report: dict) -> None:
    assert report["day"]["events_sealed"] > 100
    command = [sys.executable, "-m", "cli.main", "audit", "verify", "--data", report["out"]]
    done = subprocess.run(
        [*command, "--vkey", report["day"]["seal_key"], "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_people_read_the_same_figures_in_both_languages(report: dict) -> None:
    for lang in ("en", "zh"):
        text = people_text(report, lang)
        assert str(report["stock"]["opening"]) in text
        assert report["ceremony"]["bundle"] in text


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("stock", "remaining", 99),
        ("purse", "float_fen", 1),
        ("purse", "difference_fen", 1),
        ("clearing", "tac_bad", 1),
        ("clearing", "differences", 1),
        ("tear", "recovered", 0),
        ("dormancy", "load_refused_code", "00"),
        ("ceremony", "verdict", "fail"),
        ("day", "verdict", "fail"),
    ],
)
def test_a_broken_equation_is_named(report: dict, section: str, name: str, value: object) -> None:
    changed = {**report, section: {**report[section], name: value}}
    assert broken(changed) != []


def test_only_a_folder_of_an_earlier_run_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Rejected, match="RUN-FOLDER"):
        run_demo(Options(tmp_path, cards=3, reader="direct"))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    from fcntl import LOCK_EX, flock

    from runtime.demo.run import LOCK_FILE

    with (tmp_path / LOCK_FILE).open("w") as other:
        flock(other, LOCK_EX)
        with pytest.raises(Unavailable, match="RUN-TWICE"):
            run_demo(Options(tmp_path, cards=3, reader="direct"))


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"


@pytest.mark.slow
@pytest.mark.parametrize("after", ["hsm.log", "S1.jsonl", "terminals"])
def test_a_killed_run_leaves_nothing_that_disturbs_the_next(tmp_path: Path, after: str) -> None:
    """SIGKILL when a certain file has appeared; its children end by themselves, and the next run works."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "cli.main", "demo", "--cards", "3", "--reader", "auto"]
    first = subprocess.Popen(
        [*command, "--out", str(out)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while first.poll() is None and not (out.exists() and any(out.rglob(after))):
        try:
            first.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    assert first.returncode is None, "the run ended before it could be killed"
    children = _children(first.pid)
    assert children
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run(
        [*command, "--out", str(out), "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert second.returncode == 0, second.stderr[-2000:]
    assert json.loads(second.stdout)["broken"] == []
    assert [pid for pid in children if not _gone(pid)] == []
