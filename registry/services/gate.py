"""The maturity gate: a service moves on when every item is closed and two organisations signed (residence.md 14).

The default answer is no. What goes wrong later takes a service back to SUSPENDED at once, by one person.
"""

from enum import StrEnum

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from registry.roles import Actor, Role, require
from registry.services.manifest import Manifest, shipped
from registry.services.tables import GateItemRow, ServiceRow, ServiceSignatureRow

ORGANISATIONS = 2
PLACES_ON_CARD = 16
CARD_BUDGET = 1_024  # bytes that the residence application keeps for services (purse-card.md 12.1)


class State(StrEnum):
    """Life of a service."""

    PROPOSED = "PROPOSED"
    REVIEW = "REVIEW"
    SANDBOX = "SANDBOX"
    LIMITED = "LIMITED"
    LIVE = "LIVE"
    SUSPENDED = "SUSPENDED"
    RETIRED = "RETIRED"


ALLOWED: dict[State, frozenset[State]] = {
    State.PROPOSED: frozenset({State.REVIEW, State.RETIRED}),
    State.REVIEW: frozenset({State.SANDBOX, State.RETIRED}),
    State.SANDBOX: frozenset({State.LIMITED, State.SUSPENDED, State.RETIRED}),
    State.LIMITED: frozenset({State.LIVE, State.SUSPENDED, State.RETIRED}),
    State.LIVE: frozenset({State.SUSPENDED, State.RETIRED}),
    State.SUSPENDED: frozenset({State.LIMITED, State.LIVE, State.RETIRED}),
    State.RETIRED: frozenset(),
}
ON_CARDS = frozenset({State.LIMITED, State.LIVE, State.SUSPENDED})
RUNNING = frozenset({State.LIMITED, State.LIVE})


class Item(StrEnum):
    """What must be there before anything runs on people's cards."""

    LEGAL_BASIS = "LEGAL_BASIS"
    OWNER = "OWNER"
    DATA_CONTRACT = "DATA_CONTRACT"
    INTERFACE_TEST = "INTERFACE_TEST"
    CHIP_BUDGET = "CHIP_BUDGET"
    HOLD_BEHAVIOUR = "HOLD_BEHAVIOUR"
    OFFLINE = "OFFLINE"
    MIGRATION = "MIGRATION"
    SUPPORT = "SUPPORT"
    PRIVACY = "PRIVACY"
    LOAD_TEST = "LOAD_TEST"
    ROLL_BACK = "ROLL_BACK"
    FEE = "FEE"
    PILOT_KPI = "PILOT_KPI"


COUNTED = frozenset({Item.LEGAL_BASIS, Item.CHIP_BUDGET, Item.DATA_CONTRACT})
NEEDED = {
    State.SANDBOX: frozenset({Item.LEGAL_BASIS, Item.OWNER, Item.DATA_CONTRACT, Item.PRIVACY}),
    State.LIMITED: frozenset(Item) - {Item.PILOT_KPI},
    State.LIVE: frozenset(Item),
}


