"""State tables of the production floor: work orders, cards, batches, parcels, lots (production.md 4).

Each machine is an `Enum` and one table of allowed steps. `step` takes one; a step that is not in the
table raises Rejected W-STATE with the allowed ones named, and repeating a step that was taken changes
nothing.
"""

import itertools
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol, TypeVar

from core.errors import Rejected


class WorkState(StrEnum):
    """One attempt to make a card (4.2)."""

    DRAFT = "DRAFT"
    READY = "READY"
    RELEASED = "RELEASED"
    CLAIMED = "CLAIMED"
    MAKING = "MAKING"
    MADE = "MADE"
    UNCERTAIN = "UNCERTAIN"
    ACCEPTED = "ACCEPTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


WORK_ALLOWED: dict[WorkState, frozenset[WorkState]] = {
    WorkState.DRAFT: frozenset({WorkState.READY, WorkState.CANCELLED}),
    WorkState.READY: frozenset({WorkState.RELEASED, WorkState.CANCELLED}),
    WorkState.RELEASED: frozenset({WorkState.CLAIMED, WorkState.CANCELLED}),
    WorkState.CLAIMED: frozenset({WorkState.RELEASED, WorkState.MAKING}),
    WorkState.MAKING: frozenset({WorkState.MADE, WorkState.FAILED, WorkState.UNCERTAIN}),
    WorkState.UNCERTAIN: frozenset({WorkState.MADE, WorkState.FAILED}),
    WorkState.MADE: frozenset({WorkState.ACCEPTED, WorkState.FAILED}),
    # Two people may void a card that passed, until it is packed (section 5).
    WorkState.ACCEPTED: frozenset({WorkState.FAILED}),
    WorkState.FAILED: frozenset(),
    WorkState.CANCELLED: frozenset(),
}
DEAD_WORK = frozenset({WorkState.FAILED, WorkState.CANCELLED})
OPEN_WORK = frozenset({WorkState.RELEASED, WorkState.CLAIMED, WorkState.MAKING})


class Place(StrEnum):
    """Where one plastic is (4.3). Blanks before the feed are counted, not listed (`stock.py`)."""

    FED = "FED"
    BOUND = "BOUND"
    ENCODED = "ENCODED"
    PRINTED = "PRINTED"
    EJECTED = "EJECTED"
    INSPECTED = "INSPECTED"
    PACKED = "PACKED"
    IN_TRANSIT = "IN_TRANSIT"
    AT_POINT = "AT_POINT"
    HANDED_OVER = "HANDED_OVER"
    UNCOLLECTED = "UNCOLLECTED"
    RECALLED = "RECALLED"
    SPOILED = "SPOILED"
    IN_REJECT = "IN_REJECT"
    COUNTED = "COUNTED"
    DESTROYED = "DESTROYED"
    SAMPLE = "SAMPLE"
    ARCHIVED = "ARCHIVED"
    MISSING = "MISSING"


CHAIN = (
    Place.FED, Place.BOUND, Place.ENCODED, Place.PRINTED, Place.EJECTED, Place.INSPECTED,
    Place.PACKED, Place.IN_TRANSIT, Place.AT_POINT, Place.HANDED_OVER,
)  # fmt: skip
LIVE = frozenset(CHAIN[1:])  # live documents: bound ... handed over
IN_WORK = frozenset(CHAIN[:4])  # inside a machine, or nobody knows where
GOOD = frozenset(CHAIN[4:]) | {Place.UNCOLLECTED, Place.RECALLED}
WASTE = frozenset({Place.SPOILED, Place.IN_REJECT, Place.COUNTED})


def _card_steps() -> dict[Place, frozenset[Place]]:
    """Forward only along the chain; to the waste from everywhere before the hand-over."""
    steps: dict[Place, set[Place]] = {place: set() for place in Place}
    for here, there in itertools.pairwise(CHAIN):
        steps[here].add(there)
    for place in CHAIN[:-1]:
        steps[place] |= {Place.SPOILED, Place.MISSING}
    steps[Place.FED].add(Place.SAMPLE)
    steps[Place.AT_POINT] |= {Place.UNCOLLECTED, Place.RECALLED}
    steps[Place.HANDED_OVER].add(Place.RECALLED)
    steps[Place.UNCOLLECTED].add(Place.RECALLED)
    steps[Place.RECALLED] |= {Place.COUNTED, Place.DESTROYED}
    steps[Place.SPOILED] |= {Place.IN_REJECT, Place.COUNTED}
    steps[Place.IN_REJECT].add(Place.COUNTED)
    steps[Place.COUNTED].add(Place.DESTROYED)
    steps[Place.SAMPLE] |= {Place.DESTROYED, Place.ARCHIVED}
    steps[Place.MISSING].add(Place.SPOILED)
    return {place: frozenset(found) for place, found in steps.items()}


