"""Taking dead letters in again after their cause was mended: one, or all of a class (residence.md 10.4)."""

from collections.abc import Mapping

from core.clock import Clock
from core.db import Tx
from registry.exchange import dead_letters, delivery
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.roles import Actor, Role, require

REPAIRERS = (Role.DATA_OFFICER, Role.SYSADMIN)


def replay(
    tx: Tx,
    clock: Clock,
    consumer: str,
    msg_id: str,
    handlers: Mapping[Type, Handler],
    actor: Actor,
) -> bool:
    """Take one open dead letter in again after its cause was mended; False when it is refused once more.

    Raises NotAllowed E-ROLE, NotFound E-DEAD-LETTER.
    """
    require(actor, *REPAIRERS)
    row = dead_letters.opened(tx, consumer, msg_id)
    message = Envelope.from_json(row.envelope)
    if delivery.take_or_bury(tx, clock, consumer, message, handlers) is None:
        return False
    dead_letters.close(tx, clock, row, dead_letters.REPLAYED, actor)
    return True


def replay_all(
    tx: Tx, clock: Clock, consumer: str, kind: str, handlers: Mapping[Type, Handler], actor: Actor
) -> tuple[int, int]:
    """All open ones of a class; returns (taken in, refused again). Raises NotAllowed E-ROLE."""
    require(actor, *REPAIRERS)
    taken = refused = 0
    for letter in dead_letters.waiting(tx, consumer, kind):
        good = replay(tx, clock, consumer, letter.msg_id, handlers, actor)
        taken += good
        refused += not good
    return taken, refused
