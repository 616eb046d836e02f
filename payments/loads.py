"""The rules of loads and unloads: request, confirmation, next counter (iso8583-host.md 7.4 to 7.6, 11.2).

The card decides, not the message: a load is true when its TAC or a later online counter says so. MAC2 is held in
memory until the commit that stores the answer.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from core.clock import purse_date_time
from core.errors import CityError, NotFound, Unavailable
from hsm_sim.generic_requests import TranslateTerminalPin
from hsm_sim.purse_requests import Load, Unload
from payments import ledger, limits
from payments import requests as r
from payments.card_blocks import COUNTER_BACK
from payments.decisions import (
    BY_COUNTER,
    CONFIRMED,
    DECLINED,
    HELD,
    ISSUED,
    REFUSED,
    REVERSED,
    TAKEN_BACK,
    UNRESOLVED,
    BankAnswer,
    BankLeg,
    BankOrder,
    CardMove,
    Decision,
    Incident,
    LoadMove,
    Request,
    Rule,
    refuse,
)
from payments.known import Known
from payments.ledger import PENDING, Transfer
from payments.limits import NOTHING_YET, USAGE_LOAD, USAGE_UNLOAD, HostProfile, Masters
from payments.matrix import BANK_KINDS, Task, account_of
from payments.messages import Value
from payments.purse_data import (
    LOAD_ANSWER,
    LOAD_REQUEST,
    TYPES,
    UNLOAD_ANSWER,
    UNLOAD_REQUEST,
    PurseAnswer,
    PurseRequest,
    factor_of,
)
from payments.responses import APPROVALS

COMPLETE, VOID = ledger.COMPLETED, ledger.VOIDED
AWAY = "91"  # the HSM cannot be asked now: nothing is kept, the same request may come again

# No answer, a fault, and a switch that had no answer of the issuer's: the debit may have been made.
DOUBTFUL = frozenset({"68", "96", "98"})


@dataclass(frozen=True)
class Desk:
    """What every rule works with: the profile, the HSM's key directory, reference numbers, what is known."""

    profile: HostProfile
    masters: Masters
    references: Callable[[], str]
    known: Known


def response_of(error: CityError) -> str:
    """Field 39 for an HSM refusal: 63 wrong evidence, 91 not available, A7 anything else it forbids (10)."""
    if isinstance(error, Unavailable) and error.code != "HSM-F0":
        return AWAY
    return {"HSM-01": "63", "HSM-20": "99", "HSM-24": "99"}.get(error.code, "A7")


# ---- request


def load(request: Request, desk: Desk) -> Rule:
    """0200 with RQ or UQ: steps 4 to 10 of 7.4 (6 of 7.6 for an unload)."""
    message = request.message
    unload = request.task is Task.UNLOAD
    data = request.purse
    wanted = UNLOAD_REQUEST if unload else LOAD_REQUEST
    if not isinstance(data, PurseRequest):
        return refuse("30")
    if data.psam.hex() != request.terminal.psam:
        return refuse("97", store=False)
    if data.flag != wanted or data.type not in TYPES[wanted]:
        return refuse("30")
    if data.amount != message.amount or data.amount == 0:
        return refuse("13")
    refusal = _card_refusal(request, desk, data) or _limit_refusal(request, desk, data)
    if refusal is not None:
        return refusal
    pin: bytes | None = None
    if 52 in message:
        try:
            pin = yield from translated_pin(request, desk)
        except CityError as error:
            return _hsm_refusal(error)
    date, time = purse_date_time(request.at)
    try:
        mac2 = yield _mac2_request(desk, data, unload, date, time)
    except CityError as error:
        return _mac1_refusal(desk, data, error)
    return _hold(request, desk, data, PurseAnswer(
        UNLOAD_ANSWER if unload else LOAD_ANSWER, data.issuer, data.asn, data.amount, data.type,
        data.psam, date, time, mac2, data.algorithm,
    ), pin)  # fmt: skip


def _card_refusal(request: Request, desk: Desk, data: PurseRequest) -> Decision | None:
    gate = desk.known.gates.get(data.asn.hex())
    if data.issuer not in desk.profile.issuers or gate is None or not gate.found:
        return refuse("14")
    card = desk.known.cards.get(data.asn.hex())
    if card is not None and card.blocked:
        return refuse("04")
    if request.task is Task.LOAD and gate.response_code != "00":
        return refuse(gate.response_code)
    if request.task is Task.UNLOAD and not gate.may_debit:
        return refuse(gate.response_code if gate.response_code != "00" else "57")
    try:
        desk.masters(USAGE_UNLOAD if request.task is Task.UNLOAD else USAGE_LOAD, data.key_version)
    except NotFound:
        return refuse("62")
    return None


