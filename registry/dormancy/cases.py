"""Reading what verdicts need: permits with their facts, holds, notices and delays, many at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, and_, select

from core.clock import Clock
from core.db import Tx
from registry.dormancy import domain
from registry.dormancy.domain import Verdict
from registry.dormancy.tables import DelayRow, NoticeRow
from registry.parameters import Policy
from registry.residence.domain import Basis, ChipStatus, Hold, PermitType
from registry.residence.facts import Fact, in_force
from registry.residence.tables import FactRow, FeedRow, HoldRow, LinkRow, PermitRow, PersonRow

FEED_OF = {Hold.EMP: "employment", Hold.RES: "rental"}
DECEASED = "06"
CHUNK = 500  # permits per query, well below SQLite's limit of bound values


@dataclass(frozen=True)
class Notice:
    """A notice that was sent for an open gap."""

    gap_start: date
    due: date
    sent_on: date


@dataclass(frozen=True)
class Case:
    """One permit with all that its verdict needs.

    `delays`: first day a cause may sleep; `deceased`: the record that reports a death.
    """

    permit_no: str
    valid_until: date
    holds: frozenset[Hold]
    facts: Sequence[Fact]
    notices: Mapping[Hold, Notice]
    delays: Mapping[Hold, date]
    verdict: Verdict
    deceased: str = ""

    @property
    def due(self) -> frozenset[Hold]:
        """Causes that would begin to sleep today."""
        return self.verdict.sleeping - self.holds

    def changes(self, day: date) -> bool:
        """Whether anything but a new sleep is to be done: expiry, notice, wake."""
        if day > self.valid_until and Hold.EXPIRED not in self.holds:
            return True
        for cause in FEED_OF:
            gap, notice = self.verdict.gaps.get(cause), self.notices.get(cause)
            if cause in self.holds and cause not in self.verdict.sleeping:
                return True
            if gap is None and notice is not None:
                return True
            if gap is not None and (notice is None or notice.gap_start != gap.gap_start):
                return True
        return False


_COLUMNS = (
    PermitRow.permit_no,
    PermitRow.person_id,
    PermitRow.type,
    PermitRow.issued_on,
    PermitRow.valid_until,
)


def every(tx: Tx, day: date, policy: Policy) -> list[Case]:
    """All live permits in order of their numbers, in six queries however many there are."""
    return _cases(tx, day, policy, None)


def some(tx: Tx, day: date, permit_nos: Sequence[str], policy: Policy) -> list[Case]:
    """The named permits that are alive, at most `CHUNK`, in order of their numbers."""
    if len(permit_nos) > CHUNK:
        raise AssertionError(f"at most {CHUNK} permits at a time")
    return _cases(tx, day, policy, permit_nos)


def one(tx: Tx, day: date, permit_no: str, policy: Policy) -> Case | None:
    """One permit; None when it is cancelled or unknown."""
    return next(iter(some(tx, day, [permit_no], policy)), None)


def _cases(tx: Tx, day: date, policy: Policy, wanted: Sequence[str] | None) -> list[Case]:
    which = PermitRow.status != ChipStatus.CANCELLED
    if wanted is not None:
        which = and_(which, PermitRow.permit_no.in_(wanted))
    rows = tx.execute(select(*_COLUMNS).where(which).order_by(PermitRow.permit_no)).all()
    known, deceased = _facts(tx, which)
    present: dict[str, set[Hold]] = {}
    held = (
        select(HoldRow.permit_no, HoldRow.kind)
        .join(PermitRow, PermitRow.permit_no == HoldRow.permit_no)
        .where(which)
    )
    for permit_no, hold in tx.execute(held):
        present.setdefault(permit_no, set()).add(Hold(hold))
    notices, delays = _notices(tx, which), _delays(tx, which)
    found = []
    for permit_no, person, kind, issued_on, valid_until in rows:
        mine, sent = known.get(person, []), notices.get(permit_no, {})
        later = delays.get(permit_no, {})
        result = domain.verdict(
            mine, PermitType(kind), issued_on, day,
            {cause: notice.sent_on for cause, notice in sent.items()}, policy,
            later,
        )  # fmt: skip
        found.append(
            Case(
                permit_no, valid_until, frozenset(present.get(permit_no, ())), mine, sent, later, result,
                deceased.get(person, ""),
            )
        )  # fmt: skip
    return found


def _facts(tx: Tx, which: ColumnElement[bool]) -> tuple[dict[str, list[Fact]], dict[str, str]]:
    """Facts by person, and the record that reports a death, by person."""
    query = (
        select(
            PermitRow.person_id, FactRow.kind, FactRow.start, FactRow.end, FactRow.origin,
            FactRow.reason, FactRow.record,
        )
        .join(PersonRow, PersonRow.id == PermitRow.person_id)
        .join(LinkRow, LinkRow.citizen_index == PersonRow.citizen_index)
        .join(FactRow, (FactRow.source == LinkRow.source) & (FactRow.subject == LinkRow.subject))
        .where(in_force(), which)
    )  # fmt: skip
    rows = tx.execute(query).all()
    supporters = {row.origin for row in rows if row.kind == Basis.DEPENDANT}
    asleep = _sleeping(tx, sorted(supporters)) if supporters else {}
    found: dict[str, list[Fact]] = {}
    dead: dict[str, str] = {}
    for person, kind, start, end, origin, reason, record in rows:
        if kind == Basis.DEPENDANT and origin in asleep:
            last = asleep[origin] - timedelta(days=1)
            end = last if end is None else min(end, last)
            if end < start:
                continue
        found.setdefault(person, []).append(Fact(kind, start, end, origin))
        if reason == DECEASED:
            dead[person] = record
    return found, dead


def _sleeping(tx: Tx, supporters: Sequence[str]) -> dict[str, date]:
    """Those of the permits others depend on that sleep or ended, with the day since when (6.3)."""
    found: dict[str, date] = {}
    for first in range(0, len(supporters), CHUNK):
        rows = tx.execute(
            select(PermitRow.permit_no, PermitRow.effective_on).where(
                PermitRow.permit_no.in_(supporters[first : first + CHUNK]),
                PermitRow.status.in_((ChipStatus.DORMANT, ChipStatus.CANCELLED)),
            )
        )
        found |= {row.permit_no: row.effective_on for row in rows}
    return found


def _notices(tx: Tx, which: ColumnElement[bool]) -> dict[str, dict[Hold, Notice]]:
    query = select(
        NoticeRow.permit_no, NoticeRow.cause, NoticeRow.gap_start, NoticeRow.due, NoticeRow.sent_on
    ).join(PermitRow, PermitRow.permit_no == NoticeRow.permit_no)
    found: dict[str, dict[Hold, Notice]] = {}
    for permit_no, cause, gap_start, due, sent_on in tx.execute(query.where(which)):
        found.setdefault(permit_no, {})[Hold(cause)] = Notice(gap_start, due, sent_on)
    return found


def _delays(tx: Tx, which: ColumnElement[bool]) -> dict[str, dict[Hold, date]]:
    """First day each cause may sleep, from objections, disputes and emergencies."""
    query = select(DelayRow.permit_no, DelayRow.cause, DelayRow.until).join(
        PermitRow, PermitRow.permit_no == DelayRow.permit_no
    )
    found: dict[str, dict[Hold, date]] = {}
    for permit_no, cause, until in tx.execute(query.where(which)):
        first = until + timedelta(days=1)
        mine = found.setdefault(permit_no, {})
        mine[Hold(cause)] = max(first, mine.get(Hold(cause), first))
    return found


def silent_feeds(tx: Tx, clock: Clock, policy: Policy) -> list[str]:
    """Registers not heard for longer than the policy allows: their silence is not evidence (6.8)."""
    heard = {row.source: row.heard_at for row in tx.scalars(select(FeedRow))}
    now = clock.now()
    return [
        source
        for source in FEED_OF.values()
        if source not in heard or now - heard[source] > policy.feed_silence
    ]


def last_origins(known: Iterable[Fact]) -> frozenset[str]:
    """Employers of the most recently ended employment."""
    ended = [fact for fact in known if fact.kind == Basis.EMPLOYMENT and fact.end is not None]
    last = max((fact.end for fact in ended if fact.end), default=None)
    return frozenset(fact.origin for fact in ended if fact.end == last and fact.origin)


def workers(cases: Iterable[Case]) -> dict[str, int]:
    """Permits per employer."""
    count: dict[str, int] = {}
    for case in cases:
        for origin in {f.origin for f in case.facts if f.kind == Basis.EMPLOYMENT and f.origin}:
            count[origin] = count.get(origin, 0) + 1
    return count
