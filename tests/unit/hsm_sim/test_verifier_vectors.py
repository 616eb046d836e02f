"""The verifier against the shared vectors: the honest bundle, 24 cases, hostile signatures."""

import ast
import json
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import merkle
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.report import RULES_ZH, bilingual
from tests.verifier_cases import (
    A_KEY,
    BASE64_THAT_IS_NONE,
    CEREMONY,
    ED25519,
    FILE,
    KEYS_THAT_ARE_NONE,
    POINTS_THAT_ARE_NONE,
    VECTORS,
    alone,
    lay_out,
    patched,
)


def group(name):
    return [pytest.param(t["in"], t["out"], id=t["id"]) for t in VECTORS["groups"][name]["tests"]]


@pytest.fixture
def honest(tmp_path):
    return lay_out(tmp_path / "bundle", CEREMONY["bundle"])


def test_the_honest_bundle_passes_with_no_finding_and_no_warning(honest):
    verdict = verifier.verify(honest, CEREMONY["trust"])
    assert (verdict.verdict, verdict.findings, verdict.warnings) == ("pass", [], [])
    numbers = {name: verdict.summary[name] for name in ("lines", "ceremonies", "keys", "uses")}
    assert numbers == {"lines": 21, "ceremonies": 2, "keys": 3, "uses": 11}
    assert verdict.summary["root"] == CEREMONY["inclusion_proofs"][0]["root"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CEREMONY["cases"]])
def test_shared_case(tmp_path, case):
    bundle = lay_out(tmp_path / "bundle", patched(case["patch"]))
    verdict = verifier.verify(bundle, {**CEREMONY["trust"], **case["trust"]})
    codes = {entry["code"] for entry in verdict.findings}
    assert set(case["expect"]) <= codes
    assert bool(codes) is bool(case["expect"])


@pytest.mark.parametrize(
    "proof", CEREMONY["inclusion_proofs"], ids=lambda proof: str(proof["index"])
)
def test_inclusion_proofs_of_the_bundle(proof):
    lines = [line.encode() for line in CEREMONY["bundle"]["log"]]
    leaves = [merkle.leaf_hash(line) for line in lines]
    assert [step.hex() for step in merkle.inclusion_proof(leaves, proof["index"])] == proof["proof"]
    assert verifier.leaf_hash(lines[proof["index"]]) == proof["leaf_hash"]
    assert verifier.tree_root([leaf.hex() for leaf in leaves]) == proof["root"]


@pytest.mark.parametrize("text", POINTS_THAT_ARE_NONE, ids=bytes.hex)
def test_a_point_has_one_spelling(text):
    """RFC 8032 5.1.3: y below p, on the curve, no sign for x = 0."""
    assert verifier.point_decode(text) is None


@pytest.mark.parametrize("text", BASE64_THAT_IS_NONE)
def test_base64_has_one_spelling(text):
    assert verifier.decode64(text) == b""


@pytest.mark.parametrize("text", KEYS_THAT_ARE_NONE)
def test_a_verifier_key_has_a_name_its_own_id_and_one_kind(text):
    assert verifier.parse_vkey(text) is None
    name, _, public = verifier.parse_vkey(A_KEY)
    assert (name, public) == ("hsm", ED25519[1:])


@pytest.mark.parametrize(("given", "out"), group("ed25519-verify"))
def test_hostile_signatures(given, out):
    data = (bytes.fromhex(given[name]) for name in ("public", "message", "signature"))
    assert verifier.signature_holds(*data) is out["valid"]


@pytest.mark.parametrize(("given", "out"), group("ed25519"))
def test_published_signatures(given, out):
    public, message = bytes.fromhex(given["public"]), bytes.fromhex(given["message"])
    assert verifier.signature_holds(public, message, bytes.fromhex(out["signature"]))


def test_own_ed25519_agrees_with_cryptography():
    for number in range(40):
        secret = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
        public = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        message = bytes([number]) * number
        signature = bytearray(secret.sign(message))
        assert verifier.signature_holds(public, message, bytes(signature))
        signature[number] ^= 1 << number % 8
        assert not verifier.signature_holds(public, message, bytes(signature))
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(public).verify(bytes(signature), message)


def test_a_key_that_is_no_point_signs_nothing():
    no_point = (2).to_bytes(32, "little")
    assert verifier.point_decode(no_point) is None
    assert not verifier.signature_holds(no_point, b"", bytes(64))


@pytest.mark.parametrize(("given", "out"), group("signed-note"))
def test_signed_notes(given, out):
    _, signers = verifier.read_note(given["note"].encode(), [given["vkey"]])
    assert (signers == [given["vkey"]]) is out["valid"]


@pytest.mark.parametrize(("given", "out"), group("pgp-words"))
def test_pgp_words(given, out):
    assert " ".join(verifier.pgp_words(bytes.fromhex(out["sha256"]))) == out["words"]


