"""Seals over the event log: what was sealed cannot change unseen, and no crash loses a seal."""

import json
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from cli import audit
from core import events, merkle
from core.clock import FixedClock
from core.errors import CityError, EvidenceMismatch, NotFound, Unavailable
from hsm_sim import note
from runtime import event_seals
from runtime.event_seals import EventSealer
from runtime.services import Services, build
from runtime.settings import Settings
from tests.hsm_bench import hold

START = datetime(2026, 11, 27, 8, tzinfo=UTC)
CLOCK = FixedClock(START)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """An HSM and what its seal key is called; each test takes a log of its own only once."""
    made = hold(tmp_path_factory.mktemp("seals"), CLOCK)
    vkey = next(entry["vkey"] for entry in made.hsm.directory() if entry["usage"] == "S0")
    yield made, vkey
    made.hsm.close()


@pytest.fixture
def hsm(keys, monkeypatch):
    """The HSM as if it had sealed nothing yet."""
    made, _ = keys
    monkeypatch.setattr(made.hsm.seals, "_logs", {})
    return made.local


@pytest.fixture
def services(tmp_path):
    made = build(Settings(data=tmp_path / "data"), CLOCK)
    yield made
    made.close()


def happen(services: Services, count: int) -> None:
    with services.db.write() as tx:
        for number in range(count):
            events.append(
                tx,
                CLOCK,
                "card.personalized",
                f"card {number}",
                card_serial=str(number),
                station="一号",
            )


def verdict(services, vkey):
    with services.db.read() as tx:
        return event_seals.verify(tx, vkey)


def codes(services, vkey):
    return {one.code for one in verdict(services, vkey).findings}


def spoil(services, statement: str) -> None:
    with services.db.write() as tx:
        tx.execute(text(statement))


def test_seals_grow_with_the_log_and_hold(services, hsm, keys):
    sealer = EventSealer(services.db, hsm, CLOCK)
    assert sealer.run_once() == 0
    for more, size in ((3, 3), (1, 4), (0, 4), (5, 9)):
        happen(services, more)
        assert sealer.run_once() == size
    happen(services, 2)
    said = verdict(services, keys[1])
    assert (said.events, said.seals, said.unsealed, said.findings) == (11, 3, 2, ())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET data = replace(data, '2', '7') WHERE seq = 3",
        "UPDATE event SET subject = 'another card' WHERE seq = 1",
        "UPDATE event SET at = '2026-11-28 08:00:00' WHERE seq = 2",
        "UPDATE event SET actor = 'nobody' WHERE seq = 4",
        "DELETE FROM event WHERE seq = 2",
        "DELETE FROM event WHERE seq = 6",
        "UPDATE event_seal SET root = replace(root, 'a', 'b') WHERE size = 4",
        "UPDATE event_seal SET note = replace(note, 'a', 'b') WHERE size = 6",
    ],
)
def test_a_change_behind_a_seal_is_found(services, hsm, keys, statement):
    sealer = EventSealer(services.db, hsm, CLOCK)
    happen(services, 4)
    sealer.run_once()
    happen(services, 2)
    sealer.run_once()
    spoil(services, statement)
    assert codes(services, keys[1])


def test_changed_events_are_never_sealed_again(services, hsm):
    sealer = EventSealer(services.db, hsm, CLOCK)
    happen(services, 4)
    sealer.run_once()
    spoil(services, "UPDATE event SET subject = 'another' WHERE seq = 2")
    happen(services, 1)
    with pytest.raises(EvidenceMismatch, match="SEAL-ROOT"):
        sealer.run_once()


def test_a_database_restored_from_an_old_copy_is_refused_by_the_hsm(services, hsm):
    sealer = EventSealer(services.db, hsm, CLOCK)
    happen(services, 4)
    sealer.run_once()
    spoil(services, "DELETE FROM event WHERE seq > 2")
    spoil(services, "DELETE FROM event_seal")
    happen(services, 9)
    with pytest.raises(EvidenceMismatch, match="HSM-01"):
        sealer.run_once()


class Dying:
    """An HSM whose answer is lost: after it signed, or before."""

    def __init__(self, hsm, after: bool) -> None:
        self._hsm, self._after = hsm, after

    def call(self, request):
        if self._after:
            self._hsm.call(request)
        raise Unavailable("HSM-GONE", "the line broke")


