"""docs/auditors.md is true: its commands run as they stand there, on a bundle of a real HSM."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ceremony_bench import City
from tests.verifier_cases import FILE

PAGE = Path(__file__).parents[3] / "docs" / "auditors.md"


@pytest.fixture
def auditors_desk(tmp_path):
    """What an auditor has: bundle, trust file, verifier."""
    city = City(tmp_path / "hsm")
    city.hold_all()
    city.work()
    trust = city.export(tmp_path / "desk" / "bundle")
    city.hsm.close()
    (tmp_path / "desk" / "trust.json").write_text(json.dumps(trust))
    shutil.copy(FILE, tmp_path / "desk" / "verifier.py")
    return tmp_path / "desk"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_every_command_of_the_auditors_page_works(auditors_desk):
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    said = subprocess.run(
        ["sh", "-eu", "-c", "\n".join(blocks)],
        cwd=auditors_desk,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("KEY CEREMONIES hsm-01.city.example  VALID")
    assert "Signature Verified Successfully" in said.stdout
    assert "FINDING CER-STEP" in said.stdout


def test_a_forged_signature_fails_openssl_too(auditors_desk):
    log = auditors_desk / "bundle" / "log.jsonl"
    text = log.read_text("utf-8")
    place = text.rindex('"role":"EA","sig":"') + len('"role":"EA","sig":"')
    log.write_text(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :], "utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    said = subprocess.run(
        ["sh", "-eu", "-c", "\n".join([blocks[2], *blocks[4:6]])],
        cwd=auditors_desk,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert said.returncode != 0
    assert "Signature Verification Failure" in said.stdout + said.stderr