def test_the_word_lists_are_whole():
    for words in (verifier.PGP_WORDS[::2], verifier.PGP_WORDS[1::2]):
        assert len(words) == 256 == len(set(words))


@pytest.mark.parametrize(("given", "out"), group("canonical-json"))
def test_canonical_form(given, out):
    if "value" in given:
        assert verifier.canonical(given["value"]).hex() == out["utf8"]
    else:
        text = given["text"].encode()
        assert verifier.canonical(verifier.parse(text)) != text


@pytest.mark.parametrize(("given", "out"), group("merkle-root"))
def test_merkle_roots(given, out):
    assert (
        verifier.tree_root([verifier.leaf_hash(bytes.fromhex(leaf)) for leaf in given["leaves"]])
        == out["root"]
    )


def test_every_check_has_its_rule_in_both_languages():
    codes = [check.__name__.upper().replace("_", "-") for check in verifier.CHECKS]
    assert all(check.__doc__ for check in verifier.CHECKS)
    assert sorted(RULES_ZH) == sorted(codes)


def test_the_verifier_is_lonely():
    names = set()
    for node in ast.walk(ast.parse(FILE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_runs_alone_and_its_exit_status_is_the_answer(tmp_path, honest):
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(CEREMONY["trust"]))
    good = alone(tmp_path, "verify", str(honest), "--trust", str(trust))
    assert (good.returncode, good.stderr) == (0, "")
    assert "VALID" in good.stdout.splitlines()[0]
    assert "steamship insincere flagpole" in good.stdout
    (honest / "keys.json").unlink()
    bad = alone(tmp_path, "verify", str(honest), "--trust", str(trust), "--json")
    answer = json.loads(bad.stdout)
    assert bad.returncode == 1
    assert answer["verdict"] == "fail"
    assert {"code", "where", "expected", "found"} == set(answer["findings"][0])
    assert {"code", "examined"} == set(answer["checks"][0])


@pytest.mark.parametrize("trust", ["", "[]", "{}", '{"vkey":"x","genesis":"y","nonce":"z"}'])
def test_an_unusable_trust_file_is_a_usage_error(tmp_path, honest, trust, capsys):
    path = tmp_path / "trust.json"
    path.write_text(trust)
    assert verifier.main(["verify", str(honest), "--trust", str(path)]) == 2
    assert "cannot verify" in capsys.readouterr().err


def test_a_missing_bundle_is_a_usage_error(tmp_path, capsys):
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(CEREMONY["trust"]))
    assert verifier.main(["verify", str(tmp_path / "none"), "--trust", str(path)]) == 2
    assert capsys.readouterr().out == ""


def test_remember_keeps_what_was_seen_after_a_pass_only(tmp_path, honest, capsys):
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(CEREMONY["trust"]))
    assert verifier.main(["verify", str(honest), "--trust", str(path), "--remember"]) == 0
    seen = json.loads(path.read_text())["last_seen"]
    assert seen == {"size": 21, "root": CEREMONY["inclusion_proofs"][0]["root"]}
    (honest / "log.jsonl").write_bytes(b"")
    assert verifier.main(["verify", str(honest), "--trust", str(path), "--remember"]) == 1
    assert json.loads(path.read_text())["last_seen"] == seen
    assert "CHK-ROLLBACK" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["log.jsonl", "keys.json", "scripts", "checkpoints", "ops/1.jsonl"]
)
def test_a_missing_file_is_a_finding(honest, name):
    paths = (
        [honest / name, *(honest / name).glob("*")] if (honest / name).is_dir() else [honest / name]
    )
    for path in paths:
        if path.is_file():
            path.unlink()
    assert verifier.verify(honest, CEREMONY["trust"]).verdict == "fail"


def test_a_file_beyond_the_format_proves_nothing_and_hides_nothing(honest):
    (honest / "notes.txt").write_text("VALID")
    (honest / "LOG.JSONL").write_bytes((honest / "log.jsonl").read_bytes())
    assert verifier.verify(honest, CEREMONY["trust"]).verdict == "pass"
    (honest / "log.jsonl").unlink()
    assert verifier.verify(honest, CEREMONY["trust"]).verdict == "fail"


def test_a_time_stamp_beside_a_checkpoint_is_welcome_and_not_needed(honest):
    (honest / "checkpoints" / "001.tsr").write_bytes(b"\x30\x03\x02\x01\x00")
    verdict = verifier.verify(honest, CEREMONY["trust"])
    assert (verdict.findings, verdict.warnings) == ([], [])


def test_two_auditors_get_the_same_bilingual_bytes(honest):
    verdict = verifier.verify(honest, CEREMONY["trust"])
    text = bilingual(verdict)
    assert text == bilingual(verifier.verify(honest, CEREMONY["trust"]))
    assert "VALID 有效" in text
    assert "未能证明" in text
