"""What an installation's card centre and purse showed, gathered for the pilot's summary (SD-48, SD-53)."""

import json

from sqlalchemy import func, select

from core.db import Tx
from payments.tables import ClearingDayRow, DifferenceRow, LoadRow, MessageRow, PurchaseRow
from personalization import balance
from personalization.states import WorkState
from personalization.tables import WorkOrderRow
from registry.pilot.purse_result import PurseFigures
from registry.pilot.works_result import ProductionFigures, Works

APPROVED, NOT_ANSWERED = "00", ""


def gather(tx: Tx) -> Works:
    """Figures of both; None for one where nothing happened yet."""
    return Works(_production(tx), _purse(tx))


def _production(tx: Tx) -> ProductionFigures | None:
    sums = balance.lot_balance(tx)
    if not sums.opening:
        return None
    first_pass = tx.scalar(
        select(func.count()).where(
            WorkOrderRow.state == WorkState.ACCEPTED, WorkOrderRow.attempt == 1
        )
    )
    return ProductionFigures(
        opening=sums.opening, good=sums.good, spoiled=sums.spoiled, remaining=sums.remaining,
        difference=sums.difference, first_pass=first_pass or 0,
    )  # fmt: skip


def _purse(tx: Tx) -> PurseFigures | None:
    """Purchases by their state, what was refused and with which code, what clearing could not explain.

    `difference_fen`: what the last closed day's ledger owes less what the chips that were read hold.
    """
    counted = tx.execute(select(PurchaseRow.state, func.count()).group_by(PurchaseRow.state))
    states = dict(counted.all())
    loads = tx.scalar(select(func.count()).select_from(LoadRow)) or 0
    if not states and not loads:
        return None
    refusals = tx.execute(
        select(MessageRow.response, func.count())
        .where(MessageRow.response.not_in((APPROVED, NOT_ANSWERED)))
        .group_by(MessageRow.response)
        .order_by(MessageRow.response)
    ).all()
    unexplained = tx.scalar(select(func.count()).where(DifferenceRow.explained.is_(False))) or 0
    last = tx.scalar(
        select(ClearingDayRow.report)
        .where(ClearingDayRow.state == "CLOSED")
        .order_by(ClearingDayRow.day.desc())
        .limit(1)
    )
    report = json.loads(last) if last else {}
    read = report.get("chips", 0)
    return PurseFigures(
        purchases=states.get("POSTED", 0) + states.get("FOREIGN", 0),
        refused=states.get("HELD", 0) + sum(count for _, count in refusals),
        unexplained=unexplained,
        difference_fen=report["float_fen"] - report["chips_fen"] if read else 0,
        refusals=tuple((code, count) for code, count in refusals),
    )
