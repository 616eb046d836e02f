"""Closing a business day: freeze, judge, total, reconcile, close (architecture.md 10, iso8583-host.md 11, 12).

Each step is a commit of its own and does nothing the second time, so a run that was killed is simply run
again. A day that is closed gives its report back, byte for byte.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select, update

from core import events
from core.clock import Clock, business_date
from core.db import Database, Tx
from core.errors import NotFound, Rejected
from hsm_sim.client import Hsm
from payments import ledger, reconcile
from payments.bank import Bank, BankLine
from payments.completed_loads import completed_loads
from payments.judging import POSTED, RECEIVED, Judge
from payments.ledger import Transfer
from payments.limits import Gate, HostProfile, Masters, register_gate
from payments.reconcile import Difference
from payments.requests import UNLOAD
from payments.tables import (
    ClearingDayRow,
    DifferenceRow,
    IncidentRow,
    MerchantDayRow,
    PurchaseRow,
)

CLOSING, CLOSED = "CLOSING", "CLOSED"
SUBJECT_LENGTH = 55  # of 60: what comes twice has its number behind it
SCHEMA = "citycard/clearing-day/1"
_D = ClearingDayRow


@dataclass(frozen=True)
class DayReport:
    """A closed day. Money in fen; `unexplained` must be 0. `float_fen`: what all chips should hold together."""

    schema: str
    day: str
    purchases: int
    amount: int
    fees: int
    paid: int
    tac_good: int
    tac_bad: int
    repeated: int
    conflicts: int
    kept: int
    foreign: int
    loads: int
    loaded: int
    float_fen: int
    chips_fen: int
    chips: int
    incidents: int
    differences: int
    unexplained: int

    @property
    def text(self) -> str:
        """JSON with sorted keys: the bytes the digest is over."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the report."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_report(tx: Tx, day: date) -> DayReport:
    """The report of a closed day. Raises NotFound CLEARING-DAY."""
    row = tx.get(ClearingDayRow, day)
    if row is None or row.state != CLOSED:
        raise NotFound("CLEARING-DAY", "this day is not closed", day=day.isoformat())
    return DayReport(**json.loads(row.report))


