"""The tampering lab: ten altered bundles, each caught by its check."""

import json

import pytest
from typer.testing import CliRunner

from cli import ceremony
from core.errors import Rejected
from hsm_sim.ceremony import lab, verifier
from tests.ceremony_bench import City
from tests.verifier_cases import CEREMONY, lay_out


@pytest.fixture
def honest(tmp_path):
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    return lay_out(tmp_path / "bundle", CEREMONY["bundle"]), trust


def test_ten_alterations_are_caught_each_by_its_check(honest, tmp_path):
    bundle, trust = honest
    said = CliRunner().invoke(
        ceremony.app,
        ["lab", str(bundle), "--trust", str(trust), "--out", str(tmp_path / "lab"), "--json"],
    )
    assert said.exit_code == 0
    trials = json.loads(said.stdout)["trials"]
    assert len(trials) == 10
    assert all(set(one["must_fire"]) <= set(one["fired"]) for one in trials)
    assert verifier.verify(bundle, CEREMONY["trust"]).findings == []
    text = CliRunner().invoke(
        ceremony.app, ["lab", str(bundle), "--trust", str(trust), "--out", str(tmp_path / "again")]
    )
    assert text.stdout.count("caught") == 10


def test_the_lab_needs_a_good_bundle_and_an_empty_folder(honest, tmp_path):
    bundle, _ = honest
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(Rejected, match="AUDIT-TARGET"):
        list(lab.run_lab(bundle, CEREMONY["trust"], tmp_path / "full"))
    (bundle / "keys.json").unlink()
    with pytest.raises(Rejected, match="LAB-BUNDLE"):
        list(lab.run_lab(bundle, CEREMONY["trust"], tmp_path / "lab"))


def test_without_uses_of_keys_eight_are_left(tmp_path):
    city = City(tmp_path / "hsm")
    city.hold_all()
    trust = city.export(tmp_path / "bundle")
    city.hsm.close()
    trials = list(lab.run_lab(tmp_path / "bundle", trust, tmp_path / "lab"))
    assert len(trials) == 8
    assert all(trial.caught for trial in trials)


def test_a_miss_would_be_told(honest, tmp_path, monkeypatch):
    harmless = lab.Alteration(
        "11-nothing", "nothing", "无", frozenset({"LOG-SEQ"}), lambda folder: None
    )
    monkeypatch.setattr(lab, "ALTERATIONS", (harmless,))
    said = CliRunner().invoke(
        ceremony.app,
        ["lab", str(honest[0]), "--trust", str(honest[1]), "--out", str(tmp_path / "lab")],
    )
    assert said.exit_code == 1
    assert said.stdout.startswith("MISSED")
