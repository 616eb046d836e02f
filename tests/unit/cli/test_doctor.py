"""``citycard doctor``: what is there, what is missing, how to mend it."""

import json

import pytest

from cli import doctor
from runtime import health
from runtime.health import Check


def run(capsys: pytest.CaptureFixture[str], as_json: bool) -> tuple[int, str]:
    return doctor.doctor(as_json), capsys.readouterr().out


def test_it_looks_at_everything_that_the_city_needs(capsys: pytest.CaptureFixture[str]) -> None:
    _code, out = run(capsys, as_json=True)
    answer = json.loads(out)
    names = {check["name"] for check in answer["checks"]}
    assert {"Python", "SQLite", "Chinese fonts", "pcscd", "PostgreSQL", "Chromium"} <= names
    assert all(check["fix"] for check in answer["checks"])


@pytest.mark.parametrize(("needed", "code"), [(True, 1), (False, 0)])
def test_only_what_is_needed_makes_it_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, needed: bool, code: int
) -> None:
    missing = Check("a thing", ok=False, found="none", fix="apt-get install a-thing", needed=needed)
    monkeypatch.setattr(health, "checks", lambda: [missing])
    found, out = run(capsys, as_json=False)
    assert found == code
    assert "apt-get install a-thing" in out
