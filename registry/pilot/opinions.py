"""Hearings and feedback: statements without a person, linked to the rule they speak of (residence.md 16).

A statement with anything that may be a person's number is refused at the door, not cleaned in silence. Names
cannot be told from words by a machine; the form has no field for one and the clerk is told so.
"""

import csv
import io
from enum import StrEnum

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound
from core.ids import uuid7
from registry.masking import refuse_personal
from registry.pilot.parameters import rule_of
from registry.pilot.tables import OpinionRow
from registry.roles import Actor, Role, require

MAX_STATEMENT = 2_000


class ChannelOfOpinion(StrEnum):
    """Where it was said."""

    HEARING = "HEARING"
    POINT = "POINT"
    ONLINE = "ONLINE"


def give(tx: Tx, clock: Clock, channel: ChannelOfOpinion, rule: str, statement: str) -> str:
    """Keep a statement about the rule `rule` (a parameter of the rule export).

    Raises Rejected E-PERSONAL, E-PARAMETER (no such rule).
    """
    rule_of(rule)
    text = statement.strip()[:MAX_STATEMENT]
    refuse_personal(text)
    opinion = uuid7(clock.now())
    tx.add(
        OpinionRow(
            id=opinion, channel=channel, rule=rule, statement=text,
            given_on=business_date(clock.now()), disposition="",
        )
    )  # fmt: skip
    tx.flush()
    return opinion


def dispose(tx: Tx, opinion: str, disposition: str, actor: Actor) -> None:
    """What is done with it. Raises NotAllowed E-ROLE; Rejected E-PERSONAL; NotFound E-OPINION."""
    require(actor, Role.PILOT_OFFICE)
    row = tx.get(OpinionRow, opinion)
    if row is None:
        raise NotFound("E-OPINION", "no such statement")
    refuse_personal(disposition)
    row.disposition = disposition.strip()[:200]
    tx.flush()


def export(tx: Tx) -> str:
    """The legislative office's table: rule, channel, day, statement, disposition. No ids, no persons."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("rule", "channel", "given_on", "statement", "disposition"))
    rows = tx.scalars(
        select(OpinionRow).order_by(OpinionRow.rule, OpinionRow.given_on, OpinionRow.id)
    )
    for row in rows:
        writer.writerow((row.rule, row.channel, row.given_on, row.statement, row.disposition))
    return out.getvalue()
