"""Why a permit has its status, since when, and what the holder can do: the duty to explain (residence.md 6.8)."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import Any

from sqlalchemy import select

from core.clock import business_date
from core.db import Tx
from registry.dormancy import cases
from registry.dormancy.cases import Case
from registry.dormancy.domain import KINDS, Gap
from registry.dormancy.tables import SpellRow
from registry.parameters import PILOT, Policy
from registry.residence import permits
from registry.residence.domain import ChipStatus, Hold, shown_status
from registry.residence.facts import Fact
from registry.residence.tables import HoldRow, StatusEventRow

CASES_OF_ACTION = (Hold.LOSS, Hold.EXPIRED, Hold.ADMIN, Hold.CANCELLED)


@dataclass(frozen=True)
class MissingGround:
    """One cause without cover: its dates, and the facts that were looked at."""

    gap: Gap
    sent_on: date | None
    until: date | None
    looked_at: tuple[Fact, ...]


@dataclass(frozen=True)
class Explanation:
    """Everything behind a status on one day. `because` are the status events, newest first."""

    permit_no: str
    day: date
    status: str
    ssn: int
    since: date
    lease_until: date
    valid_until: date
    policy: Policy
    holds: tuple[tuple[str, date, str], ...]
    missing: tuple[MissingGround, ...]
    because: tuple[tuple[int, date, str, str], ...]
    not_counted: int

    def sentences(self, lang: str = "en") -> list[str]:
        """The explanation in words: status, causes with dates, what to do."""
        said = [_text("status", self.status, lang)]
        for lack in self.missing:
            said += [*_lack(lack, self.day, lang)]
        said += self._actions(lang)
        return said

    def _actions(self, lang: str) -> list[str]:
        kinds = {kind for kind, _, _ in self.holds}
        said = [_text("action", hold, lang) for hold in CASES_OF_ACTION if hold in kinds]
        if Hold.CANCELLED in kinds:
            return said
        for lack in self.missing:
            said.append(_text("action", lack.gap.cause, lang))
            if lack.sent_on is not None:
                days = self.policy.objection_days
                last_day = lack.sent_on + timedelta(days=days)
                if self.day <= last_day:
                    said.append(_text("action", "object", lang, days=days, last_day=last_day))
        if self.status == "DORMANT":
            said.append(_text("action", "wake", lang))
        return said

    def as_json(self) -> dict[str, Any]:
        """For programs: dates as ISO texts, no person's data."""
        return {
            "schema": "citycard/permit-explanation/1",
            "permit_no": self.permit_no,
            "day": str(self.day),
            "status": self.status,
            "since": str(self.since),
            "ssn": self.ssn,
            "lease_until": str(self.lease_until),
            "valid_until": str(self.valid_until),
            "policy": self.policy.version,
            "holds": [
                {"kind": kind, "since": str(since), "evidence": evidence}
                for kind, since, evidence in self.holds
            ],
            "missing": [_lack_json(lack) for lack in self.missing],
            "events": [
                {"ssn": ssn, "on": str(on), "status": status, "evidence": evidence}
                for ssn, on, status, evidence in self.because
            ],
            "days_not_counted": self.not_counted,
            "explanation_en": self.sentences("en"),
            "explanation_zh": self.sentences("zh"),
        }


def explain(tx: Tx, permit_no: str, day: date, policy: Policy = PILOT) -> Explanation:
    """The explanation of a permit's status on `day`. Raises NotFound E-PERMIT."""
    permit = permits.get(tx, permit_no)
    case = cases.one(tx, day, permit_no, policy)
    holds = tx.execute(
        select(HoldRow.kind, HoldRow.since, HoldRow.evidence)
        .where(HoldRow.permit_no == permit_no)
        .order_by(HoldRow.kind)
    ).all()
    events = tx.scalars(
        select(StatusEventRow)
        .where(StatusEventRow.permit_no == permit_no)
        .order_by(StatusEventRow.ssn.desc())
    ).all()
    lost_days = tx.scalars(select(SpellRow.not_counted).where(SpellRow.permit_no == permit_no))
    missing = () if case is None else tuple(_missing(case))
    return Explanation(
        permit_no=permit_no,
        day=day,
        status=shown_status({Hold(kind) for kind, _, _ in holds}, bool(missing)),
        ssn=permit.ssn,
        since=permit.effective_on,
        lease_until=permit.lease_until,
        valid_until=permit.valid_until,
        policy=policy,
        holds=tuple((kind, business_date(since), evidence) for kind, since, evidence in holds),
        missing=missing,
        because=tuple(
            (row.ssn, business_date(row.effective_at), ChipStatus(row.after).name, row.evidence)
            for row in events
        ),
        not_counted=sum(days or 0 for days in lost_days),
    )


def _missing(case: Case) -> Iterator[MissingGround]:
    for cause, gap in case.verdict.gaps.items():
        notice, first = case.notices.get(cause), case.delays.get(cause)
        yield MissingGround(
            gap,
            None if notice is None else notice.sent_on,
            None if first is None or first <= case.verdict.day else first - timedelta(days=1),
            tuple(fact for fact in case.facts if fact.kind in KINDS[cause]),
        )


def _lack(lack: MissingGround, day: date, lang: str) -> Iterator[str]:
    gap = lack.gap
    yield _text("cause", gap.cause, lang, gap_start=gap.gap_start)
    if gap.start is None or lack.sent_on is None:
        yield _text("when", "unsent", lang, due=gap.due)
    else:
        which = "past" if gap.sleeps(day) else "future"
        yield _text("when", which, lang, sent_on=lack.sent_on, start=gap.start)
    if lack.until is not None:
        yield _text("when", "delayed", lang, until=lack.until)


def _lack_json(lack: MissingGround) -> dict[str, Any]:
    gap = lack.gap
    return {
        "cause": str(gap.cause),
        "gap_start": str(gap.gap_start),
        "due": str(gap.due),
        "notice_sent": lack.sent_on and str(lack.sent_on),
        "postponed_until": lack.until and str(lack.until),
        "effective": gap.start and str(gap.start),
        "facts": [
            {"kind": fact.kind, "start": str(fact.start), "end": fact.end and str(fact.end)}
            for fact in lack.looked_at
        ],
    }


@cache
def _texts() -> dict[str, dict[str, dict[str, str]]]:
    text = resources.files("registry.dormancy").joinpath("explanation.toml").read_text("utf-8")
    return tomllib.loads(text)


def _text(group: str, name: str, lang: str, **values: object) -> str:
    return _texts()[group][name][lang].format_map(values)
