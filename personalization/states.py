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
    """Why a card is waste (section 5); in words: `SPOIL_WORDS`."""

    CH1, CH2, CH3, CH4, CH5, CH6 = "CH1", "CH2", "CH3", "CH4", "CH5", "CH6"
    PR1, PR2, PR3, PR4, PR5, PR6 = "PR1", "PR2", "PR3", "PR4", "PR5", "PR6"
    QC1, QC2, QC3, QC4 = "QC1", "QC2", "QC3", "QC4"
    DT1, OP1, UN1 = "DT1", "OP1", "UN1"


SPOIL_WORDS: dict[SpoilCode, tuple[str, str]] = {  # English, Chinese
    SpoilCode.CH1: ("chip does not answer", "芯片无应答"),
    SpoilCode.CH2: ("chip refused authentication", "芯片认证失败"),
    SpoilCode.CH3: ("chip was not written", "芯片写入失败"),
    SpoilCode.CH4: ("chip reads back otherwise", "芯片回读不符"),
    SpoilCode.CH5: ("wrong chip type or lot", "芯片型号或批次不符"),
    SpoilCode.CH6: ("chip already known", "芯片号重复"),
    SpoilCode.PR1: ("ribbon", "色带"),
    SpoilCode.PR2: ("card jam", "卡片卡住"),
    SpoilCode.PR3: ("print head", "打印头"),
    SpoilCode.PR4: ("power lost", "断电"),
    SpoilCode.PR5: ("print out of place", "印刷错位"),
    SpoilCode.PR6: ("overlay", "保护膜"),
    SpoilCode.DT1: ("data found wrong", "数据有误"),
    SpoilCode.OP1: ("damaged by hand", "操作损坏"),
    SpoilCode.QC1: ("symbol cannot be read", "二维码不可读"),
    SpoilCode.QC2: ("portrait", "照片"),
    SpoilCode.QC3: ("chip and print differ", "芯片与印刷不符"),
    SpoilCode.QC4: ("surface", "卡面"),
    SpoilCode.UN1: ("was lost sight of", "去向一度不明"),
}


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
