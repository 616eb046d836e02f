"""Versions of the workflow: what each step may take; old cases finish on the old one (residence.md 16, SD-51)."""

import json
from collections.abc import Mapping
from datetime import date

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from registry.parameters import PILOT
from registry.pilot.tables import WorkflowRow
from registry.residence.domain import State, add_working_days
from registry.residence.tables import ApplicationRow
from registry.residence.watchdog import limits as first_limits
from registry.roles import Actor, Role, require, two_persons

FIRST_VERSION = 1


def enact(
    tx: Tx, clock: Clock, limits: Mapping[State, int], valid_from: date, reason: str,
    first: Actor, second: Actor,
) -> int:  # fmt: skip
    """A new version: working days of the steps named, the others as before. Returns its number.

    Raises NotAllowed E-ROLE, E-SOD; Rejected E-WORKFLOW (unknown step, no reason, not after the last version
    or not after today: nobody's running case changes under their feet).
    """
    for actor in (first, second):
        require(actor, Role.PILOT_OFFICE, Role.REVIEWER)
    two_persons(first, second)
    if not limits or not set(limits) <= set(first_limits()) or min(limits.values()) < 1:
        raise Rejected("E-WORKFLOW", "limits of at least a day for steps that have one")
    newest = tx.scalar(select(WorkflowRow).order_by(WorkflowRow.version.desc()).limit(1))
    if valid_from <= business_date(clock.now()) or (newest and valid_from <= newest.valid_from):
        raise Rejected("E-WORKFLOW", "it begins after today and after the version before it")
    if not reason.strip():
        raise Rejected("E-WORKFLOW", "say which workshop asked for it")
    version = (newest.version if newest else FIRST_VERSION) + 1
    before = json.loads(newest.limits) if newest else {}
    merged = {**before, **{state.value: days for state, days in limits.items()}}
    tx.add(
        WorkflowRow(
            version=version, valid_from=valid_from, limits=json.dumps(merged, sort_keys=True),
            reason=reason.strip()[:200], first_by=first.name, second_by=second.name,
        )
    )  # fmt: skip
    tx.flush()
    events.append(
        tx, clock, "pilot.workflow_approved", str(version), actor=second.name,
        valid_from=valid_from.isoformat(),
    )  # fmt: skip
    return version


def version_on(tx: Tx, day: date) -> tuple[int, dict[State, int]]:
    """Number and limits of the version for cases accepted on `day`."""
    row = tx.scalar(
        select(WorkflowRow)
        .where(WorkflowRow.valid_from <= day)
        .order_by(WorkflowRow.version.desc())
        .limit(1)
    )
    found = first_limits(PILOT)
    if row is None:
        return FIRST_VERSION, found
    changed = {State(name): days for name, days in json.loads(row.limits).items()}
    return row.version, {**found, **changed}


def overdue(tx: Tx, day: date) -> list[tuple[str, State, int]]:
    """Open applications whose step takes longer than the version of their own acceptance day allows.

    (acceptance number, step, version), the oldest first.
    """
    found = []
    rows = tx.scalars(
        select(ApplicationRow)
        .where(ApplicationRow.open.is_(True), ApplicationRow.acc_no.is_not(None))
        .order_by(ApplicationRow.accepted_at, ApplicationRow.id)
    )
    for row in rows:
        if row.accepted_at is None or row.acc_no is None:
            continue
        version, allowed = version_on(tx, business_date(row.accepted_at))
        state = State(row.state)
        if state in allowed:
            last = add_working_days(business_date(row.state_since), allowed[state])
            if day > last:
                found.append((row.acc_no, state, version))
    return found
