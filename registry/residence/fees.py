"""The card fee 工本费: the price on the day of acceptance, one payment, refunds (residence.md 12.1, 5.3)."""

from datetime import date

from sqlalchemy import bindparam, select

from core import events
from core.clock import Clock
from core.db import Tx, metadata
from core.errors import Rejected
from core.rows import Insert, Statement
from registry.parameters import PILOT, Policy
from registry.residence.domain import Kind
from registry.residence.tables import FeeItemRow, PaymentRow
from registry.roles import Actor, Role, require, two_persons

_PAYMENTS = Insert(metadata.tables[PaymentRow.__tablename__])
_PAID = Statement(select(PaymentRow.acc_no).where(PaymentRow.acc_no == bindparam("acc_no")))
_PRICE = Statement(
    select(FeeItemRow.price_fen)
    .where(FeeItemRow.kind == bindparam("kind"), FeeItemRow.valid_from <= bindparam("day"))
    .order_by(FeeItemRow.valid_from.desc())
    .limit(1)
)


def set_price(
    tx: Tx, kind: Kind, price_fen: int, valid_from: date, document: str, first: Actor, second: Actor
) -> None:
    """A new price from a day on. Raises E-ROLE, E-SOD, Rejected E-FEE (negative, or no document)."""
    for actor in (first, second):
        require(actor, Role.PILOT_OFFICE, Role.REVIEWER)
    two_persons(first, second)
    if price_fen < 0 or not document.strip():
        raise Rejected("E-FEE", "a price needs an approving document")
    tx.merge(
        FeeItemRow(
            kind=kind, valid_from=valid_from, price_fen=price_fen, document=document,
            entered_by=first.name, approved_by=second.name,
        )
    )  # fmt: skip
    tx.flush()


def price(tx: Tx, kind: Kind, day: date, policy: Policy = PILOT) -> int:
    """What an application accepted on `day` costs, fen; the policy's price until one was approved."""
    found = _PRICE.first(tx, kind=kind, day=day)
    if found is not None:
        return int(found.price_fen)
    return policy.fee_new_fen if kind is Kind.NEW else policy.fee_replacement_fen


def pay(tx: Tx, clock: Clock, acc_no: str, receipt: str, amount_fen: int) -> None:
    """Keep the payment of an application; a second one for it changes nothing."""
    if _PAID.first(tx, acc_no=acc_no) is not None:
        return
    _PAYMENTS.run(
        tx,
        [{"acc_no": acc_no, "receipt": receipt, "amount_fen": amount_fen, "paid_at": clock.now(),
          "refunded_at": None, "refund_reason": None}],
    )  # fmt: skip


def refund(tx: Tx, clock: Clock, acc_no: str, reason: str, actor: str) -> int:
    """Give the fee back once; returns the fen that go out now (0 when there is nothing to give back)."""
    row = tx.get(PaymentRow, acc_no, with_for_update=True)
    if row is None or row.refunded_at is not None or row.amount_fen == 0:
        return 0
    row.refunded_at, row.refund_reason = clock.now(), reason
    events.append(
        tx, clock, "fee.refunded", acc_no, actor=actor, amount_fen=row.amount_fen, reason=reason
    )
    return row.amount_fen


def balance(tx: Tx) -> tuple[int, int]:
    """(paid, refunded) in fen over all applications."""
    rows = tx.execute(select(PaymentRow.amount_fen, PaymentRow.refunded_at)).all()
    return sum(fen for fen, _ in rows), sum(fen for fen, at in rows if at is not None)
