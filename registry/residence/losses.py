"""Loss 挂失 and what follows: confirmation, call-back, who bears which purchase, a card that is found (5.4, 13)."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound
from core.ids import uuid7
from registry.parameters import PILOT, Policy
from registry.residence import cards, permits
from registry.residence.domain import CardState, Hold
from registry.residence.tables import LossReportRow
from registry.roles import CLERKS, Actor, Role, require, require_own

ORAL, WRITTEN = "ORAL", "WRITTEN"


class Bearer(StrEnum):
    """Who bears an offline purchase made with a lost card (13)."""

    HOLDER = "HOLDER"
    ACQUIRER = "ACQUIRER"
    NOBODY = "NOBODY"


class Found(StrEnum):
    """What becomes of a card somebody hands in."""

    TELL_HOLDER = "TELL_HOLDER"
    DESTROY = "DESTROY"


def report(
    tx: Tx, clock: Clock, permit_no: str, actor: Actor, channel: str = ORAL, *,
    stolen: bool = False, policy: Policy = PILOT,
) -> LossReportRow:  # fmt: skip
    """LOSS at once, by telephone at night or at a point; written confirmation within 15 days.

    A second report while one is open gives the same row. Raises E-ROLE, E-OWN, NotFound E-PERMIT.
    """
    require(actor, *CLERKS, Role.HOLDER)
    require_own(actor, permits.get(tx, permit_no).person_id, *CLERKS)
    row = open_report(tx, permit_no)
    if row is not None:
        return row
    evidence = f"{channel.lower()} report by {actor.name}"
    if Hold.LOSS not in permits.holds(tx, permit_no):
        permits.report_loss(tx, clock, permit_no, actor, stolen=stolen, evidence=evidence)
    now = clock.now()
    row = LossReportRow(
        id=uuid7(now), permit_no=permit_no, channel=channel, reported_at=now,
        effective_for_terminals_at=now + policy.loss_propagation,
        confirm_by=business_date(now) + timedelta(days=policy.loss_confirm_days),
        confirmed_at=now if channel == WRITTEN else None,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    return row


def confirm(tx: Tx, clock: Clock, permit_no: str, actor: Actor) -> None:
    """The written confirmation came. Raises E-ROLE, NotFound E-LOSS."""
    require(actor, *CLERKS)
    row = _open(tx, permit_no)
    row.confirmed_at = row.confirmed_at or clock.now()


def withdraw(tx: Tx, clock: Clock, permit_no: str, actor: Actor, evidence: str) -> None:
    """In person at a police station, while no replacement was ordered. Raises E-ROLE, E-REPLACED, E-LOSS."""
    require(actor, Role.POLICE_CLERK)
    row = _open(tx, permit_no)
    permits.withdraw_loss(tx, clock, permit_no, actor, evidence)
    row.withdrawn_at = clock.now()


def call_backs(tx: Tx, clock: Clock) -> list[LossReportRow]:
    """Reports without confirmation after 15 days: somebody calls; the hold stays, nothing is unblocked."""
    today = business_date(clock.now())
    return list(
        tx.scalars(
            select(LossReportRow)
            .where(
                LossReportRow.confirmed_at.is_(None),
                LossReportRow.withdrawn_at.is_(None),
                LossReportRow.called_back_at.is_(None),
                LossReportRow.confirm_by < today,
            )
            .order_by(LossReportRow.confirm_by)
        )
    )


def called_back(tx: Tx, clock: Clock, report_id: str) -> None:
    """Somebody called. Raises NotFound E-LOSS."""
    row = tx.get(LossReportRow, report_id)
    if row is None:
        raise NotFound("E-LOSS", "no such report")
    row.called_back_at = clock.now()


def bearer(tx: Tx, permit_no: str, bought_at: datetime, terminal_had_list: bool) -> Bearer:
    """Who bears an offline purchase: the holder before the list could be everywhere, then the acquirer.

    A terminal that had no list yet is nobody's fault: the case goes to the difference account.
    """
    row = tx.scalar(
        select(LossReportRow)
        .where(LossReportRow.permit_no == permit_no, LossReportRow.withdrawn_at.is_(None))
        .order_by(LossReportRow.reported_at.desc())
        .limit(1)
    )
    if row is None or bought_at < row.effective_for_terminals_at:
        return Bearer.HOLDER
    return Bearer.ACQUIRER if terminal_had_list else Bearer.NOBODY


def found_card(tx: Tx, clock: Clock, card_serial: str, actor: Actor) -> Found:
    """A finder hands a card in: the holder is told while it may live again, else it is destroyed.

    Raises E-ROLE, NotFound E-CARD.
    """
    require(actor, *CLERKS)
    card = cards.by_serial(tx, card_serial)
    alive = card.state == CardState.ISSUED and Hold.CANCELLED not in permits.holds(
        tx, card.permit_no
    )
    outcome = Found.TELL_HOLDER if alive else Found.DESTROY
    events.append(tx, clock, "card.found", card_serial, actor=actor.name, outcome=outcome)
    return outcome


def open_report(tx: Tx, permit_no: str) -> LossReportRow | None:
    """The report in force."""
    return tx.scalar(
        select(LossReportRow)
        .where(LossReportRow.permit_no == permit_no, LossReportRow.withdrawn_at.is_(None))
        .order_by(LossReportRow.reported_at.desc())
        .limit(1)
    )


def _open(tx: Tx, permit_no: str) -> LossReportRow:
    row = open_report(tx, permit_no)
    if row is None:
        raise NotFound("E-LOSS", "no loss was reported")
    return row
