"""Chapters 4 and 6, the host's side: it runs in a thread of its own, its day is closed, its figures are read."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from core.clock import business_date
from hsm_sim.client import Role
from payments import ledger
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.clearing import ClearingRun
from payments.host import serve
from payments.limits import HostProfile, Masters
from payments.tables import MerchantDayRow, PurchaseRow
from personalization import balance
from runtime.board import PICTURES
from runtime.demo.city import LOT, OPENING, City
from runtime.demo.delivery import MadeCard
from runtime.demo.keys import KeyRoom
from runtime.demo.shops import Till

REPEATED = "REPEATED"
PREFIX = "000000"  # of an application serial number, before the card serial
HOST_ROLES = (Role.PURSE, Role.SWITCH, Role.TERMS)
STOCK_TERMS = ("opening", "good", "spoiled", "remaining", "difference")


def _authority(room: KeyRoom) -> tuple[Masters, HostProfile]:
    def master(usage: str, version: int) -> str:
        return room.slots.find(usage, "purse", version)

    return master, HostProfile(zone_key=room.slots["bank-zpk-01"])


def start_host(city: City, room: KeyRoom) -> int:
    """The purse host behind its TCP port, with certificates of its own roles at the HSM; returns the port."""
    hsm = room.client(city, *HOST_ROLES)
    masters, profile = _authority(room)
    bank = SimulatedBank(city.clock, books=city.folder("bank") / "books.jsonl")
    authorizer = Authorizer(city.db, city.clock, hsm, bank, masters, profile)
    city.closing.callback(authorizer.close)
    authorizer.recover()
    return city.closing.enter_context(serve(authorizer, city.clock)).port


def close_day(city: City, room: KeyRoom, balances: Mapping[str, int]) -> dict[str, Any]:
    """Close the launch day with what every chip says it holds."""
    hsm = room.client(city, Role.PURSE)
    masters, profile = _authority(room)
    run = ClearingRun(city.db, city.clock, hsm, masters, profile)
    chips = {PREFIX + serial: fen for serial, fen in balances.items()}
    report = run.close(business_date(OPENING), chips)
    city.progress("day closed", 1)
    with city.db.read() as tx:
        merchants = [
            {"merchant": row.merchant, "count": row.count, "amount_fen": row.amount,
             "fee_fen": row.fee, "paid_fen": row.paid}
            for row in tx.query(MerchantDayRow).order_by(MerchantDayRow.merchant)
        ]  # fmt: skip
    return {
        "day": report.day, "transactions": report.purchases, "tac_ok": report.tac_good,
        "tac_bad": report.tac_bad, "differences": report.unexplained, "explained": report.differences
        - report.unexplained, "merchants": merchants, "digest": report.digest,
    }  # fmt: skip


def card_lines(
    city: City, cards: Sequence[MadeCard], balances: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Every card with its faces, what its chip says and what the ledger owes its holder."""
    with city.db.read() as tx:
        owed = ledger.balances(tx, "purse")
    return [
        {
            "permit_no": card.permit_no,
            "card_serial": card.card_serial,
            "chip_serial": card.chip_serial,
            "front_png": str(city.out / PICTURES / card.chip_serial / "front.png"),
            "back_png": str(city.out / PICTURES / card.chip_serial / "back.png"),
            "balance_fen": balances[card.card_serial],
            "ledger_fen": owed.get(ledger.purse(PREFIX + card.card_serial), 0),
        }
        for card in cards
    ]


def stock_line(city: City) -> dict[str, int]:
    """The stock equation of the lot."""
    with city.db.read() as tx:
        now = balance.lot_balance(tx, LOT).as_numbers()
    return {term: now[term] for term in STOCK_TERMS}


def purse_line(city: City, till: Till, balances: Mapping[str, int]) -> dict[str, int]:
    """The money equation: terminals' sums, the ledger's float, the chips' total."""
    with city.db.read() as tx:
        owed = sum(ledger.balances(tx, "purse").values())
    chips = sum(balances.values())
    return {
        "loads": till.loads,
        "loaded_fen": till.loaded,
        "purchases": till.purchases,
        "spent_fen": till.spent,
        "float_fen": owed,
        "chip_total_fen": chips,
        "difference_fen": owed - chips,
    }


def repeated(city: City) -> int:
    """Uploaded purchases that the host recognised as sent before and did not post again."""
    with city.db.read() as tx:
        return tx.scalar(select(func.count()).where(PurchaseRow.state == REPEATED)) or 0
