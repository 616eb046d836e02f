"""The summary report 试点总结报告 (residence.md 16): thirteen sections from one frozen snapshot.

`freeze` reads the register once into plain values; everything after it is a pure function of that snapshot, so the
same snapshot gives the same bytes and one changed fact changes the cells that speak of it alone. The digest goes
into the event log, which is sealed: a report that was exchanged later is noticed.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from fractions import Fraction
from math import floor
from typing import Any

from sqlalchemy import func, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import EvidenceMismatch
from registry.dormancy import whatif
from registry.dormancy.tables import BreakerRow, SpellRow
from registry.exchange.messages import Type
from registry.exchange.tables import DeadLetterRow, MessageRow, ReconciliationRow
from registry.indicators import compute
from registry.indicators.tables import IndicatorRow
from registry.indicators.values import percent, trend
from registry.parameters import PILOT
from registry.pilot import issues, parameters, publicity, rollout, stages
from registry.pilot.purse_result import PurseFigures, go_no_go
from registry.pilot.tables import OpinionRow, SummaryRow, TaskRow, WorkflowRow
from registry.pilot.works_result import Works
from registry.points import burst, readiness, training
from registry.points.places import COUNT
from registry.points.tables import SecondmentRow
from registry.residence import burden, fees
from registry.residence.domain import Hold, Kind, shown_status
from registry.residence.tables import AccessRow, ApplicationRow, CardRow, HoldRow, PermitRow
from registry.roles import Actor, Role, require
from registry.services import gate
from registry.services.manifest import shipped
from registry.services.tables import ServiceRow

STREET_DIGITS = 9
NOTHING_HANDED_IN = Works()
WAVES = (60, 98)  # working days
Snapshot = dict[str, Any]
TITLES = (
    "1 Figures at a glance", "2 Indicators", "3 Trial run of the three systems",
    "4 Dormancy and activation", "5 Burst mode and capacity", "6 Production and fees",
    "7 Purse: go or no go", "8 Services", "9 Points, training, secondments",
    "10 Opinions and proposed changes", "11 Risks and open issues", "12 City-wide plan", "13 Annex",
)  # fmt: skip


def freeze(tx: Tx, clock: Clock, as_of: date, works: Works = NOTHING_HANDED_IN) -> Snapshot:
    """Everything the report says, as plain values, in one transaction; `works`: cards and purse, counted there."""
    return {
        "as_of": as_of.isoformat(),
        "sections": dict(
            zip(
                TITLES,
                (
                    _glance(tx), _indicators(tx), _trial(tx), _dormancy(tx, as_of), _burst(tx, works),
                    _production(tx, as_of, works), _purse(works.purse), _services(tx), _points(tx, clock),
                    _opinions(tx), _risks(tx), _plan(works),
                    _annex(tx, as_of),
                ),
                strict=True,
            )
        ),
    }  # fmt: skip


def _count(tx: Tx, *columns: Any) -> list[dict[str, Any]]:
    """Rows of a grouped count, ordered by their group."""
    found = tx.execute(select(*columns, func.count()).group_by(*columns).order_by(*columns))
    return [
        {**{c.key: v for c, v in zip(columns, row, strict=False)}, "count": row[-1]}
        for row in found
    ]


def _glance(tx: Tx) -> list[dict[str, Any]]:
    permits = list(tx.scalars(select(PermitRow)))
    held: dict[str, set[Hold]] = {}
    for number, kind in tx.execute(select(HoldRow.permit_no, HoldRow.kind)):
        held.setdefault(number, set()).add(Hold(kind))
    lines = [
        *(("permits", "issued") for _ in permits),
        *(("permits", "card collected") for one in permits if one.handed_over),
        *(("status", shown_status(held.get(one.permit_no, ()))) for one in permits),
        *(("street", one.address_code[:STREET_DIGITS]) for one in permits),
        *(("week", f"{one.issued_on:%G-W%V}") for one in permits),
        *(("point", one) for one in tx.scalars(select(ApplicationRow.point))),
    ]
    cost = burden.count(tx)
    return [
        *(
            {"by": by, "value": value, "count": count}
            for (by, value), count in sorted(Counter(lines).items())
        ),
        *(
            {"what": what, "numerator": n, "denominator": cost.applications}
            for what, n in (
                ("visits per application", cost.visits),
                ("fields typed again per application", cost.typed_again),
            )
        ),
    ]


def _indicators(tx: Tx) -> list[dict[str, Any]]:
    rows = tx.scalars(
        select(IndicatorRow).order_by(
            IndicatorRow.indicator, IndicatorRow.scope, IndicatorRow.as_of
        )
    )
    lines: list[dict[str, Any]] = []
    before: dict[tuple[str, str], tuple[int, int]] = {}  # the value one line up, of the same series
    for row in rows:
        series, now = (row.indicator, row.scope), (row.numerator, row.denominator)
        lines.append(
            {
                "indicator": row.indicator, "as_of": row.as_of.isoformat(), "scope": row.scope,
                "numerator": row.numerator, "denominator": row.denominator,
                "share": percent(*now), "trend": trend(now, before.get(series)),
                "method": row.method,
                "interval": "" if row.low is None or row.high is None else f"{row.low:.4f}-{row.high:.4f}",
                "target": row.target_percent, "verdict": row.verdict, "source": row.source,
            }
        )  # fmt: skip
        before[series] = now
    return lines


def _trial(tx: Tx) -> list[dict[str, Any]]:
    lines = [
        {"what": f"messages of {one['source']}", "count": one["count"]}
        for one in _count(tx, MessageRow.source)
    ]
    lines += [
        {"what": f"dead letters {one['code']} {one['state']}", "count": one["count"]}
        for one in _count(tx, DeadLetterRow.code, DeadLetterRow.state)
    ]
    lines += [
        {"what": f"refused messages, {one['category']}", "count": one["count"]}
        for one in _count(tx, DeadLetterRow.category)
    ]
    lines += _heard(tx)
    subjects, differing = tx.execute(
        select(func.sum(ReconciliationRow.subjects), func.sum(ReconciliationRow.differing))
    ).one()
    lines += [
        {"what": "subjects reconciled", "count": subjects or 0},
        {"what": "of them differing", "count": differing or 0},
    ]
    lines += [{"what": f"issues closed, {c}", "count": n} for c, n in issues.by_cause(tx).items()]
    median = issues.median_open(tx)
    lines.append(
        {
            "what": "median open time, s",
            "count": None if median is None else int(median.total_seconds()),
        }
    )
    for week in issues.by_week(tx):
        lines += [
            {"what": f"issues raised in {week.name}", "count": week.raised},
            {"what": f"issues closed in {week.name}", "count": week.closed},
        ]
    return lines


def _heard(tx: Tx) -> list[dict[str, Any]]:
    """On how many days a register said that it was up, of those from its first sign to its last."""
    days: dict[str, set[date]] = {}
    for source, at in tx.execute(
        select(MessageRow.source, MessageRow.recorded_at).where(MessageRow.type == Type.HEARTBEAT)
    ):
        days.setdefault(source, set()).add(business_date(at))
    return [
        {"what": f"days {source} was up", "numerator": len(heard),
         "denominator": (max(heard) - min(heard)).days + 1}
        for source, heard in sorted(days.items())
    ]  # fmt: skip


def _dormancy(tx: Tx, as_of: date) -> list[dict[str, Any]]:
    lines = [
        {"what": f"sleeps {one['cause']} {one['outcome'] or 'ASLEEP'}", "count": one["count"]}
        for one in _count(tx, SpellRow.cause, SpellRow.outcome)
    ]
    lines += [
        {"what": f"median days from the fact to the register, {way}", "count": days}
        for way, days in compute.lags(tx).items()
    ]
    stops = tx.execute(
        select(func.count(), func.count(BreakerRow.first_person)).select_from(BreakerRow)
    ).one()
    lines.append({"what": "sweeps the breaker stopped", "count": stops[0]})
    lines.append({"what": "of them released by two persons", "count": stops[1]})
    return lines + [
        {"what": "what-if", **{name: str(value) for name, value in asdict(outcome).items()}}
        for outcome in whatif.compare(tx, as_of)
    ]


def _burst(tx: Tx, works: Works) -> list[dict[str, Any]]:
    """The backlog by week, how long a decision took, and the district's sizing for a short and a long wave."""
    line, home = works.line, rollout.districts()[0]
    rows: list[dict[str, Any]] = []
    for days in WAVES:
        daily = burst.cards_a_day(home.people, Fraction(home.share_percent, 100), days)
        rows.append({"days": days, "cards_a_day": daily, "machines": burst.machines(daily, line)})
    waits = burden.lead_times(tx)
    for name, share in (("median", 50), ("95 of 100", 95)):
        wait = waits[-(-len(waits) * share // 100) - 1] if waits else None
        rows.append({"what": f"working days to a decision, {name}", "count": wait})
    return [*rows, *(asdict(week) for week in burden.backlog(tx))]


def _production(tx: Tx, as_of: date, works: Works) -> list[dict[str, Any]]:
    lines = [
        {"what": f"cards {one['state']}", "count": one["count"]}
        for one in _count(tx, CardRow.state)
    ]
    made = works.production
    if made is None:
        lines.append({"what": "figures of the card centre: none handed in", "count": None})
    else:
        lines += [{"what": name.replace("_", " "), "count": n} for name, n in asdict(made).items()]
    paid, refunded = fees.balance(tx)
    fee = fees.price(tx, Kind.NEW, as_of, parameters.policy_on(tx, as_of))
    return [
        *lines,
        {"what": "fees paid, fen", "count": paid},
        {"what": "fees refunded, fen", "count": refunded},
        {"what": "fee of a card, fen", "count": fee},
        {"what": "cost of a card, fen", "count": floor(works.cost_fen)},
    ]


def _plan(works: Works) -> list[dict[str, Any]]:
    """The city's plan, and which waste it counts with."""
    measured = works.production is not None and works.production.spoilage is not None
    waste = f"{works.line.spoilage} {'measured' if measured else 'assumed'}"
    return [
        {**asdict(one), "waste": waste} for one in rollout.plan(rollout.districts(), works.line)
    ]


def _purse(purse: PurseFigures | None) -> list[dict[str, Any]]:
    table = go_no_go(purse)
    lines = [{"criterion": name, "figure": figure, "met": met} for name, figure, met in table]
    for code, count in purse.refusals if purse else ():
        lines.append({"criterion": f"refused with {code}", "figure": str(count), "met": None})
    return [*lines, {"criterion": "answer", "figure": "", "met": all(met for *_, met in table)}]


def _services(tx: Tx) -> list[dict[str, Any]]:
    rows = tx.scalars(select(ServiceRow).order_by(ServiceRow.code))
    return [
        {
            "service": row.code, "version": row.version, "state": row.state,
            "open": ", ".join(gate.open_items(tx, shipped()[row.code], gate.State.LIVE)),
        }
        for row in rows
    ]  # fmt: skip


def _points(tx: Tx, clock: Clock) -> list[dict[str, Any]]:
    staff = training.coverage(tx, clock)
    away = tx.scalar(select(func.count()).where(SecondmentRow.returned_at.is_(None))) or 0
    back = tx.scalar(select(func.count()).where(SecondmentRow.returned_at.is_not(None))) or 0
    figures = (
        ("points ready", len(readiness.ready_points(tx, clock)), COUNT),
        ("staff certified", staff.certified, staff.required),
        ("secondments returned", back, back + away),
    )
    return [{"what": what, "numerator": n, "denominator": d} for what, n, d in figures]


def _opinions(tx: Tx) -> list[dict[str, Any]]:
    told = [
        {"publicity": channel, "count": count}
        for channel, count in publicity.by_channel(tx).items()
    ]
    return _count(tx, OpinionRow.rule, OpinionRow.channel, OpinionRow.disposition) + told


def _risks(tx: Tx) -> list[dict[str, Any]]:
    looks = tx.execute(
        select(func.count(), func.count().filter(AccessRow.full.is_(True))).select_from(AccessRow)
    ).one()
    lines: list[dict[str, Any]] = [
        {"what": "looks at records, for a purpose and a case", "count": looks[0]},
        {"what": "of them in full", "count": looks[1]},
    ]
    lines += [
        {"what": "open issue", "id": one.id, "severity": one.severity, "system": one.system}
        for one in issues.open_issues(tx)
    ]
    late = tx.scalars(select(TaskRow).where(TaskRow.done_at.is_(None)).order_by(TaskRow.id))
    return lines + [
        {"what": "open duty", "id": row.id, "owner": row.owner, "deadline": row.deadline.isoformat()}
        for row in late
    ]  # fmt: skip


def _annex(tx: Tx, as_of: date) -> list[dict[str, Any]]:
    versions = tx.scalars(select(WorkflowRow).order_by(WorkflowRow.version))
    return [
        *parameters.rule_export(tx, as_of),
        {"workflow": 1, "valid_from": "", "reason": "as first enacted"},
        *(
            {"workflow": row.version, "valid_from": row.valid_from.isoformat(), "reason": row.reason}
            for row in versions
        ),
        *(
            {"stage": one.name, "first": one.first.isoformat(), "last": one.last.isoformat()}
            for one in stages.stages()
        ),
        {"limit": f"policy {PILOT.version}; the two registers behind E2 are not independent of each other"},
    ]  # fmt: skip


def as_json(snapshot: Snapshot) -> str:
    """The report as one JSON object."""
    return json.dumps(snapshot, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def digest(snapshot: Snapshot) -> str:
    """SHA-256 of the JSON, 64 hex digits."""
    return hashlib.sha256(as_json(snapshot).encode()).hexdigest()


def annexes(snapshot: Snapshot) -> dict[str, str]:
    """One CSV per section, named ``section-NN.csv``."""
    found = {}
    for title, rows in snapshot["sections"].items():
        out = io.StringIO()
        writer = csv.DictWriter(out, columns(rows), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        found[f"section-{int(title.split()[0]):02d}.csv"] = out.getvalue()
    return found


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """The columns of a section in their order."""
    return list(dict.fromkeys(name for row in rows for name in row))


def cells(snapshot: Snapshot) -> Mapping[tuple[str, int, str], Any]:
    """Every cell by section, row and column: two reports are compared with these."""
    return {
        (title, number, name): value
        for title, rows in snapshot["sections"].items()
        for number, row in enumerate(rows)
        for name, value in row.items()
    }


def publish(tx: Tx, clock: Clock, snapshot: Snapshot, actor: Actor) -> str:
    """Keep the report's digest, in the register and as an event; the same report again changes nothing.

    Raises NotAllowed E-ROLE; Rejected E-STAGE outside the summary stage.
    """
    require(actor, Role.PILOT_OFFICE)
    stages.require_allowed(clock, stages.Activity.SUMMARISE)
    found = digest(snapshot)
    if tx.get(SummaryRow, found) is None:
        as_of = date.fromisoformat(snapshot["as_of"])
        tx.add(SummaryRow(digest=found, as_of=as_of, made_at=clock.now(), made_by=actor.name))
        tx.flush()
        events.append(tx, clock, "pilot.summary_made", found, actor=actor.name)
    return found


def verify(tx: Tx, text: str) -> None:
    """Whether a report's JSON text is one that was published. Raises EvidenceMismatch E-SUMMARY."""
    found = hashlib.sha256(text.encode()).hexdigest()
    if tx.get(SummaryRow, found) is None:
        raise EvidenceMismatch("E-SUMMARY", "no report with this content was published")
