"""What the purse host asks the residence register: may this card load, may it pay (README decision 20)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BindParameter, bindparam, select

from core.db import Tx
from core.rows import KEYS, Lookup
from registry.residence import domain
from registry.residence.domain import CardState, Hold
from registry.residence.tables import CardRow, HoldRow, PermitRow, PersonRow

LIST_LOST, LIST_STOLEN, LIST_CANCELLED, LIST_SUSPECT = "01", "02", "03", "04"


_KEYS: BindParameter[list[str]] = bindparam(KEYS, expanding=True)
_CARDS = Lookup(
    select(
        CardRow.card_serial,
        CardRow.state,
        CardRow.void_reason,
        CardRow.permit_no,
        PersonRow.purse_account,
    )
    .join(PermitRow, PermitRow.permit_no == CardRow.permit_no)
    .join(PersonRow, PersonRow.id == PermitRow.person_id)
    .where(CardRow.card_serial.in_(_KEYS))
)
_HOLDS = Lookup(
    select(HoldRow.permit_no, HoldRow.kind, HoldRow.stolen).where(HoldRow.permit_no.in_(_KEYS))
)


@dataclass(frozen=True)
class PurseGate:
    """Answer for one card. `response_code` is field 39 for a load ("00" may go on); debits: `may_debit`."""

    found: bool
    status: str
    response_code: str
    may_debit: bool
    purse_account: str = ""


def purse_gate(tx: Tx, card_serial: str) -> PurseGate:
    """62 dormant, pending or ADMIN; 54 expired; 41 lost; 43 stolen; 04 cancelled, replaced, suspect; 14 unknown."""
    return purse_gates(tx, (card_serial,))[card_serial]


def purse_gates(tx: Tx, card_serials: Sequence[str]) -> dict[str, PurseGate]:
    """The answer for each of these cards; two statements, however many they are."""
    wanted = sorted(set(card_serials))
    rows = _CARDS.rows(tx, wanted)
    held: dict[str, dict[Hold, bool]] = {}
    permits = sorted({row.permit_no for row in rows})
    for permit_no, kind, stolen in _HOLDS.rows(tx, permits):
        held.setdefault(permit_no, {})[Hold(kind)] = stolen
    found = {
        row.card_serial: _gate(
            CardState(row.state), row.void_reason, held.get(row.permit_no, {}), row.purse_account
        )
        for row in rows
    }
    unknown = PurseGate(False, "UNKNOWN", domain.load_refusal(None, None, (), False), False)
    return {serial: found.get(serial, unknown) for serial in wanted}


def _gate(
    state: CardState, void_reason: str | None, holds: Mapping[Hold, bool], account: str
) -> PurseGate:
    code = domain.load_refusal(state, void_reason, holds.keys(), holds.get(Hold.LOSS, False))
    status = {CardState.BOUND: "PENDING", CardState.VOID: "VOID"}.get(
        state, domain.shown_status(holds.keys())
    )
    return PurseGate(True, status, code, domain.may_debit(state, holds.keys()), account)


def purse_blacklist(tx: Tx) -> list[tuple[str, str]]:
    """(ASN of 20 digits, reason) of every card a foreign terminal must refuse (iso8583-host.md 7.9).

    01 lost, 02 stolen, 03 cancelled or replaced, 04 suspect. DORMANT is never in it. Cards that were
    spoiled in the centre never had a purse outside and are left out.
    """
    listed: dict[str, str] = {}
    void = select(CardRow.card_serial, CardRow.void_reason).where(
        CardRow.state == CardState.VOID, CardRow.issued_at.is_not(None)
    )
    codes = {"SUSPECT": LIST_SUSPECT, "LOST": LIST_LOST, "STOLEN": LIST_STOLEN}
    for serial, reason in tx.execute(void):
        listed[serial] = codes.get(reason or "", LIST_CANCELLED)
    held = (
        select(CardRow.card_serial, HoldRow.kind, HoldRow.stolen)
        .join(PermitRow, PermitRow.permit_no == CardRow.permit_no)
        .join(HoldRow, HoldRow.permit_no == PermitRow.permit_no)
        .where(CardRow.state == CardState.ISSUED, HoldRow.kind.in_((Hold.LOSS, Hold.CANCELLED)))
    )
    for serial, kind, stolen in tx.execute(held):
        if kind == Hold.CANCELLED:
            listed[serial] = LIST_CANCELLED
        else:
            listed.setdefault(serial, LIST_STOLEN if stolen else LIST_LOST)
    return sorted(("000000" + serial, reason) for serial, reason in listed.items())