@dataclass(frozen=True)
class ClearingRun:
    """The process that closes days. It owns the HSM; `bank` None leaves its check file out."""

    db: Database
    clock: Clock
    hsm: Hsm
    masters: Masters
    profile: HostProfile
    bank: Bank | None = None
    gate: Gate = register_gate

    def close(self, day: date, chips: Mapping[str, int] | None = None) -> DayReport:
        """Close `day`. `chips`: balances read from cards, by ASN (20 digits), to compare with the ledger.

        Raises Rejected CLEARING-FUTURE, and the HSM's errors (then run it again).
        """
        limit = self._freeze(day)
        if limit is None:
            with self.db.read() as tx:
                return read_report(tx, day)
        Judge(self.db, self.clock, self.hsm, self.masters, self.profile, self.gate).run(limit)
        with self.db.write() as tx:
            self._settle(tx, day, limit)
        files = self._check_files(day)
        with self.db.write() as tx:
            found = self._differences(tx, day, chips or {}, files)
            report = self._report(tx, day, limit, chips or {}, found)
            self._finish(tx, day, report, found)
        return report

    def _freeze(self, day: date) -> int | None:
        """The last purchase that belongs to the run; None when the day is closed already."""
        with self.db.write() as tx:
            if day > business_date(self.clock.now()):
                raise Rejected("CLEARING-FUTURE", "this day is not over", day=day.isoformat())
            row = tx.get(_D, day)
            if row is not None:
                return None if row.state == CLOSED else row.purchase_limit
            query = select(func.max(PurchaseRow.id)).where(PurchaseRow.day <= day)
            limit = tx.scalar(query) or 0
            tx.add(_D(day=day, state=CLOSING, purchase_limit=limit, at=self.clock.now()))
            waiting = tx.scalar(
                select(func.count()).where(PurchaseRow.id <= limit, PurchaseRow.cleared.is_(None))
            )
            events.append(tx, self.clock, "day.closing", day.isoformat(), purchases=waiting or 0)
            return limit

    def _settle(self, tx: Tx, day: date, limit: int) -> None:
        """Merchants' totals, once: what people decide after a run that was killed here belongs to the next day."""
        if tx.scalar(select(MerchantDayRow.day).where(MerchantDayRow.day == day).limit(1)):
            return
        mine = (PurchaseRow.id <= limit, PurchaseRow.cleared.is_(None))
        rows = tx.execute(
            select(
                PurchaseRow.merchant, func.count(), func.sum(PurchaseRow.amount),
                func.sum(PurchaseRow.fee),
            )
            .where(*mine, PurchaseRow.state == POSTED)
            .group_by(PurchaseRow.merchant)
            .order_by(PurchaseRow.merchant)
        ).all()  # fmt: skip
        transfers: list[Transfer] = []
        for merchant, count, amount, fees in rows:
            tx.add(
                MerchantDayRow(
                    day=day, merchant=merchant, count=count, amount=int(amount), fee=int(fees),
                    paid=int(amount) - int(fees),
                )
            )  # fmt: skip
            transfers += _merchant_transfers(day, merchant, int(amount), int(fees))
        ledger.post(tx, transfers, day, self.clock.now())
        tx.execute(
            update(PurchaseRow).where(*mine, PurchaseRow.state != RECEIVED).values(cleared=day)
        )

    def _check_files(self, day: date) -> tuple[list[BankLine], list[BankLine]] | None:
        """The bank's lines of the day, and of the next one so far."""
        if self.bank is None:
            return None
        return self.bank.check_file(day), self.bank.check_file(day + timedelta(days=1))

    def _differences(
        self,
        tx: Tx,
        day: date,
        chips: Mapping[str, int],
        files: tuple[list[BankLine], list[BankLine]] | None,
    ) -> list[Difference]:
        found = reconcile.ledger_differences(tx) + reconcile.card_differences(tx, chips)
        found += reconcile.open_loads(tx) + reconcile.terminal_differences(tx)
        if files is not None:
            found += reconcile.bank_differences(tx, files[0], day, files[1])
        return found

    def _report(
        self, tx: Tx, day: date, limit: int, chips: Mapping[str, int], found: list[Difference]
    ) -> DayReport:
        cleared = (PurchaseRow.cleared == day, PurchaseRow.id <= limit)
        totals = tx.execute(
            select(
                func.count(), func.coalesce(func.sum(MerchantDayRow.amount), 0),
                func.coalesce(func.sum(MerchantDayRow.fee), 0),
                func.coalesce(func.sum(MerchantDayRow.paid), 0),
                func.coalesce(func.sum(MerchantDayRow.count), 0),
            ).where(MerchantDayRow.day == day)
        ).one()  # fmt: skip
        loads = [row.amount for row in completed_loads(tx, day) if row.kind != UNLOAD]

        def count(*where: Any) -> int:
            return tx.scalar(select(func.count()).where(*cleared, *where)) or 0

        incidents = select(func.count()).where(IncidentRow.day == day)
        return DayReport(
            schema=SCHEMA, day=day.isoformat(), purchases=int(totals[4]), amount=int(totals[1]),
            fees=int(totals[2]), paid=int(totals[3]),
            tac_good=count(PurchaseRow.tac_good.is_(True)),
            tac_bad=count(PurchaseRow.tac_good.is_(False), PurchaseRow.state != "FOREIGN"),
            repeated=count(PurchaseRow.state == "REPEATED"),
            conflicts=count(PurchaseRow.flags.contains("C") | PurchaseRow.flags.contains("P")),
            kept=count(PurchaseRow.state == "HELD"),
            foreign=count(PurchaseRow.state == "FOREIGN"),
            loads=len(loads), loaded=sum(loads),
            float_fen=sum(ledger.balances(tx, "purse").values()),
            chips_fen=sum(chips.values()), chips=len(chips),
            incidents=tx.scalar(incidents) or 0,
            differences=len(found), unexplained=sum(not one.explained for one in found),
        )  # fmt: skip

    def _finish(self, tx: Tx, day: date, report: DayReport, found: list[Difference]) -> None:
        times: Counter[tuple[str, str]] = Counter()
        for one in found:
            name = one.subject[:SUBJECT_LENGTH]
            times[(one.kind, name)] += 1
            again = times[(one.kind, name)]  # a bank may have taken and paid under one reference
            tx.add(
                DifferenceRow(
                    day=day, kind=one.kind, subject=name if again == 1 else f"{name} ({again})",
                    amount=one.amount,
                    reason=one.reason[:120], explained=one.explained,
                )
            )  # fmt: skip
        row = tx.get(_D, day)
        assert row is not None
        row.state, row.report, row.digest = CLOSED, report.text, report.digest
        events.append(
            tx, self.clock, "day.closed", day.isoformat(), purchases=report.purchases,
            amount=report.amount, differences=report.unexplained, digest=report.digest,
        )  # fmt: skip


def _merchant_transfers(day: date, merchant: str, amount: int, fees: int) -> list[Transfer]:
    account = ledger.merchant(merchant)
    found = []
    if fees:
        found.append(Transfer(f"fee:{day}:{merchant}", account, ledger.FEES, fees, "fee"))
    if amount - fees:
        paid = Transfer(f"payout:{day}:{merchant}", account, ledger.BANK, amount - fees, "payout")
        found.append(paid)
    return found
