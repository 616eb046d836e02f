"""Bundles made to mislead or to break the verifier: it answers with findings or "unreadable", never with a bug."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsm_sim.ceremony import verifier
from tests.verifier_cases import CEREMONY, FILE, LINES_THAT_ARE_NONE, alone, lay_out


@pytest.fixture
def honest(tmp_path):
    return lay_out(tmp_path / "bundle", CEREMONY["bundle"])


def codes(bundle):
    return {entry["code"] for entry in verifier.verify(bundle, CEREMONY["trust"]).findings}


def first_line_changed(bundle, old, new):
    path = bundle / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize(("old", "new", "code"), LINES_THAT_ARE_NONE)
def test_lines_that_are_no_lines(honest, old, new, code):
    first_line_changed(honest, old, new)
    assert code in codes(honest)


def test_a_line_of_nulls_is_found(honest):
    (honest / "log.jsonl").write_bytes(b"null\n\x00\n")
    assert {"LOG-PARSE", "TRU-GENESIS", "CHK-SIZE"} <= codes(honest)


@pytest.mark.parametrize("keys", [b"", b"null", b"[1]", b"{}", b'[{"kid":1}]', b"[" * 100_000])
def test_directories_that_are_none(honest, keys):
    (honest / "keys.json").write_bytes(keys)
    assert {"BND-KEYS", "KEY-LOST"} <= codes(honest)


@pytest.mark.parametrize("script", [b"", b"null", b'{"cid":1,"kind":"init","plan":[1]}', b"\xff"])
def test_scripts_that_are_none(honest, script):
    next(iter((honest / "scripts").iterdir())).write_bytes(script)
    assert "CER-SCRIPT" in codes(honest)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"a\n\n\xff\n",
        b"a\n1\nx\n\n\xe2\x80\x94 a b c\n",
        b"a\n-1\n\n",
        b"\n" * 100_000,
    ],
)
def test_checkpoints_that_are_none(honest, note):
    (honest / "checkpoints" / "099.txt").write_bytes(note)
    assert "CHK-FORM" in codes(honest)


def test_what_a_bundle_says_does_not_move_the_auditors_cursor(tmp_path, honest):
    first_line_changed(honest, b'"type":"boot"', '"type":"\\u001b[2J\\nVALID \\u202e中"'.encode())
    (
        honest / "\u001b[2Jx\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    ).touch()
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    for form in ([], ["--json"]):
        said = alone(tmp_path, "verify", str(honest), "--trust", str(trust), *form)
        assert (said.returncode, said.stderr) == (1, "")
        assert "\x1b" not in said.stdout
        assert said.stdout.isascii()
        assert not any(line.startswith("VALID") for line in said.stdout.splitlines())


def test_a_bug_has_an_exit_status_of_its_own(tmp_path, honest):
    trust, program = tmp_path / "trust.json", tmp_path / "verifier.py"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    broken = FILE.read_text("utf-8").replace(
        "    return result._replace(", "    return 1 / 0 or (", 1
    )
    program.write_text(broken.replace("(verdict=", "dict(verdict=", 1), "utf-8")
    said = subprocess.run(
        [sys.executable, "-I", program, "verify", str(honest), "--trust", str(trust)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 70
    assert said.stderr == "bug in the verifier: ZeroDivisionError\n"
    assert said.stdout == ""


def test_links_and_devices_are_not_read(tmp_path, honest):
    (honest / "paper").mkdir()
    (honest / "paper" / "scan").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="plain files"):
        verifier.verify(honest, CEREMONY["trust"])


DEEP = 1500


@pytest.fixture
def bottomless(honest):
    """A bundle with folders in folders; taken apart again by hand, as no library removes such a tree."""
    here = Path.cwd()
    os.chdir(honest)
    for _ in range(DEEP):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)
    yield honest
    os.chdir(honest)
    for _ in range(DEEP):
        os.chdir("d")
    for _ in range(DEEP):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(here)


def test_folders_without_bottom_are_unreadable_and_not_a_bug(tmp_path, bottomless):
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    said = alone(tmp_path, "verify", str(bottomless), "--trust", str(trust))
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("cannot verify: ")
    assert len(said.stderr.splitlines()) == 1


def test_a_trust_file_that_cannot_be_kept_is_no_pass_for_a_program(tmp_path, honest, capsys):
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    (tmp_path / "trust.new").mkdir()
    assert verifier.main(["verify", str(honest), "--trust", str(trust), "--remember"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("KEY CEREMONIES example.org/hsm-01  VALID")
    assert said.err.startswith("cannot verify: ")


@pytest.mark.parametrize(("limit", "most"), [("MAX_FILES", 3), ("MAX_BUNDLE_BYTES", 1000)])
def test_there_is_a_limit_to_what_is_read(honest, monkeypatch, limit, most):
    monkeypatch.setattr(verifier, limit, most)
    with pytest.raises(ValueError, match="at most"):
        verifier.verify(honest, CEREMONY["trust"])


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": ""}, {"vkey": "x"}, {"genesis": "AB" * 32}, {"last_seen": {"size": -1, "root": "00" * 32}},
        {"last_seen": []}, {"vkey": None},
    ],
)  # fmt: skip
def test_trust_files_that_are_none(honest, change):
    with pytest.raises(ValueError, match="trust file"):
        verifier.verify(honest, {**CEREMONY["trust"], **change})


def test_a_signature_in_another_spelling_of_base64_does_not_count(honest):
    text = (honest / "log.jsonl").read_text("utf-8")
    place = text.index('"sig":"') + 7 + 85
    spelled = text[:place] + chr(ord(text[place]) + 1) + text[place + 1 :]
    (honest / "log.jsonl").write_text(spelled, "utf-8")
    assert "QUO-SIG" in codes(honest)


def test_the_verifier_can_be_read_on_a_few_sheets():
    lines = FILE.read_text("utf-8").splitlines()
    assert len(lines) < 700
    longest = max(len(line) for line in lines if not line.startswith("PGP_WORDS"))
    assert longest <= 116
