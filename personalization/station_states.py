"""States of a station and the steps between them (printer.md 3.3), and what a machine's fault makes of a card."""

from enum import StrEnum

from personalization.states import SpoilCode
from printer.port import PrinterFault


class State(StrEnum):
    """What the station is doing. Panels and destinations are facts beside the word."""

    OFFLINE = "OFFLINE"
    RESYNC = "RESYNC"
    READY = "READY"
    BLOCKED = "BLOCKED"
    FEEDING = "FEEDING"
    AT_CONTACT = "AT_CONTACT"
    ENCODING = "ENCODING"
    POSITIONING = "POSITIONING"
    PRINTING = "PRINTING"
    PRINTED = "PRINTED"
    EJECTING = "EJECTING"
    JAMMED = "JAMMED"
    UNCERTAIN = "UNCERTAIN"
    CLEANING = "CLEANING"


_NEXT: dict[State, set[State]] = {
    State.OFFLINE: {State.RESYNC},
    State.RESYNC: {
        State.READY, State.AT_CONTACT, State.POSITIONING, State.EJECTING, State.JAMMED,
        State.UNCERTAIN, State.BLOCKED,
    },
    State.READY: {State.FEEDING, State.BLOCKED, State.CLEANING, State.EJECTING},
    State.BLOCKED: {State.READY},
    State.FEEDING: {State.AT_CONTACT, State.BLOCKED, State.JAMMED, State.UNCERTAIN, State.EJECTING},
    State.AT_CONTACT: {State.ENCODING, State.EJECTING, State.JAMMED, State.UNCERTAIN},
    State.ENCODING: {State.POSITIONING, State.EJECTING},
    State.POSITIONING: {State.PRINTING, State.EJECTING, State.JAMMED, State.UNCERTAIN},
    State.PRINTING: {State.PRINTED, State.EJECTING, State.JAMMED, State.UNCERTAIN},
    State.PRINTED: {State.EJECTING},
    State.EJECTING: {State.READY, State.JAMMED, State.UNCERTAIN},
    State.JAMMED: {State.RESYNC},
    State.UNCERTAIN: {State.RESYNC},
    State.CLEANING: {State.READY, State.BLOCKED},
}  # fmt: skip
ALLOWED: dict[State, frozenset[State]] = {
    here: frozenset(there | {State.OFFLINE}) for here, there in _NEXT.items()
}

HOLDS_CARD = frozenset(
    {
        State.FEEDING, State.AT_CONTACT, State.ENCODING, State.POSITIONING, State.PRINTING,
        State.PRINTED, State.EJECTING, State.JAMMED,
    }
)  # fmt: skip
NEEDS_PERSON = frozenset({State.BLOCKED, State.JAMMED, State.UNCERTAIN, State.OFFLINE})

_REASONS = {
    "P-R02": SpoilCode.PR1, "P-R03": SpoilCode.PR1, "P-R04": SpoilCode.PR1,
    "P-M03": SpoilCode.PR2, "P-M04": SpoilCode.PR2,
    "P-T02": SpoilCode.PR3,
    "P-U04": SpoilCode.PR4, "P-L05": SpoilCode.PR4,
    "P-C02": SpoilCode.OP1,
    "P-L09": SpoilCode.PR5, "P-D01": SpoilCode.PR5, "P-W01": SpoilCode.DT1,
}  # fmt: skip


def reason_of(fault: PrinterFault) -> SpoilCode:
    """Spoilage code of production.md 5 for a card this fault struck; a jam when nothing fits better."""
    return _REASONS.get(fault.code, SpoilCode.PR2)
