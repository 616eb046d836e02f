"""The HSM's log, its counters and its notes: what is written is there, and what is not written is not done."""

import errno
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import merkle
from core.clock import FixedClock
from core.faults import catalogue
from hsm_sim import canonical, note
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.script import POLICY
from hsm_sim.durable import LogUnavailable
from hsm_sim.log import MAX_LINE_BYTES, AuditLog, LogDamaged
from hsm_sim.usage import UsageMeter
from tests.ceremony_bench import START, City

FIRMWARE = "0001-SIM0"


def signing_key():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


VECTORS = json.loads((Path(__file__).parents[2] / "vectors/hsm-ceremony.json").read_text("utf-8"))[
    "groups"
]


def group(name):
    return [pytest.param(t["in"], t["out"], id=t["id"]) for t in VECTORS[name]["tests"]]


@pytest.fixture
def clock():
    return FixedClock(START)


@pytest.fixture
def log(tmp_path, clock):
    log = AuditLog.create(tmp_path, "hsm.example", signing_key(), clock, [], POLICY)
    yield log
    log.close()


# the canonical form and notes


@pytest.mark.parametrize(("given", "out"), group("canonical-json"))
def test_canonical_form(given, out):
    if "value" in given:
        text = canonical.encode(given["value"])
        assert text.hex() == out["utf8"]
        assert canonical.decode(text) == given["value"]
    else:
        with pytest.raises(canonical.NotCanonical):
            canonical.decode(given["text"].encode())


@pytest.mark.parametrize("value", [None, 1.5, [None], {"é": 1}, 2**53, "e\u0301", "\ud800", {1: 2}])
def test_values_without_a_canonical_form(value):
    with pytest.raises(canonical.NotCanonical):
        canonical.encode(value)
    assert not isinstance(value, dict) or 1 in value or verifier.canonical(value) == b""


@pytest.mark.parametrize(("given", "out"), group("signed-note"))
def test_signed_notes(given, out):
    if out["valid"]:
        assert note.verify(given["note"], [given["vkey"]]).startswith("If you think cryptography")
        name, public = note.parse_vkey(given["vkey"])
        assert note.key_id(name, public).hex() == out["key_id"]
    else:
        with pytest.raises(note.BadNote):
            note.verify(given["note"], [given["vkey"]])


@pytest.mark.parametrize(("given", "out"), group("ed25519"))
def test_signatures_are_those_published(given, out):
    key = note.NoteKey("a", Ed25519PrivateKey.from_private_bytes(bytes.fromhex(given["seed"])))
    message = bytes.fromhex(given["message"])
    assert key.public.hex() == given["public"]
    assert note.holds(key.vkey, message, key.signature(message))
    assert not note.holds(key.vkey, message + b"x", key.signature(message))


# the log


def test_a_new_log_begins_with_a_test_genesis(log):
    assert log.genesis["instance"] == "test"
    assert log.size == 1
    assert log.prev == merkle.leaf_hash(log.lines(0, 1)[0]).hex()
    with pytest.raises(LogDamaged, match="LOG-EXISTS"):
        AuditLog.create(log.home, "hsm.example", signing_key(), FixedClock(START), [], POLICY)


def test_lines_are_chained_and_time_never_runs_back(log, tmp_path, clock):
    log.append("config", {"sha256": "0" * 64})
    clock.advance(timedelta(seconds=5))
    log.append("limit", {"until": "x", "what": "y"})
    log._clock = FixedClock(START - timedelta(days=1))
    log.append("limit", {"until": "x", "what": "y"})
    stamps = [event["ts"] for event in log.events()]
    assert stamps == sorted(stamps)
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2, 3]
    assert json.loads(lines[2])["prev"] == verifier.leaf_hash(lines[1])


def test_only_one_process_holds_the_log(log, clock):
    with pytest.raises(LogUnavailable, match="HSM-F3"):
        AuditLog.open(log.home, clock)


def test_a_torn_last_line_was_never_answered_for(log, clock):
    log.append("config", {"sha256": "0" * 64})
    log.close()
    with (log.home / "log.jsonl").open("ab") as file:
        file.write(b'{"body":{"torn')
    again = AuditLog.open(log.home, clock, signing_key())
    again.append("config", {"sha256": "1" * 64})
    assert again.size == 3
    again.close()
    final = AuditLog.open(log.home, clock)
    assert final.size == 3
    final.close()


def test_an_edited_log_does_not_open(log, clock):
    log.append("config", {"sha256": "0" * 64})
    log.append("config", {"sha256": "1" * 64})
    log.close()
    path = log.home / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0" * 64, b"2" * 64, 2))
    with pytest.raises(LogDamaged, match="LOG-DAMAGED"):
        AuditLog.open(log.home, clock)


