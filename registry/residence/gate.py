"""What the purse host asks the residence register: may this card load, may it pay (README decision 20)."""

from dataclasses import dataclass

from sqlalchemy import select

from core.db import Tx
from registry.residence import domain, permits, persons
from registry.residence.domain import CardState, Hold
from registry.residence.tables import CardRow, HoldRow, PermitRow

LIST_LOST, LIST_STOLEN, LIST_CANCELLED, LIST_SUSPECT = "01", "02", "03", "04"


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
    card = tx.get(CardRow, card_serial)
    if card is None:
        return PurseGate(False, "UNKNOWN", domain.load_refusal(None, None, (), False), False)
    state = CardState(card.state)
    present = permits.holds(tx, card.permit_no)
    loss = tx.get(HoldRow, (card.permit_no, Hold.LOSS))
    stolen = loss is not None and loss.stolen
    code = domain.load_refusal(state, card.void_reason, present, stolen)
    status = {CardState.BOUND: "PENDING", CardState.VOID: "VOID"}.get(
        state, domain.shown_status(present)
    )
    account = persons.get(tx, permits.get(tx, card.permit_no).person_id).purse_account
    return PurseGate(True, status, code, domain.may_debit(state, present), account)


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