def _limit_refusal(request: Request, desk: Desk, data: PurseRequest) -> Decision | None:
    if request.task is Task.UNLOAD:
        return refuse("51") if data.amount > data.balance else None
    code = limits.refuse_load(
        desk.profile, data.amount, data.balance, desk.known.sums.get(request.key, NOTHING_YET)
    )
    return None if code is None else refuse(code)


def translated_pin(request: Request, desk: Desk) -> Generator[Any, Any, bytes]:
    """The PIN block under the bank's zone key (HSM `CA`)."""
    if not desk.profile.zone_key:
        raise Unavailable("HOST-NO-ZONE", "no key for PIN blocks to the bank")
    account = account_of(request.message)
    digits = account[:-1][-12:].rjust(12, "0")
    pik = request.terminal.current_pik
    if request.mak == request.terminal.waiting_mak:
        pik = request.terminal.waiting_pik
    translated = yield TranslateTerminalPin(
        pik, desk.profile.zone_key, request.message.octets(52), digits
    )
    block: bytes = translated.block
    return block


def _mac2_request(
    desk: Desk, data: PurseRequest, unload: bool, date: bytes, time: bytes
) -> Load | Unload:
    """HSM `40` mode 1 or `4A`: MAC1 checked and MAC2 made in one call."""
    kind: type[Load] | type[Unload] = Unload if unload else Load
    usage = USAGE_UNLOAD if unload else USAGE_LOAD
    return kind(
        desk.masters(usage, data.key_version), (bytes.fromhex(factor_of(data.asn)),),
        data.random, data.counter, data.balance, data.amount, bytes((data.type,)), data.psam,
        data.mac1, date, time,
    )  # fmt: skip


def _hsm_refusal(error: CityError) -> Decision:
    code = response_of(error)
    return refuse(code, store=code != AWAY)


def _mac1_refusal(desk: Desk, data: PurseRequest, error: CityError) -> Decision:
    """A wrong MAC1 is counted per card; enough of them are an incident."""
    code = response_of(error)
    if code != "63":
        return refuse(code, store=code != AWAY)
    card = desk.known.cards.get(data.asn.hex())
    failures = (card.failures if card else 0) + 1
    move = CardMove(
        data.asn.hex(), card.version if card else None, card.counter if card else 0,
        card.balance if card else 0, failures,
    )  # fmt: skip
    seen = Incident("mac1-wrong", data.asn.hex(), f"wrong MAC1, {failures} in all", bytes(data))
    return replace(refuse("63", seen), card=move)


def _hold(
    request: Request, desk: Desk, data: PurseRequest, answer: PurseAnswer, pin: bytes | None
) -> Decision:
    """MAC1 was good: decide older loads by the counter it proves, then hold the money."""
    asn = data.asn.hex()
    card = desk.known.cards.get(asn)
    if card is not None and data.counter < card.counter:
        return _counter_went_back(data, card)
    older = desk.known.by_card.get(asn, [])
    if any(row.state == HELD for row in older):
        return refuse(REFUSED)
    moves, orders, incidents = _decide_older(older, data)
    incidents += _balance_incidents(data, card, moves)
    reference = desk.references()
    row = _load_row(request, desk, data, answer, reference)
    transfer = _transfer(request, row)
    fields: dict[int, Value | None] = {37: reference}
    with_mac2: dict[int, Value | None] = {**fields, 58: bytes(answer)}
    most = data.balance if request.task is Task.UNLOAD else data.balance + data.amount
    move = CardMove(asn, card.version if card else None, data.counter, most)
    held = partial(
        Decision, transfers=(transfer,), moves=moves, orders=orders, incidents=incidents, card=move
    )
    if row["kind"] not in BANK_KINDS:
        return held("00", with_mac2, load={**row, "state": ISSUED})
    leg = BankLeg("debit", reference, data.amount, account_of(request.message), pin)

    def issue(bank: BankAnswer) -> Decision:
        return _issue(bank, row, {**with_mac2, 38: bank.authorization or None}, fields)

    return held("", load={**row, "state": HELD}, leg=leg, issue=issue)


def _issue(
    bank: BankAnswer,
    row: dict[str, Any],
    fields: dict[int, Value | None],
    plain: dict[int, Value | None],
) -> Decision:
    """tx2: the bank has answered. MAC2 is in `fields` alone, and is forgotten when it declined."""
    if bank.response in APPROVALS:
        return Decision("00", fields, moves=(LoadMove(row["key"], HELD, ISSUED, ""),))
    if bank.response in DOUBTFUL:  # undo it there, however long that takes
        move = LoadMove(row["key"], HELD, REVERSED, "bank silent", VOID)
        order = BankOrder(row["reference"], "reverse", row["amount"])
        return Decision(bank.response, plain, moves=(move,), orders=(order,))
    move = LoadMove(row["key"], HELD, DECLINED, f"bank {bank.response}", VOID)
    return Decision(bank.response, plain, moves=(move,))


