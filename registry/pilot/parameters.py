"""Values of the rules, each tied to its rule text, changed by two persons, from a day on (residence.md 20)."""

import tomllib
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import Any

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotAllowed, Rejected
from core.ids import uuid7
from registry.parameters import PILOT, Policy
from registry.pilot.tables import ParameterChangeRow
from registry.roles import Actor, Role, require, two_persons

HOUR = timedelta(hours=1)
APPROVERS = (Role.PILOT_OFFICE, Role.REVIEWER)


@dataclass(frozen=True)
class Link:
    """A parameter's name on the page of rules, and the rule text it fills in."""

    page: str
    rule: str


@cache
def links() -> dict[str, Link]:
    """The rule text of every parameter; one without a text, or a text without one, is a bug of the file."""
    text = resources.files("registry.pilot").joinpath("parameters.toml").read_text("utf-8")
    found = {name: Link(**entry) for name, entry in tomllib.loads(text).items()}
    known = {field.name for field in fields(Policy)}
    if set(found) != known:
        raise AssertionError(f"parameters and rule texts differ: {sorted(known ^ set(found))}")
    return found


def rule_of(name: str) -> Link:
    """Raises Rejected E-PARAMETER."""
    if name not in links():
        raise Rejected("E-PARAMETER", "no such parameter", name=name)
    return links()[name]


def propose(
    tx: Tx, clock: Clock, name: str, value: int, valid_from: date, document: str, actor: Actor
) -> str:
    """Ask for a new value (a span of time in hours); the change's id. Without approval it never counts.

    Raises NotAllowed E-ROLE; Rejected E-PARAMETER (unknown, negative, no document).
    """
    require(actor, *APPROVERS)
    rule_of(name)
    if name == "version" or value < 0 or not document.strip():
        raise Rejected("E-PARAMETER", "a value from 0 on and an approving document", name=name)
    change = uuid7(clock.now())
    tx.add(
        ParameterChangeRow(
            id=change, name=name, value=value, valid_from=valid_from,
            document=document.strip()[:200], proposed_by=actor.name,
        )
    )  # fmt: skip
    tx.flush()
    return change


def approve(tx: Tx, clock: Clock, change: str, actor: Actor) -> None:
    """The second person agrees; again changes nothing. Raises NotAllowed E-ROLE, E-SOD; Rejected E-PARAMETER."""
    require(actor, *APPROVERS)
    row = tx.get(ParameterChangeRow, change, with_for_update=True)
    if row is None:
        raise Rejected("E-PARAMETER", "no such change", name=change)
    if row.approved_by is not None:
        return
    two_persons(Actor.of(row.proposed_by), actor)
    row.approved_by, row.approved_at = actor.name, clock.now()
    tx.flush()
    events.append(
        tx, clock, "pilot.parameter_approved", row.name, actor=actor.name, value=row.value,
        valid_from=row.valid_from.isoformat(),
    )  # fmt: skip


def require_approved(tx: Tx, change: str) -> ParameterChangeRow:
    """The change, if two persons made it. Raises Rejected E-PARAMETER, NotAllowed E-UNAPPROVED."""
    row = tx.get(ParameterChangeRow, change)
    if row is None:
        raise Rejected("E-PARAMETER", "no such change", name=change)
    if row.approved_by is None:
        raise NotAllowed("E-UNAPPROVED", "one person alone changes nothing")
    return row


def policy_on(tx: Tx, day: date, base: Policy = PILOT) -> Policy:
    """The rules in force on `day`: `base` with every approved change up to then, and a version of its own."""
    changes = tx.scalars(
        select(ParameterChangeRow)
        .where(ParameterChangeRow.approved_by.is_not(None), ParameterChangeRow.valid_from <= day)
        .order_by(
            ParameterChangeRow.valid_from, ParameterChangeRow.approved_at, ParameterChangeRow.id
        )
    ).all()
    policy = base
    for row in changes:
        old = getattr(base, row.name)
        value = row.value * HOUR if isinstance(old, timedelta) else row.value
        changed: dict[str, Any] = {row.name: value}
        policy = replace(policy, **changed)
    return replace(policy, version=base.version + len(changes))


def rule_export(tx: Tx, day: date) -> list[dict[str, str]]:
    """Every parameter with its value of the day and the rule it belongs to, for the legislative office."""
    policy = policy_on(tx, day)
    return [
        {
            "parameter": name,
            "page": link.page,
            "rule": link.rule,
            "value": str(getattr(policy, name)),
        }
        for name, link in links().items()
    ]