def test_an_older_log_beside_a_newer_head_is_noticed(log, clock):
    old = (log.home / "log.jsonl").read_bytes()
    log.append("config", {"sha256": "0" * 64})
    log.checkpoint()
    log.close()
    (log.home / "log.jsonl").write_bytes(old)
    with pytest.raises(LogDamaged, match="LOG-ROLLBACK"):
        AuditLog.open(log.home, clock, signing_key())


def test_log_and_head_restored_together_are_noticed_by_what_the_lmk_file_binds(log, clock):
    bound = []
    log.on_signed = lambda size, root: bound.append((size, root))
    old = (log.home / "log.jsonl").read_bytes()
    log.append("config", {"sha256": "0" * 64})
    log.checkpoint()
    log.close()
    (log.home / "log.jsonl").write_bytes(old)
    (log.home / "head.json").unlink()
    with pytest.raises(LogDamaged, match="LOG-ROLLBACK"):
        AuditLog.open(log.home, clock, signing_key(), bound[-1])


def test_the_key_of_another_hsm_does_not_unlock_the_log(log, clock):
    log.close()
    again = AuditLog.open(log.home, clock)
    with pytest.raises(LogUnavailable, match="HSM-F9"):
        again.checkpoint()
    with pytest.raises(LogDamaged, match="LOG-KEY"):
        again.unlock(Ed25519PrivateKey.generate())
    again.unlock(signing_key())
    assert again.checkpoint()
    again.close()


def test_a_checkpoint_is_signed_once_for_a_size(log):
    first = log.checkpoint()
    assert log.checkpoint() == first
    point = note.parse_checkpoint(note.verify(first, [log.vkey]))
    assert (point.origin, point.size, point.root) == ("hsm.example", 1, log.root())


def test_no_second_root_is_ever_signed(log):
    log.append("config", {"sha256": "0" * 64})
    log.checkpoint()
    log._leaves[1] = merkle.leaf_hash(b"another line")
    with pytest.raises(LogDamaged, match="LOG-ROLLBACK"):
        log.checkpoint()


def test_checkpoints_come_every_ten_minutes_when_there_is_news(log, clock):
    log.checkpoint()
    clock.advance(timedelta(minutes=11))
    assert log.checkpoint_if_due() is None
    log.append("config", {"sha256": "0" * 64})
    assert log.checkpoint_if_due() is not None
    log.append("config", {"sha256": "1" * 64})
    assert log.checkpoint_if_due() is None


def test_an_auditor_may_cosign_what_we_signed_and_nothing_else(log):
    auditor = note.NoteKey("auditor.example", Ed25519PrivateKey.generate())
    text = log.checkpoint()
    cosigned = text + auditor.line(note.split(text)[0])
    log.cosign(cosigned, [auditor.vkey])
    assert log.newest_checkpoint() == cosigned
    forged = note.Checkpoint("hsm.example", 1, bytes(32)).text()
    for bad in (text, auditor.sign(forged), log._key.sign(forged) + auditor.line(forged)):
        with pytest.raises(note.BadNote):
            log.cosign(bad, [auditor.vkey])
    with pytest.raises(note.BadNote):
        log.cosign(cosigned, [])


def test_proofs_hold_for_every_line_and_size(log):
    for number in range(8):
        log.append("limit", {"until": "x", "what": str(number)})
    for index in range(log.size):
        leaf = merkle.leaf_hash(log.lines(index, 1)[0])
        assert merkle.verify_inclusion(leaf, index, 9, log.inclusion(index, 9), log.root())
    for old in range(1, 9):
        assert merkle.verify_consistency(old, 9, log.root(old), log.root(), log.consistency(old, 9))