@pytest.mark.parametrize("after", [False, True])
def test_a_lost_answer_loses_no_seal(services, hsm, keys, after):
    happen(services, 3)
    EventSealer(services.db, hsm, CLOCK).run_once()
    happen(services, 2)
    with pytest.raises(Unavailable):
        EventSealer(services.db, Dying(hsm, after), CLOCK).run_once()
    assert codes(services, keys[1]) == {"SEAL-SIG"}
    happen(services, 4)
    assert EventSealer(services.db, hsm, CLOCK).run_once() == 9
    said = verdict(services, keys[1])
    assert (said.seals, said.unsealed, said.findings) == (3, 0, ())


class Away:
    """An HSM that is away for the first calls; then the run is told to stop."""

    def __init__(self, hsm, stop: threading.Event, calls: int) -> None:
        self._hsm, self._stop, self._calls = hsm, stop, calls

    def call(self, request):
        self._calls -= 1
        if self._calls == 0:
            self._stop.set()
        if self._calls >= 0:
            raise Unavailable("HSM-GONE", "the line broke")
        return self._hsm.call(request)


def test_sealing_goes_on_when_the_hsm_is_back(services, hsm, keys):
    happen(services, 3)
    stop = threading.Event()
    EventSealer(services.db, Away(hsm, stop, 3), CLOCK).keep_sealing(stop, 0)
    said = verdict(services, keys[1])
    assert (said.unsealed, said.findings) == (0, ())


def test_one_event_is_proved_to_be_in_its_seal(services, hsm, keys):
    sealer = EventSealer(services.db, hsm, CLOCK)
    happen(services, 5)
    sealer.run_once()
    happen(services, 6)
    sealer.run_once()
    happen(services, 1)
    for seq in range(1, 12):
        with services.db.read() as tx:
            proof = event_seals.prove(tx, seq)
        assert proof.size == (5 if seq <= 5 else 11)
        point = note.parse_checkpoint(note.verify(proof.note, [keys[1]]))
        leaf = merkle.leaf_hash(proof.text.encode())
        path = [bytes.fromhex(step) for step in proof.path]
        assert merkle.verify_inclusion(leaf, proof.index, point.size, path, point.root)
    for unknown in (12, 99):
        with services.db.read() as tx, pytest.raises(NotFound, match="SEAL-NONE"):
            event_seals.prove(tx, unknown)


def call(*arguments):
    return CliRunner().invoke(audit.app, [str(one) for one in arguments])


def test_the_commands(services, hsm, keys, tmp_path):
    data, vkey = tmp_path / "data", keys[1]
    (tmp_path / "seal.vkey").write_text(vkey + "\n")
    nothing = call("verify", "--data", data, "--vkey", vkey)
    assert nothing.exit_code == 1
    assert "nothing is proved" in nothing.stdout
    happen(services, 6)
    EventSealer(services.db, hsm, CLOCK).run_once()
    good = call("verify", "--data", data, "--vkey", tmp_path / "seal.vkey", "--json")
    assert good.exit_code == 0
    assert json.loads(good.stdout)["verdict"] == "pass"
    shown = call("prove", "3", "--data", data)
    assert "number 2 in the seal of 6" in shown.stdout
    out = tmp_path / "out"
    assert json.loads(call("export", "--data", data, "--out", out, "--json").stdout)["events"] == 6
    lines = (out / "events.jsonl").read_bytes().splitlines()
    point = note.parse_checkpoint(note.split((out / "seals" / "000000006.txt").read_text())[0])
    assert merkle.root([merkle.leaf_hash(line) for line in lines]) == point.root
    again = call("export", "--data", data, "--out", out)
    assert isinstance(again.exception, CityError)
    spoil(services, "UPDATE event SET subject = 'x' WHERE seq = 1")
    bad = call("verify", "--data", data, "--vkey", vkey)
    assert bad.exit_code == 1
    assert "FINDING SEAL-ROOT" in bad.stdout


def test_two_auditors_with_one_seed_draw_the_same_cards(services, tmp_path):
    happen(services, 30)
    one = call("sample", "--seed", 20261123, "--count", 5, "--data", tmp_path / "data")
    two = call("sample", "--seed", 20261123, "--count", 5, "--data", tmp_path / "data")
    other = call("sample", "--seed", 7, "--count", 5, "--data", tmp_path / "data", "--json")
    assert one.stdout == two.stdout
    assert len(one.stdout.splitlines()) == 5
    drawn = json.loads(other.stdout)
    assert (drawn["of"], len(drawn["events"])) == (30, 5)
