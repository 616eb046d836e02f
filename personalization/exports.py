"""Files that leave the centre: work orders as NDJSON, the personalization log one line a card (production.md 13).

Both end with a manifest line: how many lines there are and the SHA-256 of every byte before it. The same
digest stands in an event, so the sealed event log vouches for the file. No name and no identity number.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import CityError, EvidenceMismatch, Rejected
from personalization import batches, orders
from personalization.tables import OrderRow, PlasticRow, SpoilRow, StationRow, WorkOrderRow
from registry.imports import RowError, row_error
from registry.roles import Actor, Role, require

WORK_ORDERS, CARD_LOG = "citycard/work-orders/1", "citycard/personalization-log/1"
MAX_LINES = 100_000
MAX_LINE = 4_000
FIRST_HASH = "0" * 64


@dataclass(frozen=True)
class Taken:
    """The answer to a file of work orders."""

    created: int
    known: int
    errors: tuple[RowError, ...]


def work_orders(tx: Tx, clock: Clock, batch: str, actor: Actor) -> bytes:
    """A batch's work orders. Raises NotAllowed E-ROLE, NotFound W-BATCH."""
    require(actor, Role.DATA_OFFICER, Role.CARD_SUPERVISOR)
    row = batches.get(tx, batch, lock=False)
    found = tx.execute(
        select(WorkOrderRow, OrderRow)
        .join(OrderRow, OrderRow.acc_no == WorkOrderRow.acc_no)
        .where(WorkOrderRow.batch == batch)
        .order_by(WorkOrderRow.acc_no, WorkOrderRow.attempt)
    )
    lines = (
        {
            "acc_no": order.acc_no, "permit_no": order.permit_no, "point": order.point,
            "kind": order.kind, "priority": order.priority, "attempt": work.attempt,
            "state": work.state, "template": work.template, "profile": work.profile,
            "data_sha256": work.data_sha256,
        }
        for work, order in found
    )  # fmt: skip
    head = {"schema": WORK_ORDERS, "batch": batch, "design_sha256": row.template_sha256}
    return _sealed(tx, clock, head, lines, batch, actor)


def card_log(tx: Tx, clock: Clock, since: datetime, until: datetime, actor: Actor) -> bytes:
    """One line per card that ended in [since, until), each with the hash of the line before it.

    Raises NotAllowed E-ROLE.
    """
    require(actor, Role.AUDITOR, Role.CARD_SUPERVISOR)
    found = tx.execute(
        select(PlasticRow, WorkOrderRow)
        .join(WorkOrderRow, WorkOrderRow.id == PlasticRow.work_order)
        .where(PlasticRow.ended_at >= since, PlasticRow.ended_at < until)
        .order_by(PlasticRow.ended_at, PlasticRow.id)
        .limit(MAX_LINES)
    )
    head = {"schema": CARD_LOG, "since": since.isoformat(), "until": until.isoformat()}
    lines = _chained(_card_line(tx, card, work) for card, work in found)
    return _sealed(tx, clock, head, lines, "personalization-log", actor)


def _card_line(tx: Tx, card: PlasticRow, work: WorkOrderRow) -> dict[str, Any]:
    station = tx.get(StationRow, card.station)
    spoil = tx.get(SpoilRow, card.id)
    return {
        "card_serial": card.card_serial, "chip_serial": card.chip_serial, "profile": work.profile,
        "station": card.station, "printer_serial": None if station is None else station.printer_serial,
        "started": card.fed_at.isoformat(),
        "ended": None if card.ended_at is None else card.ended_at.isoformat(),
        "result": card.place if spoil is None else spoil.code,
    }  # fmt: skip


def _chained(lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    previous = FIRST_HASH
    for sequence, line in enumerate(lines, 1):
        numbered = {"sequence": sequence, **line, "previous": previous}
        previous = hashlib.sha256(_packed(numbered)).hexdigest()
        yield {**numbered, "hash": previous}


def _sealed(
    tx: Tx, clock: Clock, head: dict[str, Any], lines: Iterable[dict[str, Any]], subject: str,
    actor: Actor,
) -> bytes:  # fmt: skip
    body, count = _packed(head) + b"\n", 0
    for line in lines:
        body += _packed(line) + b"\n"
        count += 1
    digest = hashlib.sha256(body).hexdigest()
    events.append(
        tx, clock, "file.exported", subject, actor=actor.name, schema=head["schema"], lines=count,
        sha256=digest,
    )  # fmt: skip
    return body + _packed({"manifest": {"lines": count, "sha256": digest}}) + b"\n"


def _packed(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def read(data: bytes, schema: str) -> list[dict[str, Any]]:
    """The lines of a file whose manifest holds. Raises EvidenceMismatch W-FILE-DIGEST, Rejected W-FILE."""
    lines = data.splitlines(keepends=True)
    if not 2 <= len(lines) <= MAX_LINES + 2 or any(len(line) > MAX_LINE for line in lines):
        raise Rejected("W-FILE", "not such a file", schema=schema)
    try:
        parsed = [json.loads(line) for line in lines]
    except ValueError:
        raise Rejected("W-FILE", "a line is no JSON", schema=schema) from None
    head, manifest = parsed[0], parsed[-1]
    if not isinstance(head, dict) or head.get("schema") != schema:
        raise Rejected("W-FILE", "another schema", schema=schema)
    said = manifest.get("manifest") if isinstance(manifest, dict) else None
    digest = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    if not isinstance(said, dict) or (said.get("lines"), said.get("sha256")) != (
        len(parsed) - 2,
        digest,
    ):
        raise EvidenceMismatch("W-FILE-DIGEST", "the manifest does not fit")
    return parsed[1:-1]


def take_work_orders(tx: Tx, clock: Clock, data: bytes, officer: Actor) -> Taken:
    """Orders of another centre for applications our register knows; each line stands for itself.

    Raises NotAllowed E-ROLE, Rejected W-FILE, EvidenceMismatch W-FILE-DIGEST.
    """
    require(officer, Role.DATA_OFFICER)
    created = known = 0
    errors: list[RowError] = []
    for number, line in enumerate(read(data, WORK_ORDERS), 2):
        try:
            with tx.begin_nested():
                if _create(tx, clock, line):
                    created += 1
                else:
                    known += 1
        except CityError as fault:
            errors.append(row_error(number, "*", fault))
    return Taken(created, known, tuple(errors))


def _create(tx: Tx, clock: Clock, line: dict[str, Any]) -> bool:
    wanted = ("acc_no", "permit_no", "point", "kind", "profile", "data_sha256")
    if any(not isinstance(line.get(name), str) for name in wanted):
        raise Rejected("W-FILE", "a value is missing", schema=WORK_ORDERS)
    acc_no = line["acc_no"]
    if tx.get(OrderRow, acc_no) is not None:
        return False
    priority = line.get("priority")
    orders.create(
        tx, clock, acc_no=acc_no, permit_no=line["permit_no"], point=line["point"],
        kind=line["kind"], profile=line["profile"],
        priority=priority if priority in (orders.URGENT, orders.NORMAL, orders.BULK) else orders.BULK,
    )  # fmt: skip
    work = orders.live_work(tx, acc_no)
    if work is None or work.data_sha256 != line["data_sha256"]:
        raise EvidenceMismatch("W-FILE-DATA", "the register holds other data", acc_no=acc_no)
    return True
