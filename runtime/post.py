"""The post between the three registers in one installation: who takes in what (residence.md 10.1).

The registers know the message types only; here each consumer gets its own handlers.
"""

from collections.abc import Mapping

from core.clock import Clock
from core.db import Database
from registry.dormancy import engine
from registry.employment import incoming as employment
from registry.exchange import delivery
from registry.exchange.delivery import Delivered, Handler
from registry.exchange.messages import Type
from registry.rental import incoming as rental

CONSUMERS: Mapping[str, Mapping[Type, Handler]] = {
    "residence": engine.HANDLERS,
    "employment": employment.HANDLERS,
    "rental": rental.HANDLERS,
}
MAX_PAGES = 10_000


def carry(db: Database, clock: Clock) -> dict[str, Delivered]:
    """Deliver to every register what the others announced, a page a transaction, until nothing is new.

    Killed in the middle, the next run does the rest. Raises Unavailable: DB-CONFLICT, or what a handler misses.
    """
    return {consumer: _carry(db, clock, consumer) for consumer in CONSUMERS}


def _carry(db: Database, clock: Clock, consumer: str) -> Delivered:
    total = Delivered()
    for _ in range(MAX_PAGES):
        with db.write() as tx:
            run = delivery.deliver(tx, clock, consumer, CONSUMERS[consumer])
        if run == Delivered():
            break
        total = Delivered(
            total.taken + run.taken, total.repeated + run.repeated, total.refused + run.refused
        )
    return total