CARD_ALLOWED = _card_steps()


class BatchState(StrEnum):
    """A batch (4.4)."""

    PLANNED = "PLANNED"
    RELEASED = "RELEASED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"
    COUNTED = "COUNTED"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"


BATCH_ALLOWED: dict[BatchState, frozenset[BatchState]] = {
    BatchState.PLANNED: frozenset({BatchState.RELEASED, BatchState.CANCELLED}),
    BatchState.RELEASED: frozenset({BatchState.RUNNING, BatchState.CANCELLED}),
    BatchState.RUNNING: frozenset({BatchState.PAUSED, BatchState.FINISHED}),
    BatchState.PAUSED: frozenset({BatchState.RUNNING, BatchState.FINISHED}),
    BatchState.FINISHED: frozenset({BatchState.COUNTED}),
    BatchState.COUNTED: frozenset({BatchState.CLOSED}),
    BatchState.CLOSED: frozenset(),
    BatchState.CANCELLED: frozenset(),
}


class LotState(StrEnum):
    """A delivery of blanks (4.6)."""

    ANNOUNCED = "ANNOUNCED"
    RECEIVED = "RECEIVED"
    IN_USE = "IN_USE"
    QUARANTINED = "QUARANTINED"
    EXHAUSTED = "EXHAUSTED"
    CLOSED = "CLOSED"


LOT_ALLOWED: dict[LotState, frozenset[LotState]] = {
    LotState.ANNOUNCED: frozenset({LotState.RECEIVED}),
    LotState.RECEIVED: frozenset({LotState.IN_USE, LotState.QUARANTINED}),
    LotState.IN_USE: frozenset({LotState.EXHAUSTED, LotState.QUARANTINED}),
    LotState.QUARANTINED: frozenset({LotState.IN_USE, LotState.CLOSED}),
    LotState.EXHAUSTED: frozenset({LotState.CLOSED, LotState.IN_USE}),
    LotState.CLOSED: frozenset(),
}


class ParcelState(StrEnum):
    """A sealed bag (4.5)."""

    OPEN = "OPEN"
    SEALED = "SEALED"
    WITH_COURIER = "WITH_COURIER"
    RECEIVED = "RECEIVED"
    DISPUTED = "DISPUTED"
    RECONCILED = "RECONCILED"


PARCEL_ALLOWED: dict[ParcelState, frozenset[ParcelState]] = {
    ParcelState.OPEN: frozenset({ParcelState.SEALED}),
    ParcelState.SEALED: frozenset({ParcelState.WITH_COURIER}),
    ParcelState.WITH_COURIER: frozenset({ParcelState.RECEIVED}),
    ParcelState.RECEIVED: frozenset({ParcelState.DISPUTED, ParcelState.RECONCILED}),
    ParcelState.DISPUTED: frozenset({ParcelState.RECONCILED}),
    ParcelState.RECONCILED: frozenset(),
}


class SpoilCode(StrEnum):
    """Why a card is waste (section 5)."""

    CH1 = "CH1"  # no ATR
    CH2 = "CH2"  # authentication failed
    CH3 = "CH3"  # write failed
    CH4 = "CH4"  # verify mismatch
    CH5 = "CH5"  # wrong chip type or lot
    CH6 = "CH6"  # serial already known
    PR1 = "PR1"  # ribbon
    PR2 = "PR2"  # jam
    PR3 = "PR3"  # head, overheat
    PR4 = "PR4"  # power loss
    PR5 = "PR5"  # registration, visual
    PR6 = "PR6"  # overlay
    DT1 = "DT1"  # data error found late
    OP1 = "OP1"  # operator damage
    QC1 = "QC1"  # QR unreadable
    QC2 = "QC2"  # photo
    QC3 = "QC3"  # chip and print differ
    QC4 = "QC4"  # surface
    UN1 = "UN1"  # uncertain, resolved as bad


class HasState(Protocol):
    """A row with a state column."""

    state: str


S = TypeVar("S", bound=StrEnum)


def step(row: HasState, to: S, allowed: Mapping[S, frozenset[S]]) -> bool:
    """Take a step; False when the row is there already. Raises Rejected W-STATE."""
    if row.state == to:
        return False
    row.state = _next(row.state, to, allowed)
    return True


class HasPlace(Protocol):
    """A row of a plastic."""

    place: str


def step_card(card: HasPlace, to: Place) -> bool:
    """The same for a plastic's place."""
    if card.place == to:
        return False
    card.place = _next(card.place, to, CARD_ALLOWED)
    return True


def _next(here: str, to: S, allowed: Mapping[S, frozenset[S]]) -> S:
    known = type(to)(here)
    if to not in allowed[known]:
        names = ", ".join(sorted(allowed[known])) or "-"
        raise Rejected("W-STATE", f"{known} does not lead to {to}", state=known, allowed=names)
    return to
