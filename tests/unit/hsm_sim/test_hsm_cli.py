"""`citycard hsm`: status, suspension, certificates, the development HSM and what it says of itself."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.hsm import app
from core.clock import SystemClock
from core.errors import CityError
from hsm_sim import dev
from hsm_sim import generic_requests as generic
from hsm_sim.ceremony import bundle, verifier
from hsm_sim.client import Role
from hsm_sim.device import Hsm
from hsm_sim.lmkfile import Argon2
from hsm_sim.tcp import TcpHsm, roles_of
from tests.hsm_bench import HsmCity, hold


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> HsmCity:
    bench = hold(tmp_path_factory.mktemp("cli"))
    bench.hsm.close()
    return bench


def run(*arguments: str, given: str = "") -> Any:
    return CliRunner().invoke(app, list(arguments), input=given, standalone_mode=False)


def secrets(made: HsmCity) -> str:
    return "".join(one.hex() + "\n" for one in made.city.unlock_secrets) + "\n"


def test_status_shows_keys_and_says_what_it_is(made: HsmCity) -> None:
    done = run("status", "--home", str(made.city.home), "--json")
    value = json.loads(done.stdout)
    assert (value["hsm"], value["firmware"]) == ("hsm-01.city.example", "0001-SIM0")
    assert {key["kid"] for key in value["keys"]} == set(made.slots)
    assert any("not FIPS 140" in line for line in value["notice"])
    plain = run("status", "--home", str(made.city.home))
    assert "purse-dlk-01" in plain.stdout


def test_a_key_is_suspended_at_once(made: HsmCity) -> None:
    home = str(made.city.home)
    wrong = run("suspend", "--home", home, "bank-zpk-01", "--reason", "x", given="00\n\n")
    assert isinstance(wrong.exception, CityError)
    done = run("suspend", "--home", home, "bank-zpk-01", "--reason", "lost", given=secrets(made))
    assert done.stdout == "bank-zpk-01 SUSPENDED\n"
    value = json.loads(run("status", "--home", home, "--json").stdout)
    assert {key["state"] for key in value["keys"] if key["kid"] == "bank-zpk-01"} == {"SUSPENDED"}
    again = run("suspend", "--home", home, "bank-zpk-01", "--reason", "lost", given=secrets(made))
    assert isinstance(again.exception, CityError)
    assert again.exception.code == "HSM-F1"


def test_certificates_are_entered_in_the_policy(made: HsmCity, tmp_path: Path) -> None:
    done = run(
        "certificates", "--home", str(made.city.home), "--folder", str(tmp_path / "c"), "--json"
    )
    rows = json.loads(done.stdout)["clients"]
    assert {row["role"] for row in rows} == {role.value for role in Role}
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in (tmp_path / "c").iterdir())
    hsm = Hsm.open(made.city.home, SystemClock())
    hsm.unlock(made.city.unlock_secrets)
    told = [event["body"]["sha256"] for event in hsm.log.events("config")]
    assert told[-1] == hsm.policy.digest
    hsm.close()


def test_a_development_hsm_says_so_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hsm_sim.device.Argon2", lambda: Argon2(64, 1, 1))
    home, certificates = tmp_path / "hsm", tmp_path / "certificates"
    told: list[str] = []
    dev.prepare(home, certificates, SystemClock(), told.append)
    command = [sys.executable, "-c", "from cli.hsm import app; app()", "serve", "--dev"]
    command += ["--home", str(home), "--certificates", str(certificates)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    with TcpHsm("127.0.0.1", ready["port"], roles_of(certificates, (Role.MONITOR,))) as hsm:
        check, firmware = hsm.call(generic.Diagnose())
    assert firmware == ready["firmware"] == "0001-DEV0"
    _, notes = process.communicate(timeout=30)
    assert process.returncode == 0
    assert dev.WARNING.encode() in notes
    assert b"development mode" in notes  # at the connection
    reopened = Hsm.open(home, SystemClock())
    reopened.unlock(dev.DEV_SECRETS)
    assert bytes.fromhex(reopened.lmk_check_value) == check[:3]
    bundle.export_bundle(
        reopened.log, reopened.usage, reopened.directory(), home, tmp_path / "bundle", "ab" * 16
    )
    verdict = verifier.verify(tmp_path / "bundle", bundle.trust_file(reopened.log, "ab" * 16))
    assert {finding["code"] for finding in verdict.findings} == {"DEV-MODE"}
    with caplog.at_level(logging.DEBUG):
        reopened.close()


def test_an_hsm_in_earnest_is_not_opened_for_developers(made: HsmCity) -> None:
    hsm = Hsm.open(made.city.home, SystemClock())
    with pytest.raises(CityError, match="HSM-UNLOCK"):
        dev.require_dev(hsm)
    hsm.close()
