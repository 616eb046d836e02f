"""Signing in: a grant says who, in which roles, until which day; its token is shown once (residence.md 2, 11).

A token has 256 random bits, so its SHA-256 is enough to know it by. A clerk's grant opens nothing while the
person is untrained or the secondment is over: `training.admit` is asked at every sign-in, not only at the first.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import bindparam, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, Rejected
from core.rows import Statement
from registry.points import training
from registry.points.places import by_code
from registry.points.tables import GrantRow
from registry.roles import CLERKS, Actor, Role, require

TOKEN_BYTES = 32
MAX_NAME = 60
LONGEST = timedelta(days=366)
NEVER_GRANTED = frozenset({Role.SYSTEM})
_GRANT = Statement(
    select(
        GrantRow.person, GrantRow.roles, GrantRow.point, GrantRow.last_day, GrantRow.revoked_at
    ).where(GrantRow.token_hash == bindparam("token_hash"))
)


class NotSignedIn(NotAllowed):
    """Nobody is known by this token today: sign in again."""

    http_status = 401


@dataclass(frozen=True)
class SignedIn:
    """Who is there. `point`: where a clerk sits, empty for people who sit at none."""

    actor: Actor
    point: str


def grant(
    tx: Tx, clock: Clock, person: str, roles: Collection[Role], last_day: date, by: Actor,
    point: str = "",
) -> str:  # fmt: skip
    """Let a person in up to and including `last_day`; returns the token, which is never shown again.

    A holder's `person` is the id of the residence register. Raises NotAllowed E-ROLE, E-SOD (one's own grant);
    Rejected E-GRANT (no name, no role, the system's role, a clerk without a point), E-DATE (over a year, or
    past); NotFound E-POINT.
    """
    require(by, Role.SYSADMIN)
    if by.name == person:
        raise NotAllowed("E-SOD", "nobody lets themselves in")
    at_a_point = bool(set(roles) & set(CLERKS))
    named = 0 < len(person.strip()) <= MAX_NAME
    if not named or not roles or NEVER_GRANTED & set(roles) or at_a_point != bool(point):
        raise Rejected("E-GRANT", "a person, roles, and for a clerk a point")
    if point:
        by_code(point)
    today = business_date(clock.now())
    if not today <= last_day <= today + LONGEST:
        raise Rejected("E-DATE", "a grant ends within a year", column="last_day")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    tx.add(
        GrantRow(
            token_hash=_hash(token), person=person, roles=" ".join(sorted(set(roles))),
            point=point, last_day=last_day, granted_by=by.name, granted_at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()
    events.append(
        tx, clock, "access.granted", person, actor=by.name, roles=sorted(set(roles)),
        last_day=last_day.isoformat(),
    )  # fmt: skip
    return token


def sign_in(tx: Tx, clock: Clock, token: str) -> SignedIn:
    """Who holds this token today.

    Raises NotSignedIn E-SIGN-IN (unknown, ended, taken back); NotAllowed E-UNTRAINED, E-SECONDMENT-OVER.
    """
    row = _GRANT.first(tx, token_hash=_hash(token))
    if row is None or row.revoked_at is not None or row.last_day < business_date(clock.now()):
        raise NotSignedIn("E-SIGN-IN", "no grant is in force")
    roles = [Role(one) for one in row.roles.split()]
    if set(roles) & set(CLERKS):
        training.admit(tx, clock, row.person)
    return SignedIn(Actor.of(row.person, *roles), row.point)


def revoke(tx: Tx, clock: Clock, person: str, by: Actor) -> int:
    """Take back every grant of a person; how many were in force. Raises NotAllowed E-ROLE."""
    require(by, Role.SYSADMIN)
    rows = tx.scalars(
        select(GrantRow).where(GrantRow.person == person, GrantRow.revoked_at.is_(None))
    ).all()
    for row in rows:
        row.revoked_at = clock.now()
    tx.flush()
    if rows:
        events.append(tx, clock, "access.revoked", person, actor=by.name, grants=len(rows))
    return len(rows)


def granted(tx: Tx, clock: Clock) -> list[GrantRow]:
    """Grants in force, by person."""
    today = business_date(clock.now())
    return list(
        tx.scalars(
            select(GrantRow)
            .where(GrantRow.revoked_at.is_(None), GrantRow.last_day >= today)
            .order_by(GrantRow.person, GrantRow.granted_at)
        )
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
