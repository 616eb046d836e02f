"""Sleep and wake: the golden cases A to K of residence.md 6.4, the breaker, silent feeds."""

from datetime import date, timedelta

import pytest

from core import events
from core.errors import EvidenceMismatch, Rejected
from registry.dormancy import domain, engine, status, status_list
from registry.employment import service as employment
from registry.exchange import delivery
from registry.parameters import PILOT
from registry.residence import cards, permits
from registry.residence.domain import ChipStatus, Hold
from registry.roles import Actor, Role
from tests.registry_bench import OFFICE, REVIEWER, SERIALS
from tests.registry_story import LAST_DAY, Story, june


def test_a_known_message_with_other_content_is_an_alarm() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx:
        first = events.after(tx, 0, kinds_wanted=["employment.started"])[0]
        message = delivery.load(tx, first.data["msg_id"])
        forged = type(message)(
            **{**message.__dict__, "payload": {**message.payload, "start": "2001-01-01"}}
        )
        with pytest.raises(EvidenceMismatch, match="E-MSG-HASH"):
            delivery.receive(tx, town.clock, "residence", forged, engine.HANDLERS)


def test_the_sweep_changes_nothing_the_second_time() -> None:
    story = Story()
    story.on(june(12), story.end)
    story.on(june(18))
    with story.town.db.write() as tx:
        before = events.last_seq(tx)
        again = engine.sweep(tx, story.town.clock)
        assert (again.slept, again.watched, again.woken) == (0, 0, 0)
        assert events.last_seq(tx) == before


def test_a_silent_feed_puts_nobody_to_sleep() -> None:
    story = Story()
    story.on(june(12), story.end)
    story.on(june(17))
    story.town.go_to(june(19))  # 48 hours without a heartbeat
    with story.town.db.write() as tx:
        result = engine.sweep(tx, story.town.clock)
        assert (result.slept, result.held_back) == (0, 1)
        assert result.silent_feeds == ["employment", "rental"]
    assert story.on(june(20)) == "DORMANT"  # the feeds are back


def test_a_death_is_a_case_for_people_not_a_sleep() -> None:
    story = Story()
    end = lambda tx: employment.end(tx, story.town.clock, story.job, LAST_DAY, "06")  # noqa: E731
    assert story.on(june(12), end) == "ADMIN"


def test_an_expired_permit_is_seen_by_the_sweep() -> None:
    story = Story()
    story.town.go_to(date(2017, 5, 28))
    story.town.sweep()
    assert story.status() == "EXPIRED"


# -- the breaker ------------------------------------------------------------------------------------


def sleepers(count: int, employer: str = "") -> list[domain.Sleeper]:
    origins = frozenset({employer}) if employer else frozenset()
    return [domain.Sleeper(f"P{n}", Hold.EMP, origins) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "permits_in_all", "trips"),
    [(10, 12, False), (11, 12, True), (100, 5_000, False), (101, 5_000, True),
     (200, 183_900, False), (201, 183_900, True)],
)  # fmt: skip
def test_the_breaker_trips_above_count_or_share(
    count: int, permits_in_all: int, trips: bool
) -> None:
    assert (domain.breaker(sleepers(count), permits_in_all, {}) is not None) == trips


def test_a_stopped_sweep_waits_for_two_persons() -> None:
    story = Story()
    strict = type(PILOT)(breaker_floor=0)  # one sleeper out of one is too many
    story.on(june(12), story.end)
    story.on(june(17))
    town = story.town
    town.go_to(june(18))
    second = Actor.of("office Ma", Role.PILOT_OFFICE)
    with town.db.write() as tx:
        town.heartbeats(tx)
        stopped = engine.sweep(tx, town.clock, strict)
        assert stopped.slept == 0
        with pytest.raises(Rejected, match="E-BREAKER"):
            engine.refuse_when_stopped(stopped)
        engine.release(tx, town.clock, town.today, OFFICE, second)
        assert engine.sweep(tx, town.clock, strict).slept == 1
    assert story.status() == "DORMANT"


# -- what reaches the chip and the terminals -----------------------------------------------------------