def _load_row(
    request: Request, desk: Desk, data: PurseRequest, answer: PurseAnswer, reference: str
) -> dict[str, Any]:
    message = request.message
    keep_account = request.task is Task.UNLOAD  # the bank is paid later; a load's bank leg is over
    return {
        "key": request.key, "kind": message.kind, "asn": data.asn.hex(),
        "issuer": data.issuer.hex(), "random": data.random.hex(), "key_index": data.key_index,
        "key_version": data.key_version, "algorithm": data.algorithm, "counter": data.counter,
        "balance": data.balance, "amount": data.amount, "type": data.type, "psam": data.psam.hex(),
        "terminal": message.terminal, "merchant": message.merchant, "batch": int(message.batch),
        "trace": message.trace, "reference": reference,
        "account": account_of(message) if keep_account else "",
        "issued": answer.date.hex() + answer.time.hex(), "reason": "", "watched": False,
        "evidence": None, "proven": False, "host": desk.profile.name, "day": request.day, "at": request.at,
    }  # fmt: skip


def _transfer(request: Request, row: dict[str, Any]) -> Transfer:
    """The promised money, named by the request's key."""
    card = ledger.purse(row["asn"])
    if request.task is Task.UNLOAD:
        return Transfer(row["key"], card, ledger.BANK, row["amount"], "unload", PENDING)
    source = ledger.cash(row["merchant"]) if row["kind"] == r.CASH_LOAD else ledger.BANK
    return Transfer(row["key"], source, card, row["amount"], "load", PENDING)


# ---- the next counter (11.2)


def _decide_older(
    older: list[Any], data: PurseRequest
) -> tuple[tuple[LoadMove, ...], tuple[BankOrder, ...], tuple[Incident, ...]]:
    """Loads still open when a good MAC1 shows this card's online counter."""
    moves: list[LoadMove] = []
    orders: list[BankOrder] = []
    incidents: list[Incident] = []
    for row in older:
        if row.state == REVERSED and not row.watched:
            continue
        if data.counter > row.counter:
            _by_counter(row, data, moves, orders, incidents)
        elif data.counter == row.counter and row.state in (ISSUED, UNRESOLVED):
            if row.state == UNRESOLVED and row.reason == TAKEN_BACK:
                continue
            moves.append(
                LoadMove(row.key, row.state, REVERSED, "same counter again", VOID, watched=True)
            )
            if row.kind in BANK_KINDS:
                orders.append(BankOrder(row.reference, "reverse", row.amount))
    return tuple(moves), tuple(orders), tuple(incidents)


def _by_counter(
    row: Any,
    data: PurseRequest,
    moves: list[LoadMove],
    orders: list[BankOrder],
    incidents: list[Incident],
) -> None:
    """The counter went on: the load happened."""
    if row.state in (ISSUED, UNRESOLVED) and row.reason != TAKEN_BACK:
        moves.append(LoadMove(row.key, row.state, CONFIRMED, BY_COUNTER, COMPLETE))
        if row.kind == r.UNLOAD:
            orders.append(BankOrder(row.reference, "credit", row.amount, row.account))
    elif row.state == REVERSED:
        moves.append(LoadMove(row.key, REVERSED, UNRESOLVED, TAKEN_BACK, watched=False))
        incidents.append(
            Incident(
                "reversed-but-loaded", row.key, f"counter {data.counter} proves it", bytes(data)
            )
        )


def _counter_went_back(data: PurseRequest, card: Any) -> Decision:
    blocked = CardMove(
        data.asn.hex(), card.version, card.counter, card.balance, card.failures, blocked=True
    )
    seen = Incident(
        COUNTER_BACK, data.asn.hex(), f"counter {data.counter} after {card.counter}", bytes(data)
    )
    return replace(refuse("63", seen), card=blocked)


def _balance_incidents(
    data: PurseRequest, card: Any, moves: tuple[LoadMove, ...]
) -> tuple[Incident, ...]:
    """A chip that claims more than it can hold: an alarm, not a refusal (purse-card.md 8.1)."""
    most = card.balance if card is not None else 0
    undone = any(move.after == REVERSED for move in moves)
    if undone or data.balance <= most:
        return ()
    detail = f"claims {data.balance} fen, can hold {most}"
    return (Incident("balance-above-ledger", data.asn.hex(), detail, bytes(data)),)