def propose(tx: Tx, clock: Clock, manifest: Manifest, actor: Actor) -> ServiceRow:
    """A service asks to be taken in. Raises NotAllowed E-ROLE; Rejected E-SERVICE-TWICE."""
    require(actor, Role.SERVICE_OWNER, Role.PILOT_OFFICE)
    known = tx.scalar(
        select(ServiceRow.code).where(
            (ServiceRow.code == manifest.code) | (ServiceRow.number == manifest.id)
        )
    )
    if known is not None:
        raise Rejected("E-SERVICE-TWICE", "code or number is taken", service=known)
    row = ServiceRow(
        code=manifest.code, number=manifest.id, version=manifest.version, state=State.PROPOSED,
        limited_to=None, changed_at=clock.now(),
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    events.append(tx, clock, "service.moved", manifest.code, actor=actor.name, state=State.PROPOSED)
    return row


def close_item(tx: Tx, clock: Clock, code: str, item: Item, evidence: str, actor: Actor) -> None:
    """Close one item with its evidence. Legal basis, data contract and chip budget are read from the manifest.

    Raises NotAllowed E-ROLE; NotFound E-SERVICE; Rejected E-EVIDENCE, E-COUNTED.
    """
    require(actor, Role.PILOT_OFFICE)
    get(tx, code)
    if item in COUNTED:
        raise Rejected("E-COUNTED", "the manifest decides it")
    if not evidence.strip():
        raise Rejected("E-EVIDENCE", "say what shows it", item=item)
    if tx.get(GateItemRow, (code, item)) is None:
        tx.add(
            GateItemRow(
                code=code, item=item, evidence=evidence.strip()[:200], closed_by=actor.name,
                closed_at=clock.now(),
            )
        )  # fmt: skip
        tx.flush()


def open_items(tx: Tx, manifest: Manifest, to: State) -> list[Item]:
    """What still keeps a service from a state, in the gate's order."""
    closed = set(tx.scalars(select(GateItemRow.item).where(GateItemRow.code == manifest.code)))
    closed |= {item for item in COUNTED if _holds(tx, manifest, item)}
    return [item for item in Item if item in NEEDED.get(to, frozenset()) and item not in closed]


def _holds(tx: Tx, manifest: Manifest, item: Item) -> bool:
    if item is Item.LEGAL_BASIS:
        return bool(manifest.legal_basis.strip())
    if item is Item.DATA_CONTRACT:
        return bool(manifest.purpose.strip()) and manifest.retention_days > 0
    return fits(tx, manifest)


def fits(tx: Tx, manifest: Manifest) -> bool:
    """Whether places and bytes on the card are enough beside all services that are on cards already."""
    others = [
        shipped()[row.code].eeprom_bytes
        for row in tx.scalars(select(ServiceRow).where(ServiceRow.state.in_(ON_CARDS)))
        if row.code != manifest.code and row.code in shipped()
    ]
    return len(others) < PLACES_ON_CARD and sum(others) + manifest.eeprom_bytes <= CARD_BUDGET


def sign(tx: Tx, clock: Clock, code: str, to: State, organisation: str, actor: Actor) -> int:
    """One organisation agrees to a step; how many have. Raises NotAllowed E-ROLE, E-SOD (one person twice)."""
    require(actor, Role.PILOT_OFFICE, Role.SERVICE_OWNER)
    get(tx, code)
    given = tx.scalars(
        select(ServiceSignatureRow).where(
            ServiceSignatureRow.code == code, ServiceSignatureRow.step == to
        )
    ).all()
    if any(one.organisation == organisation for one in given):
        return len(given)
    if any(one.signed_by == actor.name for one in given):
        raise NotAllowed("E-SOD", "one person signs for one organisation")
    tx.add(
        ServiceSignatureRow(
            code=code, step=to, organisation=organisation, signed_by=actor.name,
            signed_at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()
    return len(given) + 1


def advance(
    tx: Tx, clock: Clock, manifest: Manifest, to: State, actor: Actor, limited_to: str = ""
) -> None:
    """Take a step. Back to SUSPENDED or RETIRED needs one person; forward every item and two organisations.

    `limited_to`: a point (3 digits) or street (9 digits) for LIMITED. Raises NotAllowed E-ROLE; NotFound
    E-SERVICE; Rejected E-STATE, E-IMMATURE (the open items), E-SIGNATURES, E-PLACE.
    """
    require(actor, Role.PILOT_OFFICE)
    row = get(tx, manifest.code)
    if to not in ALLOWED[State(row.state)]:
        raise Rejected(
            "E-STATE", f"{row.state} does not lead to {to}", state=row.state,
            allowed=", ".join(sorted(ALLOWED[State(row.state)])) or "-",
        )  # fmt: skip
    if to in NEEDED:
        missing = open_items(tx, manifest, to)
        if missing:
            raise Rejected("E-IMMATURE", "items are open", items=", ".join(missing))
        signed = tx.scalars(
            select(ServiceSignatureRow.organisation).where(
                ServiceSignatureRow.code == row.code, ServiceSignatureRow.step == to
            )
        ).all()
        if len(signed) < ORGANISATIONS:
            raise Rejected("E-SIGNATURES", "two organisations sign", signed=len(signed))
    if to is State.LIMITED and not limited_to:
        raise Rejected("E-PLACE", "a limited service has one point or street")
    row.state, row.changed_at = to, clock.now()
    row.limited_to = limited_to or None
    tx.flush()
    events.append(tx, clock, "service.moved", row.code, actor=actor.name, state=to)


def get(tx: Tx, code: str) -> ServiceRow:
    """Raises NotFound E-SERVICE."""
    row = tx.get(ServiceRow, code, with_for_update=True)
    if row is None:
        raise NotFound("E-SERVICE", "no such service", service=code)
    return row