def test_what_cannot_be_written_is_not_in_the_log(log, monkeypatch):
    prev, size = log.prev, log.size
    real = os.write

    def half(file, data):
        real(file, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(LogUnavailable, match="HSM-F3"):
        log.append("config", {"sha256": "0" * 64})
    assert (log.prev, log.size) == (prev, size)
    monkeypatch.setattr(os, "write", real)
    log.append("config", {"sha256": "0" * 64})
    assert (log.home / "log.jsonl").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("trick", ["unlink", "replace"])
def test_a_log_that_was_taken_away_stops_all_work(log, trick):
    path = log.home / "log.jsonl"
    data = path.read_bytes()
    path.unlink()
    if trick == "replace":
        path.write_bytes(data)
    with pytest.raises(LogUnavailable, match="HSM-F3"):
        log.append("config", {"sha256": "0" * 64})


def test_a_line_has_a_limit(log):
    with pytest.raises(LogUnavailable):
        log.append("limit", {"until": "x", "what": "y" * MAX_LINE_BYTES})
    assert log.size == 1


# counting


@pytest.fixture
def meter(log, tmp_path, clock):
    meter = UsageMeter(log, tmp_path, clock, limit=10)
    log.record_start(FIRMWARE, meter.unaccounted)
    yield meter
    meter.close()


def used(log):
    return [event["body"] for event in log.events("use")]


def test_a_reserve_is_in_the_log_before_the_first_answer(log, meter):
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    assert log.read(log.size - 1)["body"] == {"interval": 1, "limit": 10}


def test_an_interval_ends_after_a_minute_with_counts_and_the_digest(log, meter, clock, tmp_path):
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    meter.count("dpk-01", "42", 0, 1, {"client": "purse", "rc": "01"})
    clock.advance(timedelta(seconds=61))
    meter.tick()
    body = used(log)[0]
    assert body["counts"] == [{"cmd": "42", "fail": 1, "kid": "dpk-01", "ok": 1}]
    data = (tmp_path / "ops/1.jsonl").read_bytes()
    assert body["ops_sha256"] == verifier.sha256(data)
    assert data.splitlines()[1] == b'{"client":"purse","cmd":"42","kid":"dpk-01","n":2,"rc":"01"}'


def test_an_interval_ends_at_its_limit_and_a_large_frame_gets_a_reserve_of_its_own(log, meter):
    for _ in range(11):
        meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    meter.count("dtk-01", "90", 60, 4, {"client": "clearing", "rc": "00"})
    meter.close_interval()
    assert [body["ops"] for body in used(log)] == [10, 1, 64]
    limits = [event["body"]["limit"] for event in log.events("use.reserve")]
    assert limits == [10, 10, 64]
    assert (meter.uses("dpk-01"), meter.uses("dtk-01")) == (11, 64)


def test_after_a_crash_the_loss_is_bounded_and_counting_goes_on(log, meter, clock, tmp_path):
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    meter.close_interval()
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    again = UsageMeter(log, tmp_path, clock, limit=10)
    assert again.unaccounted == 10
    assert again.uses("dpk-01") == 1
    log.record_start(FIRMWARE, again.unaccounted)
    again.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    again.close()
    assert [body["interval"] for body in used(log)] == [1, 3]
    os.close(meter._file)
    meter._file = -1


def test_a_full_disk_refuses_the_command_and_leaves_the_count_right(
    log, meter, monkeypatch, tmp_path
):
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    real = os.write

    def full(file, data):
        real(file, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LogUnavailable, match="HSM-F3"):
        meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    monkeypatch.setattr(os, "write", real)
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    meter.close_interval()
    assert used(log)[0]["ops"] == 2
    assert used(log)[0]["ops_sha256"] == verifier.sha256((tmp_path / "ops/1.jsonl").read_bytes())


def test_an_ops_file_that_was_taken_away_stops_work(log, meter, tmp_path):
    meter.count("dpk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    path = tmp_path / "ops/1.jsonl"
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(LogUnavailable, match="HSM-F3"):
        meter.close_interval()
    path.write_bytes(data)
    with pytest.raises(LogUnavailable, match="HSM-F3"):
        meter.close_interval()
    os.close(meter._file)
    meter._file = -1


def test_a_crash_shows_in_the_verdict_as_a_warning_with_its_bound(tmp_path):
    city = City(tmp_path / "hsm")
    city.hold_all()
    city.work()
    os.close(city.hsm.usage._file)
    city.restart()
    trust = city.export(tmp_path / "bundle")
    city.hsm.close()
    verdict = verifier.verify(tmp_path / "bundle", trust)
    assert verdict.findings == []
    assert [(e["code"], e["found"]) for e in verdict.warnings] == [
        ("USE-UNACC", "up to 10000 uses not counted")
    ]


def test_a_clean_stop_leaves_a_checkpoint_over_the_last_line(log):
    log.shutdown(FIRMWARE)
    assert note.parse_checkpoint(note.split(log.newest_checkpoint())[0]).size == log.size


def test_every_fault_of_log_and_ceremony_is_in_the_catalogue():
    codes = {
        "HSM-F2", "HSM-F3", "HSM-F9", "LOG-EXISTS", "LOG-DAMAGED", "LOG-ROLLBACK", "LOG-KEY", "LOG-COPY",
        "NOTE-FORM", "NOTE-SIG", "CANON", "CER-SCRIPT-FORM", "CER-OPEN-ALREADY", "CER-NONE-OPEN",
        "CER-NUMBER", "CER-NOT-NEXT", "CER-CUSTODIAN", "CER-COMPONENTS-LOST", "CER-LATE",
        "CER-ROSTER", "CER-ROLE", "CER-KEYFILE", "CER-NOT-CONFIRMED", "CER-COMPONENT",
        "CER-NO-ENVELOPE", "CER-FONT", "CER-FILE",
        "CER-SHARE", "CER-NO-HSM", "CER-NOT-SEEN", "CER-TERMINAL", "CER-ENTRY", "CER-MESSAGE",
        "CER-REHEARSAL", "LAB-BUNDLE", "AUDIT-NONCE", "AUDIT-TARGET", "SHARES",
    }  # fmt: skip
    assert codes <= set(catalogue())
