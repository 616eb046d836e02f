"""What a step of an application asks first: may it be taken from here, and by this person (residence.md 5.3)."""

from typing import Any

from sqlalchemy import bindparam, select

from core.clock import Clock
from core.db import Tx
from core.errors import NotAllowed, Rejected
from core.rows import Statement
from registry.residence.domain import ALLOWED, ChipStatus, State
from registry.residence.tables import ApplicationRow, PermitRow
from registry.roles import CLERKS, Actor, Role

_OPEN = Statement(
    select(ApplicationRow.id, ApplicationRow.acc_no).where(
        ApplicationRow.person_id == bindparam("person"), ApplicationRow.open.is_(True)
    )
)
_LIVE = Statement(
    select(PermitRow.permit_no).where(
        PermitRow.person_id == bindparam("person"), PermitRow.status != ChipStatus.CANCELLED
    )
)


def open_application(tx: Tx, person_id: str) -> Any | None:
    """`id` and `acc_no` of the one application a person may have under way (I1)."""
    return _OPEN.first(tx, person=person_id)


def live_permit(tx: Tx, person_id: str) -> str | None:
    """The number of the one permit a person may hold that is not cancelled."""
    found = _LIVE.first(tx, person=person_id)
    return None if found is None else str(found.permit_no)


def may(row: ApplicationRow, to: State) -> None:
    """Raises Rejected E-STATE, which names the states that are allowed."""
    allowed = ALLOWED[State(row.state)]
    if to not in allowed:
        raise Rejected(
            "E-STATE", f"{row.state} does not lead to {to}", state=row.state,
            allowed=", ".join(sorted(allowed)) or "-",
        )  # fmt: skip


def move(clock: Clock, row: ApplicationRow, to: State) -> bool:
    """Take a transition; False when the application is there already. Raises as `may`."""
    if row.state == to:
        return False
    may(row, to)
    row.state, row.state_since = to, clock.now()
    row.open = bool(ALLOWED[to])
    return True


def second_person(row: ApplicationRow, actor: Actor) -> None:
    """Raises NotAllowed E-SOD."""
    if row.accepted_by == actor.name:
        raise NotAllowed("E-SOD", "who accepted an application does not review it")


def own_case(row: ApplicationRow, actor: Actor) -> None:
    """An employer's operator works on what it saved itself; clerks and holders have doors of their own.

    Raises NotAllowed E-OWN.
    """
    if not actor.roles.intersection({*CLERKS, Role.HOLDER}) and row.saved_by != actor.name:
        raise NotAllowed("E-OWN", "somebody else saved this application")
