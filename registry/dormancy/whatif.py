"""What if the rule were another? Replays what was believed when, under other values of grace (residence.md 6.8).

Works on the versions of facts with the time they were known, so it sees each day what the sweep of that day
saw. Reads only; nothing of the register changes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy import select

from core.clock import business_date
from core.db import Tx
from registry.dormancy import domain
from registry.parameters import PILOT, Policy
from registry.residence.domain import Hold, PermitType
from registry.residence.facts import Fact
from registry.residence.tables import FactRow, LinkRow, PermitRow, PersonRow

FLICKER_DAYS = 3
GRACES = (0, 3, 7, 15, 30)


@dataclass(frozen=True)
class Version:
    """A fact as it was believed from `known` until the day before `superseded`."""

    record: str
    known: date
    superseded: date | None
    withdrawn: bool
    fact: Fact


@dataclass(frozen=True)
class Sleep:
    """One simulated spell; `outcome` VOIDED, ENDED, or OPEN at the end of the replay."""

    cause: Hold
    server_from: date
    server_to: date | None
    outcome: str


@dataclass(frozen=True)
class Outcome:
    """What a policy would have done in a span of days."""

    grace: int
    permits: int
    slept: int
    open: int
    flickers: int
    voided: int

    @property
    def voided_share_bp(self) -> int:
        """Voided sleeps among all, hundredths of a percent."""
        return 10_000 * self.voided // self.slept if self.slept else 0


def with_grace(days: int, base: Policy = PILOT) -> Policy:
    """The policy with another grace for both causes."""
    return replace(base, grace_employment=days, grace_residence=days)


def replay(
    versions: Sequence[Version], kind: PermitType, since: date, until: date, policy: Policy = PILOT
) -> list[Sleep]:
    """The sleeps of one permit from its issue to `until` under a policy: pure."""
    notices: dict[Hold, date] = {}
    asleep: dict[Hold, tuple[date, date]] = {}
    found: list[Sleep] = []
    if not _ever_uncovered(versions, kind, since, until):
        return found
    for offset in range((until - since).days + 1):
        day = since + timedelta(days=offset)
        known = believed(versions, day)
        verdict = domain.verdict(known, kind, since, day, notices, policy)
        for cause in domain.relevant(kind):
            gap = verdict.gaps.get(cause)
            if gap is None:
                notices.pop(cause, None)
            else:
                notices.setdefault(cause, day)
            if cause in verdict.sleeping and cause not in asleep and gap is not None:
                asleep[cause] = (day, gap.gap_start)
            elif cause in asleep and cause not in verdict.sleeping:
                begin, gap_start = asleep.pop(cause)
                again = domain.ground_again(known, cause, gap_start, begin)
                lost = domain.not_counted(begin, day, again)
                found.append(Sleep(cause, begin, day, "ENDED" if lost else "VOIDED"))
    found += [Sleep(cause, begin, None, "OPEN") for cause, (begin, _) in asleep.items()]
    return sorted(found, key=lambda spell: (spell.server_from, spell.cause))


def believed(versions: Iterable[Version], day: date) -> list[Fact]:
    """The facts as they were known in the evening of `day`."""
    return [
        version.fact
        for version in versions
        if not version.withdrawn
        and version.known <= day
        and (version.superseded is None or version.superseded > day)
    ]


def _ever_uncovered(
    versions: Sequence[Version], kind: PermitType, since: date, until: date
) -> bool:
    """Most permits never lack anything: one open fact per cause from the first day on settles them."""
    for cause in domain.relevant(kind):
        steady = any(
            version.fact.kind in domain.KINDS[cause]
            and not version.withdrawn
            and version.known <= since
            and version.superseded is None
            and version.fact.start <= since
            and (version.fact.end is None or version.fact.end >= until)
            for version in versions
        )
        if not steady:
            return True
    return False


def compare(tx: Tx, until: date, graces: Sequence[int] = GRACES) -> list[Outcome]:
    """Replay the whole register under each grace: the table for the summary report."""
    histories = list(_histories(tx))
    table = []
    for grace in graces:
        policy = with_grace(grace)
        slept = still = flickers = voided = 0
        for versions, kind, since in histories:
            for spell in replay(versions, kind, since, until, policy):
                slept += 1
                still += spell.outcome == "OPEN"
                voided += spell.outcome == "VOIDED"
                flickers += (
                    spell.server_to is not None
                    and (spell.server_to - spell.server_from).days <= FLICKER_DAYS
                )
        table.append(Outcome(grace, len(histories), slept, still, flickers, voided))
    return table


def _histories(tx: Tx) -> Iterator[tuple[list[Version], PermitType, date]]:
    versions: dict[str, list[Version]] = {}
    rows = tx.execute(
        select(PersonRow.id, FactRow)
        .join(LinkRow, LinkRow.citizen_index == PersonRow.citizen_index)
        .join(FactRow, (FactRow.source == LinkRow.source) & (FactRow.subject == LinkRow.subject))
        .order_by(FactRow.record, FactRow.seq)
    )
    for person, row in rows:
        gone = None if row.superseded_at is None else business_date(row.superseded_at)
        versions.setdefault(person, []).append(
            Version(
                row.record, business_date(row.known_at), gone, row.withdrawn,
                Fact(row.kind, row.start, row.end, row.origin),
            )
        )  # fmt: skip
    for permit in tx.scalars(select(PermitRow).order_by(PermitRow.permit_no)):
        yield versions.get(permit.person_id, []), PermitType(permit.type), permit.issued_on
