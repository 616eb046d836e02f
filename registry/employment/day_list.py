"""A day's list of hires, entered in one piece: a town's employers report thousands of people a day.

Newcomers whose line is plainly right are written together; every other line (a known worker, a wrong
number, a closed employer) goes through `service.hire`, where the rules stand. A bad line stops no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import insert, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from core.ids import uuid7
from registry.employment import domain, service, workers
from registry.employment.tables import EmployerRow, EmploymentRow
from registry.employment.workers import Worker
from registry.exchange.day_list import PIECE, News, send_all
from registry.exchange.messages import Type
from registry.identifiers import citizen_birth, validate_citizen_id


@dataclass(frozen=True, repr=False)
class Hire:
    """One line: the employer's organisation code, the worker, the first day."""

    employer: str
    citizen_id: str
    name: str
    start: date


def hire_all(tx: Tx, clock: Clock, lines: Sequence[Hire]) -> list[str | Rejected]:
    """Enter a list in its order; for each line the record's id, or why it was refused."""
    found: list[str | Rejected] = []
    for first in range(0, len(lines), PIECE):
        found += _hire_piece(tx, clock, lines[first : first + PIECE])
    return found


def _hire_piece(tx: Tx, clock: Clock, lines: Sequence[Hire]) -> list[str | Rejected]:
    open_ones = tx.execute(
        select(EmployerRow.code, EmployerRow.id).where(
            EmployerRow.code.in_({line.employer for line in lines}),
            EmployerRow.closed_on.is_(None),
        )
    )
    accounts = dict(open_ones.all())
    fresh = _newcomers(tx, clock, lines, accounts)
    written = _write(tx, clock, [(n, lines[n], index) for n, index in fresh.items()], accounts)
    return [written.get(number) or _one(tx, clock, line) for number, line in enumerate(lines)]


def _newcomers(
    tx: Tx, clock: Clock, lines: Sequence[Hire], accounts: dict[str, str]
) -> dict[int, str]:
    """Numbers of lines that break no rule and name, for the first time, somebody unknown; with the index."""
    today = business_date(clock.now())
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        right = line.employer in accounts and validate_citizen_id(line.citizen_id, today)
        if right and right.ok and right.normalized == line.citizen_id and _may_start(line, today):
            found.setdefault(line.citizen_id, number)
    fresh = workers.unknown(tx, list(found))
    return {found[citizen_id]: index for citizen_id, index in fresh.items()}


def _may_start(line: Hire, today: date) -> bool:
    try:
        domain.check_start(citizen_birth(line.citizen_id), line.start, today)
    except Rejected:
        return False  # `service.hire` says it again, with its reason
    return True


def _write(
    tx: Tx, clock: Clock, lines: Sequence[tuple[int, Hire, str]], accounts: dict[str, str]
) -> dict[int, str]:
    """Workers, records and messages of newcomers; the records' ids by the number of the line."""
    if not lines:
        return {}
    now, today = clock.now(), business_date(clock.now())
    people = [(Worker(line.citizen_id, line.name), index) for _, line, index in lines]
    records, rows, news = {}, [], []
    for (number, line, _), (who, link) in zip(
        lines, workers.admit_all(tx, clock, people), strict=True
    ):
        record, employer = uuid7(now), accounts[line.employer]
        records[number] = record
        rows.append(
            {
                "id": record, "worker_id": who, "employer_id": employer, "start": line.start,
                "reported_at": now,
            }
        )  # fmt: skip
        payload = {"record": record, "employer": employer, "start": line.start.isoformat()}
        news.append(News(Type.PERSON_LINKED, who, today, {"citizen_index": link}))
        news.append(News(Type.EMPLOYMENT_STARTED, who, line.start, payload))
    tx.execute(insert(EmploymentRow), rows)
    send_all(tx, clock, workers.SOURCE, news)
    return records


def _one(tx: Tx, clock: Clock, line: Hire) -> str | Rejected:
    try:
        with tx.begin_nested():
            return service.hire(tx, clock, line.employer, line.citizen_id, line.name, line.start)
    except Rejected as refused:
        return refused
