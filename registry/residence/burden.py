"""What an application costs: the applicant's visits, fields typed again, the wait (SD-02, residence.md 16.5).

以利民为基础: counted from what happened, not asked. A visit is a call at a window: to hand papers in (the mobile
team and the employer's batch spare it), once for every return, to collect. A field is typed again when the clerk
keyed it in though another register had told it: number and name of a person it had linked, unless the identity
card's chip was read; the code of a dwelling it knows the person in.
"""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Select, select

from core.clock import business_date
from core.db import Tx
from registry.residence import facts
from registry.residence.domain import Channel, State, working_days
from registry.residence.persons import REGISTER
from registry.residence.tables import ApplicationRow, FactRow, LinkRow, PersonRow

CHIP_READ = 2  # identity level from which nobody types
PERSON_FIELDS = 2


@dataclass(frozen=True)
class Burden:
    """Over all accepted applications."""

    applications: int
    visits: int
    typed_again: int


def count(tx: Tx) -> Burden:
    """The visits and the fields of every application that was accepted."""
    rows = tx.execute(
        select(
            ApplicationRow.channel, ApplicationRow.returns, ApplicationRow.state,
            ApplicationRow.address_code, PersonRow.identity_level, PersonRow.citizen_index,
        )
        .join(PersonRow, PersonRow.id == ApplicationRow.person_id)
        .where(ApplicationRow.accepted_at.is_not(None))
    ).all()  # fmt: skip
    told = set(
        tx.scalars(select(LinkRow.citizen_index).where(LinkRow.source != REGISTER).distinct())
    )
    homes = {(row.citizen_index, row.origin) for row in tx.execute(_homes())}
    visits = typed = 0
    for channel, returns, state, code, level, index in rows:
        collected = state in (State.COLLECTED, State.CLOSED)
        visits += (channel == Channel.WINDOW) + returns + collected
        typed += PERSON_FIELDS * (index in told and level < CHIP_READ) + ((index, code) in homes)
    return Burden(len(rows), visits, typed)


def _homes() -> Select[str, str]:
    """Person and code of every dwelling the rental register told."""
    linked = (LinkRow.source == FactRow.source) & (LinkRow.subject == FactRow.subject)
    return (
        select(LinkRow.citizen_index, FactRow.origin)
        .join(FactRow, linked)
        .where(FactRow.kind == facts.DWELLING, FactRow.withdrawn.is_(False))
        .distinct()
    )


@dataclass(frozen=True)
class Week:
    """One week of the backlog: accepted and decided in it, waiting for a decision at its end."""

    week: str
    accepted: int
    decided: int
    waiting: int


def backlog(tx: Tx) -> list[Week]:
    """The backlog's curve by ISO week, from the first receipt to the last decision."""
    came, went = Counter[str](), Counter[str]()
    for accepted, decided in tx.execute(
        select(ApplicationRow.accepted_at, ApplicationRow.decided_at).where(
            ApplicationRow.accepted_at.is_not(None)
        )
    ):
        if accepted is not None:
            came[f"{business_date(accepted):%G-W%V}"] += 1
        if decided is not None:
            went[f"{business_date(decided):%G-W%V}"] += 1
    found, waiting = [], 0
    for week in sorted(came | went):
        waiting += came[week] - went[week]
        found.append(Week(week, came[week], went[week], waiting))
    return found


def lead_times(tx: Tx) -> list[int]:
    """Working days from receipt to decision, ascending."""
    rows = tx.execute(
        select(ApplicationRow.accepted_at, ApplicationRow.decided_at).where(
            ApplicationRow.decided_at.is_not(None)
        )
    )
    return sorted(
        working_days(business_date(came), business_date(went))
        for came, went in rows
        if came is not None and went is not None
    )
