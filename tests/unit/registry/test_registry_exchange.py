"""The exchange: catalogue, envelopes, order, retries, dead letters, reconciliation (residence.md 10)."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from core import events
from core.clock import FixedClock
from core.errors import EvidenceMismatch, NotAllowed, NotFound, Rejected, Unavailable
from registry.employment import incoming as work
from registry.exchange import catalogue, dead_letters, delivery, reconcile, replay, transport
from registry.exchange.messages import Envelope, Type
from registry.exchange.tables import DeadLetterRow, InboxRow, MessageRow, PostingRow, WaitingRow
from registry.rental import incoming as homes
from registry.residence import permits
from registry.residence.domain import Hold
from registry.roles import Actor, Role
from runtime import post
from tests.registry_bench import CLERK, City, city
from tests.registry_systems import Systems

PINNED = Path(__file__).parents[2] / "vectors" / "exchange-catalogue.json"
OFFICER = Actor.of("officer Bao", Role.DATA_OFFICER)
SECOND = Actor.of("officer Cui", Role.DATA_OFFICER)
NOON = datetime(2007, 5, 8, 4, tzinfo=UTC)


def message(**changes: object) -> Envelope:
    made = Envelope(
        "m-1", Type.EMPLOYMENT_STARTED, "employment", "w-1", 1, date(2007, 5, 1), NOON,
        {"record": "r-1", "employer": "e-1", "start": "2007-05-01"}, None, "1.1",
    )  # fmt: skip
    return replace(made, **changes)


# -- catalogue and envelope ---------------------------------------------------------------------------


def test_a_changed_interface_needs_a_new_version() -> None:
    """Add a line for the new version to the pinned file; never change an old one."""
    pinned = json.loads(PINNED.read_text("utf-8"))["versions"]
    for interface in catalogue.all_interfaces().values():
        assert pinned[interface.type][interface.version] == interface.digest, interface.type


def test_every_interface_has_an_owner_a_receiver_and_an_event() -> None:
    known = events.kinds()
    for interface in catalogue.all_interfaces().values():
        assert interface.owner
        assert interface.to
        assert interface.event in known
        assert set(interface.fields.values()) <= set(catalogue.KINDS)


def test_an_envelope_survives_the_way() -> None:
    assert Envelope.from_json(message().to_json()) == message()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source": "rental"}, "source"),
        ({"schema": "2.0"}, "schema"),
        ({"subject": ""}, "subject"),
        ({"subject_seq": 0}, "subject"),
        ({"payload": {"record": "r", "employer": "e"}}, "start"),
        ({"payload": {"record": "r", "employer": "e", "start": "2007-02-30"}}, "start"),
        ({"payload": {"record": "r" * 41, "employer": "e", "start": "2007-05-01"}}, "record"),
        ({"payload": {**message().payload, "name": "somebody"}}, "name"),
    ],
)
def test_a_message_that_breaks_the_catalogue_is_refused(
    changes: dict[str, object], field: str
) -> None:
    with pytest.raises(Rejected, match="E-MSG-FORM") as refusal:
        catalogue.check(message(**changes))
    assert refusal.value.facts["field"] == field


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", message().to_json()[:-5], message().to_json() * 20]
)
def test_what_is_no_envelope_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="E-MSG-FORM"):
        Envelope.from_json(text)


def test_a_payload_that_was_touched_is_noticed() -> None:
    with pytest.raises(EvidenceMismatch, match="E-MSG-HASH"):
        Envelope.from_json(
            message().to_json().replace('"start": "2007-05-01"', '"start": "2007-05-02"')
        )


def test_sending_what_the_catalogue_does_not_know_is_a_bug() -> None:
    town = city()
    with town.db.write() as tx, pytest.raises(AssertionError, match="catalogue"):
        delivery.send(tx, town.clock, "rental", Type.EMPLOYER_CLOSED, "e", date(2007, 5, 1), {})


# -- dead letters -------------------------------------------------------------------------------------


def refuse(tx, clock, message) -> None:
    raise Rejected("E-AC-UNKNOWN", "no such address code")


def trip(tx, clock, message) -> None:
    raise KeyError("a bug of ours")


def busy(tx, clock, message) -> None:
    raise Unavailable("DB-BUSY", "later")


def buried(town: City, handler) -> list[dead_letters.DeadLetter]:
    with town.db.write() as tx:
        handlers = {Type.EMPLOYMENT_STARTED: handler}
        delivery.take_or_bury(tx, town.clock, "residence", message(), handlers)
        return dead_letters.waiting(tx)


def test_a_refused_message_waits_with_its_code_and_masked_payload() -> None:
    (letter,) = buried(city(), refuse)
    assert (letter.category, letter.code, letter.attempts) == ("business_reject", "E-AC-UNKNOWN", 1)
    assert letter.payload == {"start": "2007-05-01"}


def test_a_bug_of_ours_parks_the_message() -> None:
    (letter,) = buried(city(), trip)
    assert (letter.category, letter.code) == ("internal", "KeyError")


def test_a_busy_database_is_no_fault_of_the_message() -> None:
    town = city()
    with pytest.raises(Unavailable):
        buried(town, busy)
    with town.db.read() as tx:
        assert dead_letters.waiting(tx) == []


def test_a_dead_letter_is_replayed_after_its_cause_was_mended() -> None:
    town = city()
    buried(town, refuse)
    taken: list[str] = []
    good = {Type.EMPLOYMENT_STARTED: lambda tx, clock, m: taken.append(m.msg_id)}
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-ROLE"):
            replay.replay(tx, town.clock, "residence", "m-1", good, CLERK)
        bad = {Type.EMPLOYMENT_STARTED: refuse}
        assert not replay.replay(tx, town.clock, "residence", "m-1", bad, OFFICER)
        assert dead_letters.waiting(tx)[0].attempts == 2
        done = replay.replay_all(tx, town.clock, "residence", "business_reject", good, OFFICER)
        assert done == (1, 0)
        assert dead_letters.waiting(tx) == []
        with pytest.raises(NotFound, match="E-DEAD-LETTER"):
            replay.replay(tx, town.clock, "residence", "m-1", good, OFFICER)
    assert taken == ["m-1"]


def test_a_correction_that_supersedes_closes_the_dead_letter() -> None:
    town = city()
    buried(town, refuse)
    with town.db.write() as tx:
        better = message(msg_id="m-2", subject_seq=2, supersedes="m-1")
        delivery.receive(tx, town.clock, "residence", better, {})
        assert tx.query(DeadLetterRow).one().state == "REPAIRED"


def test_two_persons_give_a_message_up() -> None:
    town = city()
    buried(town, refuse)
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-SOD"):
            dead_letters.discard(tx, town.clock, "residence", "m-1", OFFICER, OFFICER, "old")
        with pytest.raises(Rejected, match="E-REASON"):
            dead_letters.discard(tx, town.clock, "residence", "m-1", OFFICER, SECOND, " ")
        dead_letters.discard(tx, town.clock, "residence", "m-1", OFFICER, SECOND, "employer gone")
        assert dead_letters.waiting(tx) == []


def test_dead_letters_older_than_three_days_are_counted() -> None:
    town = city()
    buried(town, refuse)
    with town.db.read() as tx:
        assert dead_letters.too_old(tx, town.clock) == 0
        town.clock.advance(timedelta(days=3, seconds=1))
        assert dead_letters.too_old(tx, town.clock) == 1


# -- transport ----------------------------------------------------------------------------------------


def systems() -> Systems:
    made = Systems(FixedClock(NOON))
    made.found(2, date(2007, 4, 2))
    return made


def test_messages_cross_between_databases_once() -> None:
    three = systems()
    assert three.carry().sent == 10  # per person: two links, a job, an address, a dwelling
    three.settle()
    with three.dbs["residence"].read() as tx:
        assert tx.query(InboxRow).count() == 10


def test_every_retry_carries_the_same_id() -> None:
    three = systems()
    link = three.links["employment"]
    link.down = True
    for _ in range(4):
        three.carry()
        three.clock.advance(timedelta(minutes=1))
    link.down = False
    three.settle()
    with three.dbs["employment"].read() as tx:
        rows = tx.query(PostingRow).all()
        assert {row.state for row in rows} == {"SENT"}
        assert min(row.attempts for row in rows) > 3
    with three.dbs["residence"].read() as tx:
        assert tx.query(InboxRow).filter_by(source="employment").count() == len(rows)


def test_the_waits_double_up_to_a_quarter_of_an_hour() -> None:
    waits = [transport.back_off("m", n) for n in range(30)]
    assert all(timedelta(seconds=0.5) <= wait <= timedelta(minutes=15) for wait in waits)
    assert waits[0] <= timedelta(seconds=1)
    assert min(waits[12:]) >= timedelta(minutes=7, seconds=30)
    assert waits == [transport.back_off("m", n) for n in range(30)]


def test_after_a_day_of_silence_the_message_is_a_dead_letter_of_its_sender() -> None:
    three = systems()
    three.links["employment"].down = True
    for _ in range(120):
        three.carry()
        three.clock.advance(timedelta(minutes=15))
    with three.dbs["employment"].read() as tx:
        letters = dead_letters.waiting(tx, kind="provider_down")
        assert len(letters) == tx.query(PostingRow).filter_by(state="DEAD").count() == 4


def test_a_message_before_its_predecessor_waits_and_then_follows() -> None:
    three = systems()
    clock, doorman = three.clock, three.doorman
    first, second = message(), message(msg_id="m-2", subject_seq=2)
    assert doorman.hand_over(second.to_json()).taken
    with three.dbs["residence"].read() as tx:
        assert (tx.query(WaitingRow).count(), tx.query(InboxRow).count()) == (1, 0)
    assert doorman.hand_over(first.to_json()).taken
    with three.dbs["residence"].read() as tx:
        assert (tx.query(WaitingRow).count(), tx.query(InboxRow).count()) == (0, 2)
    third = message(msg_id="m-4", subject_seq=4)
    doorman.hand_over(third.to_json())
    clock.advance(timedelta(minutes=14, seconds=59))
    assert doorman.release_overdue() == 0
    clock.advance(timedelta(seconds=1))
    assert doorman.release_overdue() == 1
    with three.dbs["residence"].read() as tx:
        (hole,) = events.after(tx, 0, kinds_wanted=["exchange.hole"])
        assert hole.data["before"] == 4


def test_the_waiting_room_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_WAITING", 1)
    three = systems()
    assert three.doorman.hand_over(message(msg_id="m-2", subject_seq=2).to_json()).taken
    answer = three.doorman.hand_over(message(msg_id="m-3", subject_seq=3).to_json())
    assert (answer.taken, answer.category) == (False, "provider_down")


def test_garbage_at_the_door_is_answered_not_swallowed() -> None:
    three = systems()
    answer = three.doorman.hand_over("{")
    assert (answer.taken, answer.category, answer.code) == (False, "bad_request", "E-MSG-FORM")


# -- reconciliation -----------------------------------------------------------------------------------


def test_reconciliation_finds_what_is_missing_and_replays_it() -> None:
    three = systems()
    three.settle()
    assert {o.drift_per_mille for o in three.reconcile().values()} == {0}
    with three.dbs["residence"].write() as tx:  # a row is lost behind the register's back
        lost = tx.query(InboxRow).filter_by(source="rental", subject_seq=2).first()
        subject = lost.subject
        tx.delete(lost)
    outcome = three.reconcile()["rental"]
    assert outcome.differing == (subject,)
    assert outcome.alarm
    three.settle()
    assert three.reconcile()["rental"].differing == ()
    with three.dbs["rental"].read() as tx:
        assert reconcile.last_drift(tx, "rental", "residence").differing == 0


def test_only_groups_that_differ_are_looked_into() -> None:
    ours = {f"s{n}": reconcile.Holding(1, "d") for n in range(1_000)}
    theirs = dict(ours)
    theirs["s7"] = reconcile.Holding(2, "e")
    del theirs["s8"]
    theirs["x"] = reconcile.Holding(1, "d")
    assert reconcile.differences(ours, theirs) == ("s7", "s8", "x")
    assert reconcile.differences(ours, ours) == ()


# -- what the residence register tells the others ----------------------------------------------------------


def test_the_others_hear_of_a_status_under_their_own_key_only() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, date(2007, 4, 2))
        permits.add_hold(tx, town.clock, permit_no, Hold.ADMIN, permits.Cause("t", "e"))
        for _ in range(2):  # taken in twice, and once more from the start, in the wrong order
            delivery.deliver(tx, town.clock, "employment", work.HANDLERS)
            delivery.deliver(tx, town.clock, "rental", homes.HANDLERS)
        told = tx.query(MessageRow).filter_by(source="residence").all()
        assert {row.addressee for row in told} == {"employment", "rental"}
        for row in sorted(told, key=lambda row: -row.subject_seq):
            message_ = delivery.load(tx, row.msg_id)
            handlers = work.HANDLERS if row.addressee == "employment" else homes.HANDLERS
            handlers[message_.type](tx, town.clock, message_)
        (note,) = tx.query(work.PermitNoteRow).all()
        (other,) = tx.query(homes.PermitNoteRow).all()
        assert (note.status, note.ssn) == (other.status, other.ssn) == ("SUSPENDED", 2)
        assert note.worker_id != other.occupant_id
        assert dead_letters.waiting(tx) == []


def test_a_status_for_somebody_else_is_refused() -> None:
    town = city()
    with town.db.write() as tx:
        sent = delivery.send(
            tx, town.clock, "residence", Type.PERMIT_STATUS_CHANGED, "nobody", town.today,
            {"status": "ACTIVE", "ssn": 1}, addressee="employment",
        )  # fmt: skip
        assert delivery.deliver(tx, town.clock, "rental", homes.HANDLERS).taken == 0
        assert delivery.deliver(tx, town.clock, "employment", work.HANDLERS).refused == 1
        assert dead_letters.waiting(tx)[0].msg_id == sent.msg_id


def test_the_post_of_an_installation_reaches_all_three_registers() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, date(2007, 4, 2))
        permits.add_hold(tx, town.clock, permit_no, Hold.ADMIN, permits.Cause("t", "e"))
        town.live_and_work(tx, 1, date(2007, 5, 7))
    carried = post.carry(town.db, town.clock)
    assert set(carried) == {"residence", "employment", "rental"}
    assert carried["residence"].taken == 4  # a link and a fact from each of the other two
    with town.db.read() as tx:
        assert [row.status for row in tx.query(work.PermitNoteRow)] == ["SUSPENDED"]
        assert [row.status for row in tx.query(homes.PermitNoteRow)] == ["SUSPENDED"]
    assert all(one == delivery.Delivered() for one in post.carry(town.db, town.clock).values())