def test_the_status_record_of_the_example() -> None:
    """Case B on 18 June: body 01 03 01 00000007 20070618 20070916 20170501 0001 00001C."""
    permit = permits.PermitRow(
        status=ChipStatus.DORMANT, causes=1, ssn=7, effective_on=june(18),
        lease_until=june(18) + timedelta(days=90), valid_until=date(2017, 5, 1),
    )  # fmt: skip
    body = status.status_record(permit, "028").body
    assert body.hex() == "010301" + "00000007" + "20070618" + "20070916" + "20170501" + "000100001c"


def test_the_list_carries_a_sleeper_and_drops_it_when_it_wakes() -> None:
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    story.on(june(18))
    with town.db.write() as tx:
        assert status_list.publish(tx, town.clock) == 1
        assert status_list.publish(tx, town.clock) == 1
        full = status_list.delta(tx, 0)
        (entry,) = full.entries
        ssn = permits.get(tx, story.permit_no).ssn
        assert bytes(entry) == (
            b"A" + status_list.card_hash(SERIALS[0]) + b"\x01" + ssn.to_bytes(4, "big")
            + bytes.fromhex("2007061820070916")
        )  # fmt: skip
        assert len(bytes(entry)) == status_list.ENTRY_LENGTH
    story.on(june(20), story.hire(june(19)))
    with town.db.write() as tx:
        assert status_list.publish(tx, town.clock) == 2
        assert status_list.delta(tx, 0).entries == ()
        (gone,) = status_list.delta(tx, 1).entries
        assert (gone.action, gone.card_hash) == ("D", status_list.card_hash(SERIALS[0]))
        with pytest.raises(Rejected, match="E-LIST-VERSION"):
            status_list.delta(tx, 3)


def test_a_sleeper_leaves_the_list_when_its_lease_is_over_a_lost_card_does_not() -> None:
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    story.on(june(18))
    town.go_to(june(18) + timedelta(days=91))
    with town.db.write() as tx:
        status_list.publish(tx, town.clock)
        assert status_list.delta(tx, 0).entries == ()
        clerk = Actor.of("c", Role.POLICE_CLERK)
        permits.report_loss(tx, town.clock, story.permit_no, clerk, evidence="telephone")
        status_list.publish(tx, town.clock)
        (entry,) = status_list.delta(tx, 0).entries
        assert (entry.cause, entry.expires) == (0x05, date(2017, 5, 27))


def test_a_cancelled_card_is_marked_unconditionally() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx:
        permits.cancel(tx, town.clock, story.permit_no, REVIEWER, "obtained by fraud")
        status_list.publish(tx, town.clock)
        assert status_list.delta(tx, 0).entries[0].cause & status_list.CANCELLED_BIT


def test_a_ticket_repeats_itself_until_a_newer_status_exists() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx:
        first = status.issue_ticket(tx, town.clock, SERIALS[0], "001")
        again = status.issue_ticket(tx, town.clock, SERIALS[0], "012")
        assert (again.id, again.record.body) == (first.id, first.record.body)
        cause = permits.Cause("test", "evidence")
        permits.add_hold(tx, town.clock, story.permit_no, Hold.RES, cause)
        newer = status.issue_ticket(tx, town.clock, SERIALS[0], "001")
        assert newer.record.ssn == first.record.ssn + 1
        with pytest.raises(Rejected, match="E-SSN"):
            status.usable(tx, town.clock, first.id)
        town.clock.advance(timedelta(hours=25))
        with pytest.raises(Rejected, match="E-TICKET-OLD"):
            status.usable(tx, town.clock, newer.id)
        other = bytes(status.signed(first, bytes(8)))
        with pytest.raises(EvidenceMismatch, match="E-READBACK"):
            status.confirm(tx, town.clock, newer.id, other, "clerk")
        status.confirm(tx, town.clock, newer.id, bytes(status.signed(newer, b"\x01" * 8)), "clerk")
        assert cards.by_serial(tx, SERIALS[0]).chip_ssn == newer.record.ssn


def test_a_lease_is_renewed_when_less_than_half_is_left() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx:
        assert not permits.renew_lease(tx, town.clock, story.permit_no, "T1")
        town.clock.advance(timedelta(days=46))
        ssn = permits.get(tx, story.permit_no).ssn
        assert permits.renew_lease(tx, town.clock, story.permit_no, "T1")
        permit = permits.get(tx, story.permit_no)
        assert permit.ssn == ssn + 1
        assert permit.lease_until == town.today + timedelta(days=90)
