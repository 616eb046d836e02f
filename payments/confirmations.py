"""The rules of confirming a load or unload by the card's own evidence (iso8583-host.md 7.5, 7.6, 11.1).

All outcomes are final for the terminal: what proves money is stored, whatever it is worth.
"""

from dataclasses import replace
from typing import Any

from core.errors import CityError
from hsm_sim.purse_requests import CheckLoadTac, ConfirmUnload
from payments import requests as r
from payments.decisions import (
    BY_PROOF,
    CONFIRMED,
    ISSUED,
    REVERSED,
    TAKEN_BACK,
    UNRESOLVED,
    BankOrder,
    CardMove,
    Decision,
    Incident,
    LoadMove,
    Request,
    Rule,
    original_key,
    refuse,
)
from payments.field_parts import PartFault
from payments.ledger import COMPLETED
from payments.limits import USAGE_TAC, USAGE_UNLOAD
from payments.loads import Desk, response_of
from payments.messages import Value
from payments.purse_data import (
    LOAD_CONFIRMATION,
    LOAD_UNKNOWN,
    UNLOAD_CONFIRMATION,
    PurseConfirmation,
    factor_of,
)


def confirm(request: Request, desk: Desk) -> Rule:
    """0220 with SV, SX or UV. All outcomes are final for the terminal."""
    data = request.purse
    flags = (LOAD_CONFIRMATION, LOAD_UNKNOWN, UNLOAD_CONFIRMATION)
    if not isinstance(data, PurseConfirmation) or data.flag not in flags:
        return refuse("30")
    row = _find_original(request, desk, data)
    reference: dict[int, Value | None] = {37: request.message.text(37)}
    if row is None:
        orphan = Incident("confirmation-orphan", data.asn.hex(), "no such load", bytes(data))
        return replace(refuse("25", orphan), fields=reference)
    if data.flag == LOAD_UNKNOWN:
        return replace(_unknown_outcome(row, data), fields=reference)
    if not _same_load(row, data, request):
        return replace(_bad_evidence(row, data, "data differ from the load"), fields=reference)
    try:
        yield _tac_request(desk, row, data)
    except CityError as error:
        code = response_of(error)
        if code != "63":
            return refuse(code, store=False)
        return replace(_bad_evidence(row, data, "TAC wrong"), fields=reference)
    return replace(_confirmed(row, data, desk), fields=reference)


def _find_original(request: Request, desk: Desk, data: PurseConfirmation) -> Any:
    """By what the message names and the terminal; else by card and online counter."""
    try:
        row = desk.known.loads.get(original_key(request.message))
    except PartFault:
        row = None
    if row is not None:
        return row
    same = [
        row for row in desk.known.by_card.get(data.asn.hex(), ()) if row.counter == data.counter
    ]
    return same[-1] if same else None


def _same_load(row: Any, data: PurseConfirmation, request: Request) -> bool:
    stated = (
        data.asn.hex(), data.random.hex(), data.counter, data.amount, data.type, data.psam.hex(),
        data.date.hex() + data.time.hex(), request.message.amount,
    )  # fmt: skip
    issued = (
        row.asn, row.random, row.counter, row.amount, row.type, row.psam, row.issued, row.amount,
    )  # fmt: skip
    return stated == issued


def _tac_request(desk: Desk, row: Any, data: PurseConfirmation) -> CheckLoadTac | ConfirmUnload:
    factors = (bytes.fromhex(factor_of(data.asn)),)
    if data.flag == UNLOAD_CONFIRMATION:
        return ConfirmUnload(
            desk.masters(USAGE_UNLOAD, row.key_version), factors, data.random, data.counter,
            data.balance_after, data.counter, data.amount, bytes((data.type,)), data.psam,
            data.date, data.time, data.tac,
        )  # fmt: skip
    return CheckLoadTac(
        desk.masters(USAGE_TAC, row.key_version), factors, data.balance_after, data.counter,
        data.amount, bytes((data.type,)), data.psam, data.date, data.time, data.tac,
    )  # fmt: skip


def _confirmed(row: Any, data: PurseConfirmation, desk: Desk) -> Decision:
    evidence = bytes(data)
    if row.state == CONFIRMED:
        note = LoadMove(row.key, CONFIRMED, CONFIRMED, row.reason, evidence=evidence, proven=True)
        return Decision("00", moves=(note, *_presumptions_final(row, desk)))
    if row.state == REVERSED or (row.state == UNRESOLVED and row.reason == TAKEN_BACK):
        move = LoadMove(
            row.key,
            row.state,
            UNRESOLVED,
            TAKEN_BACK,
            watched=False,
            evidence=evidence,
            proven=True,
        )
        seen = Incident("reversed-but-loaded", row.key, "TAC proves it", evidence)
        return Decision("00", moves=(move,), incidents=(seen,))
    if row.state not in (ISSUED, UNRESOLVED):
        seen = Incident("confirmation-early", row.key, f"load is {row.state}", evidence)
        return refuse("63", seen)
    move = LoadMove(
        row.key, row.state, CONFIRMED, BY_PROOF, COMPLETED, evidence=evidence, proven=True
    )
    finals = _presumptions_final(row, desk)
    orders = (
        (BankOrder(row.reference, "credit", row.amount, row.account),)
        if row.kind == r.UNLOAD
        else ()
    )
    return Decision("00", moves=(move, *finals), orders=orders, card=_after_proof(row, data, desk))


def _after_proof(row: Any, data: PurseConfirmation, desk: Desk) -> CardMove | None:
    """A proof with counter n shows that the card's counter is n+1 now; a block is not lifted by it."""
    card = desk.known.cards.get(row.asn)
    if card is None or card.counter > row.counter:
        return None
    return CardMove(
        row.asn, card.version, row.counter + 1, data.balance_after, blocked=card.blocked
    )


def _presumptions_final(row: Any, desk: Desk) -> tuple[LoadMove, ...]:
    """Another load at the same counter has its TAC: a counter is used once, so these did not happen.

    Neither did one that a later counter seemed to prove while this TAC was still on its way.
    """
    return tuple(
        LoadMove(other.key, other.state, REVERSED, "counter used by another", watched=False)
        for other in desk.known.by_card.get(row.asn, ())
        if other.key != row.key and other.counter == row.counter and _presumed(other)
    )


def _presumed(row: Any) -> bool:
    """Whether a load is taken back for certain, or in doubt, without a TAC of its own."""
    if row.state == REVERSED:
        return bool(row.watched)
    return bool(row.state == UNRESOLVED and row.reason == TAKEN_BACK and not row.proven)


def _unknown_outcome(row: Any, data: PurseConfirmation) -> Decision:
    if row.state != ISSUED:
        return Decision("00")
    move = LoadMove(row.key, ISSUED, UNRESOLVED, "unknown", evidence=bytes(data))
    return Decision("00", moves=(move,))


def _bad_evidence(row: Any, data: PurseConfirmation, detail: str) -> Decision:
    seen = Incident("load-evidence-wrong", row.key, detail, bytes(data))
    if row.state != ISSUED:
        return refuse("63", seen)
    move = LoadMove(row.key, ISSUED, UNRESOLVED, "evidence", evidence=bytes(data))
    return replace(refuse("63", seen), moves=(move,))
