"""Readiness of the 23 points: every mandatory item green, signed by police and district (residence.md 11).

The gate opens for all points together, when all 23 are ready: 22 keep it shut (T26).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from core.rows import Statement
from registry.points import training
from registry.points.places import COUNT, all_points, by_code
from registry.points.tables import ReadyItemRow, ReadySignatureRow
from registry.roles import Actor, Role, require

TRAINED_STAFF = 2
_NOTED = Statement(select(ReadyItemRow.point).limit(1))


class Item(StrEnum):
    """What a point needs."""

    PREMISES = "PREMISES"
    POWER = "POWER"
    NETWORK = "NETWORK"
    COMPUTERS = "COMPUTERS"
    ID_READER = "ID_READER"
    CARD_READER = "CARD_READER"
    PRINTER = "PRINTER"
    PHOTO = "PHOTO"
    SOFTWARE = "SOFTWARE"
    TEST_RUN = "TEST_RUN"
    STAFF = "STAFF"
    FEE_ACCOUNT = "FEE_ACCOUNT"
    FORMS = "FORMS"
    PAPER_PROCEDURE = "PAPER_PROCEDURE"
    TERMINAL = "TERMINAL"


class Office(StrEnum):
    """Both must sign."""

    POLICE = "POLICE"
    DISTRICT = "DISTRICT"


SIGNERS = {Office.POLICE: Role.POLICE_CLERK, Office.DISTRICT: Role.PILOT_OFFICE}


@dataclass(frozen=True)
class Readiness:
    """A point's standing: what is still open, who has not signed."""

    point: str
    open_items: tuple[Item, ...]
    unsigned: tuple[Office, ...]

    @property
    def ready(self) -> bool:
        """Nothing open, both signed."""
        return not self.open_items and not self.unsigned


def note(
    tx: Tx, clock: Clock, point: str, item: Item, green: bool, evidence: str, actor: Actor
) -> None:
    """Enter one item; turning it off takes the signatures away. STAFF is counted, not noted.

    Raises NotAllowed E-ROLE, NotFound E-POINT, Rejected E-EVIDENCE (green without evidence), E-COUNTED.
    """
    require(actor, Role.PILOT_OFFICE, Role.SYSADMIN, Role.POLICE_CLERK, Role.STATION_CLERK)
    by_code(point)
    if item is Item.STAFF:
        raise Rejected("E-COUNTED", "trained staff are counted from the exams")
    if green and not evidence.strip():
        raise Rejected("E-EVIDENCE", "say what shows it", item=item)
    row = tx.get(ReadyItemRow, (point, item))
    if row is None:
        row = ReadyItemRow(point=point, item=item)
        tx.add(row)
    row.green, row.evidence = green, evidence.strip()[:200]
    row.noted_by, row.noted_at = actor.name, clock.now()
    if not green:
        tx.query(ReadySignatureRow).filter_by(point=point).delete()
    tx.flush()


def standing(tx: Tx, clock: Clock, point: str) -> Readiness:
    """Where a point stands today."""
    by_code(point)
    green = set(
        tx.scalars(
            select(ReadyItemRow.item).where(
                ReadyItemRow.point == point, ReadyItemRow.green.is_(True)
            )
        )
    )
    if len(training.certified_at(tx, clock, point)) >= TRAINED_STAFF:
        green.add(Item.STAFF)
    signed = set(
        tx.scalars(select(ReadySignatureRow.office).where(ReadySignatureRow.point == point))
    )
    return Readiness(
        point,
        tuple(item for item in Item if item not in green),
        tuple(office for office in Office if office not in signed),
    )


def sign(tx: Tx, clock: Clock, point: str, office: Office, actor: Actor) -> Readiness:
    """One office signs a point without open items. Raises NotAllowed E-ROLE; Rejected E-NOT-READY."""
    require(actor, SIGNERS[office])
    found = standing(tx, clock, point)
    if found.open_items:
        raise Rejected("E-NOT-READY", "items are open", items=", ".join(found.open_items))
    if office in found.unsigned:
        tx.add(
            ReadySignatureRow(
                point=point, office=office, signed_by=actor.name, signed_at=clock.now()
            )
        )
        tx.flush()
        events.append(tx, clock, "point.signed", point, actor=actor.name, office=office)
    return replace(found, unsigned=tuple(one for one in found.unsigned if one is not office))


def begun(tx: Tx) -> bool:
    """Whether anything was noted about any point yet."""
    return _NOTED.first(tx) is not None


def ready_points(tx: Tx, clock: Clock) -> list[str]:
    """Codes of the points that are ready (the numerator of P1)."""
    return [point.code for point in all_points() if standing(tx, clock, point.code).ready]


def require_all_ready(tx: Tx, clock: Clock) -> None:
    """The stage gate. Raises Rejected E-POINTS with the number that is ready."""
    ready = ready_points(tx, clock)
    if len(ready) != COUNT:
        missing = [point.code for point in all_points() if point.code not in ready]
        raise Rejected("E-POINTS", f"not ready: {', '.join(missing)}", ready=len(ready), all=COUNT)
