"""``citycard access``: a token is shown once and opens the API until it is taken back."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import access
from core.clock import business_date
from registry.points import sign_in
from registry.roles import Role
from runtime.services import build
from runtime.settings import Settings


def run(data: Path, *words: str) -> dict:
    done = CliRunner().invoke(access.app, [*words, "--data", str(data), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_grant_opens_until_it_is_taken_back(tmp_path: Path) -> None:
    services = build(Settings(data=tmp_path))
    day = str(business_date(services.clock.now()))
    given = run(
        tmp_path, "grant", "reviewer Lin", "--role", "reviewer", "--until", day, "--by", "admin"
    )
    with services.db.read() as tx:
        there = sign_in.sign_in(tx, services.clock, given["token"])
    assert there.actor.roles == {Role.REVIEWER}
    (listed,) = run(tmp_path, "list")["grants"]
    assert (listed["person"], listed["last_day"]) == ("reviewer Lin", day)
    assert given["token"] not in json.dumps(listed)
    assert run(tmp_path, "revoke", "reviewer Lin", "--by", "admin")["ended"] == 1
    assert run(tmp_path, "list")["grants"] == []
    with services.db.read() as tx, pytest.raises(sign_in.NotSignedIn, match="E-SIGN-IN"):
        sign_in.sign_in(tx, services.clock, given["token"])
    services.close()


def test_an_unknown_role_is_a_usage_error(tmp_path: Path) -> None:
    words = ["grant", "x", "--role", "king", "--until", "2027-01-01", "--by", "admin"]
    done = CliRunner().invoke(access.app, [*words, "--data", str(tmp_path)])
    assert done.exit_code == 2
