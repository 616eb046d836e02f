"""Facts and verdicts do not depend on the order, the delay or the repetition of messages (residence.md 6.8)."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pytest

from core.clock import SHANGHAI, FixedClock
from core.db import Database, Tx
from registry.dormancy import cases, domain, engine
from registry.exchange import catalogue
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.identifiers import make_permit_no
from registry.parameters import PILOT
from registry.residence import facts
from registry.residence.domain import Basis, PermitType
from registry.residence.facts import Fact
from registry.residence.tables import FactRow, FeedRow, HoldRow, LinkRow, PermitRow, PersonRow

FIRST, LAST = date(2007, 5, 1), date(2007, 7, 31)
NIGHT = datetime(2007, 8, 1, 2, tzinfo=SHANGHAI)
NOW = datetime(2007, 8, 1, tzinfo=SHANGHAI)


@dataclass
class History:
    """What the registers say of one person, in the order they said it."""

    number: int
    messages: list[Envelope] = field(default_factory=list)
    expected: dict[str, Fact] = field(default_factory=dict)

    def say(self, kind: Type, source: str, record: str, day: date, fact: Fact | None) -> None:
        """The next message about a record, and what it leaves in force."""
        subject = f"{source[0]}{self.number}"
        seq = 1 + sum(message.source == source for message in self.messages)
        payload: dict[str, object] = {"record": record}
        if fact is None:
            self.expected.pop(record, None)
        else:
            self.expected[record] = fact
            payload["start"] = str(fact.start)
            payload["employer" if source == "employment" else "code"] = fact.origin
            if fact.end is not None:
                payload["end"] = str(fact.end)
                if source == "employment":
                    payload["reason"] = "01"
        message = Envelope(
            f"{subject}-{seq}", kind, source, subject, seq, day, NOW, payload, None,
            catalogue.of(kind).version,
        )  # fmt: skip
        catalogue.check(message)
        self.messages.append(message)


def history(number: int, dice: random.Random) -> History:
    """One to three jobs and a home or two, with ends, corrections and withdrawals."""
    made = History(number)
    for at in range(dice.randrange(1, 4)):
        _job(made, f"j{number}-{at}", dice)
    for at in range(dice.randrange(1, 3)):
        _home(made, f"h{number}-{at}", dice)
    return made


def _day(dice: random.Random) -> date:
    return FIRST + timedelta(days=dice.randrange((LAST - FIRST).days))


def _job(made: History, record: str, dice: random.Random) -> None:
    start, firm = _day(dice), f"firm{dice.randrange(3)}"
    made.say(
        Type.EMPLOYMENT_STARTED, "employment", record, start, Fact("EMPLOYMENT", start, None, firm)
    )
    if dice.random() < 0.6:
        end = start + timedelta(days=dice.randrange(40))
        made.say(
            Type.EMPLOYMENT_ENDED, "employment", record, end, Fact("EMPLOYMENT", start, end, firm)
        )
    if dice.random() < 0.3:
        better = start - timedelta(days=dice.randrange(10))
        made.say(
            Type.EMPLOYMENT_CORRECTED, "employment", record, better,
            Fact("EMPLOYMENT", better, None, firm),
        )  # fmt: skip
    if dice.random() < 0.15:
        made.say(Type.EMPLOYMENT_WITHDRAWN, "employment", record, start, None)


def _home(made: History, record: str, dice: random.Random) -> None:
    start, code = _day(dice), f"44030800300101000010020{dice.randrange(10, 99)}"
    made.say(Type.OCCUPANCY_STARTED, "rental", record, start, Fact("DWELLING", start, None, code))
    if dice.random() < 0.5:
        end = start + timedelta(days=dice.randrange(40))
        made.say(Type.OCCUPANCY_ENDED, "rental", record, end, Fact("DWELLING", start, end, code))
    if dice.random() < 0.1:
        made.say(Type.OCCUPANCY_WITHDRAWN, "rental", record, start, None)


def mixed(messages: list[Envelope], dice: random.Random) -> list[Envelope]:
    """Any order, some of them twice or three times."""
    bag = [message for message in messages for _ in range(dice.choice((1, 1, 1, 2, 3)))]
    dice.shuffle(bag)
    return bag


def admit(tx: Tx, number: int) -> str:
    """A person with a permit whom both registers know."""
    birth = date(1960, 1, 1) + timedelta(days=number // 400)
    index, person = f"{number:032x}", f"p{number}"
    tx.add(
        PersonRow(
            id=person, citizen_index=index, sealed=b"", sex=2, ethnic=1, birth=birth,
            identity_level=1, purse_account=f"{number:016d}",
        )
    )  # fmt: skip
    for source in ("employment", "rental"):
        tx.add(LinkRow(source=source, subject=f"{source[0]}{number}", citizen_index=index))
    tx.flush()
    permit_no = make_permit_no(2007, number)
    tx.add(
        PermitRow(
            permit_no=permit_no, person_id=person, type="RP", basis="EMPLOYMENT",
            address_code="4403080030010100001002001", issued_on=FIRST,
            valid_until=date(2017, 1, 1), handed_over=True, status=2, causes=0, ssn=1,
            effective_on=FIRST, lease_until=date(2007, 9, 1),
        )
    )  # fmt: skip
    tx.flush()
    return permit_no


def take(
    tx: Tx, clock: FixedClock, messages: list[Envelope], handlers: Mapping[Type, Handler]
) -> None:
    for message in messages:
        handlers[message.type](tx, clock, message)


def check_facts(histories: range, seed: int) -> None:
    """Mixed messages leave exactly the facts of the last word on each record, and so the same verdict."""
    db, clock = Database("sqlite://"), FixedClock(NOW)
    db.create_tables()
    dice = random.Random(seed)
    made = {}
    with db.write() as tx:
        for number in histories:
            told = history(number, dice)
            made[admit(tx, number)] = told
            take(tx, clock, mixed(told.messages, dice), facts.HANDLERS)
    with db.read() as tx:
        for case in cases.every(tx, NIGHT.date(), PILOT):
            expected = list(made[case.permit_no].expected.values())
            assert sorted(map(repr, case.facts)) == sorted(map(repr, expected))
            alone = domain.verdict(expected, PermitType.RP, FIRST, NIGHT.date(), {}, PILOT)
            assert case.verdict == alone
        in_force = tx.query(FactRow).filter(FactRow.superseded_at.is_(None)).count()
        records = {(row.source, row.record) for row in tx.query(FactRow)}
        assert in_force == len(records)
    db.close()


def test_mixed_messages_leave_the_same_facts_and_verdict() -> None:
    check_facts(range(1, 61), seed=6)


@pytest.mark.slow
def test_mixed_messages_in_10_000_histories() -> None:
    for batch in range(10):
        check_facts(range(1, 1_001), seed=batch)


def settled(histories: list[History], seed: int, prompt: bool) -> dict[str, tuple[str, ...]]:
    """Every message reported promptly in order, or late and mixed; then nights until nothing changes."""
    db, clock = Database("sqlite://"), FixedClock(datetime(2007, 5, 1, 2, tzinfo=SHANGHAI))
    db.create_tables()
    dice = random.Random(seed)
    with db.write() as tx:
        for told in histories:
            admit(tx, told.number)
        for source in ("employment", "rental"):
            tx.add(FeedRow(source=source, heard_at=clock.now()))
    due: dict[int, list[Envelope]] = {}
    for told in histories:
        for message in told.messages if prompt else mixed(told.messages, dice):
            offset = max(0, (message.occurred_on - FIRST).days)
            late = 0 if prompt else dice.randrange(25)
            due.setdefault(offset + late, []).append(message)
    wide = type(PILOT)(breaker_count=10_000, breaker_floor=10_000)
    for offset in range((LAST - FIRST).days + 70):
        clock.advance(timedelta(days=1))
        with db.write() as tx:
            for source in ("employment", "rental"):
                tx.get_one(FeedRow, source).heard_at = clock.now()
            take(tx, clock, due.get(offset, []), engine.HANDLERS)
            engine.sweep(tx, clock, wide)
    with db.read() as tx:
        found = {
            row.permit_no: tuple(
                sorted(h.kind for h in tx.query(HoldRow).filter_by(permit_no=row.permit_no))
            )
            for row in tx.query(PermitRow)
        }
    db.close()
    return found


@pytest.mark.slow
def test_late_and_mixed_reports_end_where_prompt_ones_end() -> None:
    dice = random.Random(4)
    histories = [history(number, dice) for number in range(1, 9)]
    prompt = settled(histories, 1, True)
    assert {(), ("EMP",)} <= set(prompt.values())
    assert settled(histories, 2, False) == prompt


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_late_and_mixed_reports_of_many(seed: int) -> None:
    dice = random.Random(seed)
    histories = [history(number, dice) for number in range(1, 61)]
    assert settled(histories, seed + 10, False) == settled(histories, seed, True)


def test_the_kinds_of_facts_are_the_words_of_the_registers() -> None:
    assert Basis.EMPLOYMENT == "EMPLOYMENT"
    assert facts.DWELLING == "DWELLING"
