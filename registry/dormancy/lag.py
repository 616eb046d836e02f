"""How far chips lag behind the register: count and age of cards whose chip shows an older status (6.6)."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from core.clock import Clock
from core.db import Tx
from registry.residence.domain import CardState
from registry.residence.tables import CardRow, PermitRow, StatusEventRow


@dataclass(frozen=True)
class Lag:
    """Issued cards, those whose chip is behind, and for how long (median and 95th percentile)."""

    cards: int
    lagging: int
    p50: timedelta
    p95: timedelta


def chip_lag(tx: Tx, clock: Clock) -> Lag:
    """The figures now. A card's age counts from the first status event its chip does not know."""
    first_unknown = (
        select(func.min(StatusEventRow.effective_at))
        .where(StatusEventRow.permit_no == CardRow.permit_no, StatusEventRow.ssn > CardRow.chip_ssn)
        .correlate(CardRow)
        .scalar_subquery()
    )
    issued = CardRow.state == CardState.ISSUED
    total = tx.scalar(select(func.count()).select_from(CardRow).where(issued)) or 0
    behind = tx.scalars(
        select(first_unknown)
        .select_from(CardRow)
        .join(PermitRow, PermitRow.permit_no == CardRow.permit_no)
        .where(issued, CardRow.chip_ssn < PermitRow.ssn)
    ).all()
    ages = sorted(clock.now() - since for since in behind)
    if not ages:
        return Lag(total, 0, timedelta(0), timedelta(0))
    return Lag(total, len(ages), ages[(len(ages) - 1) // 2], ages[-(-(len(ages) * 95) // 100) - 1])
