"""The verdict for people: text and PDF in two languages, and ``citycard ceremony verify``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import ceremony
from core.errors import NotFound, Rejected
from hsm_sim.ceremony import report, verifier
from hsm_sim.ceremony.envelope import check_value
from hsm_sim.notice import NOTICES, banner
from tests.verifier_cases import CEREMONY, lay_out

NEEDS_FONT = pytest.mark.skipif(
    not any((Path(folder) / report.FONT).is_file() for folder in report.FONT_FOLDERS),
    reason="needs the font package fonts-noto-cjk",
)


@pytest.fixture
def honest(tmp_path):
    bundle = lay_out(tmp_path / "bundle", CEREMONY["bundle"])
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    return bundle, trust


def run(*arguments):
    return CliRunner().invoke(ceremony.app, ["verify", *map(str, arguments)])


def test_the_command_answers_as_the_lone_file_does(honest, capsys):
    bundle, trust = honest
    said = run(bundle, "--trust", trust, "--json")
    assert said.exit_code == 0
    assert verifier.main(["verify", str(bundle), "--trust", str(trust), "--json"]) == 0
    assert json.loads(said.stdout) == json.loads(capsys.readouterr().out)


def test_findings_are_exit_status_one_and_all_are_told(honest):
    bundle, trust = honest
    (bundle / "keys.json").unlink()
    said = run(bundle, "--trust", trust)
    assert said.exit_code == 1
    assert "INVALID" in said.stdout.splitlines()[0]
    assert "FINDING BND-KEYS" in said.stdout
    assert "FINDING KEY-LOST" in said.stdout


def test_an_unusable_trust_file_is_exit_status_two(honest):
    bundle, trust = honest
    trust.write_text("[]")
    assert run(bundle, "--trust", trust).exit_code == 2


def test_remember_writes_what_was_seen(honest):
    bundle, trust = honest
    assert run(bundle, "--trust", trust, "--remember").exit_code == 0
    assert json.loads(trust.read_text())["last_seen"]["size"] == 21


def test_the_bilingual_text_says_what_a_simulator_must_and_what_is_not_proved(honest):
    said = run(honest[0], "--trust", honest[1], "--bilingual").stdout
    assert "VALID 有效" in said
    assert "未能证明" in said


@NEEDS_FONT
def test_the_paper_has_the_same_bytes_for_two_auditors(honest, tmp_path):
    bundle, trust = honest
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    for target in (first, second):
        assert run(bundle, "--trust", trust, "--pdf", target).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"%PDF-")
    (bundle / "keys.json").unlink()
    assert run(bundle, "--trust", trust, "--pdf", second).exit_code == 1
    assert first.read_bytes() != second.read_bytes()


def test_without_the_font_the_paper_is_refused_with_a_name(honest, monkeypatch):
    monkeypatch.setattr(report, "FONT_FOLDERS", ("/nowhere",))
    with pytest.raises(NotFound, match="CER-FONT"):
        report.pdf(verifier.verify(honest[0], CEREMONY["trust"]))


def test_the_notice_has_seven_points_in_both_languages():
    assert len(NOTICES) == 7
    assert all(english and chinese for english, chinese in NOTICES)
    assert banner().count("\n") >= 7


def test_a_custodian_can_check_the_envelope_alone():
    runner = CliRunner()
    said = runner.invoke(ceremony.app, ["kcv"], input="404142434445464748494A4B4C4D4E4F\n")
    assert said.stdout == "8BAF47\n"
    assert "4041" not in said.output
    for alg, part in CEREMONY["component_keys"].items():
        for value in part if isinstance(part, list) else []:
            kind = "A3" if alg == "lmk-1" else "T2"
            assert len(check_value(kind, value)) == 6


@pytest.mark.parametrize("text", ["", "zz", "00" * 16, "11" * 15])
def test_what_is_no_component_has_no_check_value(text):
    with pytest.raises(Rejected, match="CER-COMPONENT"):
        check_value("T2", text)
