"""Rented units, who answers for them, and contracts (residence.md 4.1, 9). Flags warn; they do not block."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, insert, or_, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from core.ids import uuid7
from registry import vault
from registry.rental import address, occupants, tasks
from registry.rental.tables import ContractRow, OccupancyRow, ResponsibleRow, UnitRow
from registry.roles import CLERKS, Actor, Role, require

USES = frozenset({"DWELLING", "DORMITORY", "SHOP_HOUSE"})


@dataclass(frozen=True)
class Crowding:
    """People registered at a unit against its capacity."""

    code: str
    capacity: int
    people: int


def register_responsible(
    tx: Tx, clock: Clock, key: str, name: str, phone: str = "", proxy_of: str | None = None
) -> str:
    """An owner or proxy by citizen id or organisation code; returns the id, the same for the same key."""
    (index,) = vault.of(tx).index(occupants.SOURCE, "responsible", [key])
    row = tx.scalar(select(ResponsibleRow).where(ResponsibleRow.key_index == index))
    if row is None:
        known = uuid7(clock.now())
        fields = {"key": key, "name": name, "phone": phone}
        sealed = vault.seal(tx, ResponsibleRow.__tablename__, known, fields)
        row = ResponsibleRow(id=known, key_index=index, sealed=sealed, proxy_of=proxy_of)
        tx.add(row)
        tx.flush()
    return row.id


def open_unit(tx: Tx, code: str, responsible: str, use: str, capacity: int, station: str) -> None:
    """Register a rented unit; again with the same values changes nothing.

    Raises Rejected E-AC-*, E-UNIT (use or capacity), NotFound E-RESPONSIBLE.
    """
    address.active(tx, code)
    _check_unit(tx, responsible, use, capacity)
    tx.merge(
        UnitRow(
            code=code, responsible_id=responsible, use=use, capacity=capacity, station=station,
            risk=0, open=True,
        )
    )  # fmt: skip
    tx.flush()


def open_all(tx: Tx, responsible: str, use: str, lines: Sequence[tuple[str, int, str]]) -> None:
    """Register rooms that were activated just now: (code, capacity, station). Raises as `open_unit`."""
    _check_unit(tx, responsible, use, min((capacity for _, capacity, _ in lines), default=1))
    tx.execute(
        insert(UnitRow),
        [
            {
                "code": code, "responsible_id": responsible, "use": use, "capacity": capacity,
                "station": station, "risk": 0, "open": True,
            }
            for code, capacity, station in lines
        ],
    )  # fmt: skip


def _check_unit(tx: Tx, responsible: str, use: str, capacity: int) -> None:
    if use not in USES or capacity < 1:
        raise Rejected("E-UNIT", "use or capacity is wrong")
    if tx.get(ResponsibleRow, responsible) is None:
        raise NotFound("E-RESPONSIBLE", "no such owner")


def own_unit(tx: Tx, code: str, actor: Actor, responsible: str) -> UnitRow:
    """A unit as its landlord may see it. Raises NotFound E-UNIT-NONE, NotAllowed E-ROLE for another's unit."""
    require(actor, Role.LANDLORD, *CLERKS)
    row = _unit(tx, code)
    if Role.LANDLORD in actor.roles and row.responsible_id != responsible:
        raise NotAllowed("E-ROLE", "landlords see their own units only")
    return row


def sign_contract(
    tx: Tx, clock: Clock, code: str, tenant: str, first_day: date, last_day: date
) -> str:
    """Register a contract; the same again is the same one. Overlap beyond the capacity opens a task.

    Raises NotFound E-UNIT-NONE, Rejected E-DATE-ORDER.
    """
    unit = _unit(tx, code)
    if last_day < first_day:
        raise Rejected("E-DATE-ORDER", "the contract ends before it begins")
    same = tx.scalar(
        select(ContractRow.id).where(
            ContractRow.code == code, ContractRow.tenant_id == tenant,
            ContractRow.first_day == first_day, ContractRow.last_day == last_day,
            ContractRow.terminated_on.is_(None),
        )
    )  # fmt: skip
    if same is not None:
        return same
    row = ContractRow(
        id=uuid7(clock.now()), code=code, tenant_id=tenant, first_day=first_day, last_day=last_day,
        registered_on=business_date(clock.now()),
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    running = tx.scalar(
        select(func.count()).where(
            ContractRow.code == code,
            ContractRow.first_day <= last_day,
            ContractRow.last_day >= first_day,
            or_(ContractRow.terminated_on.is_(None), ContractRow.terminated_on > first_day),
        )
    )
    if (running or 0) > unit.capacity:
        tasks.open_task(tx, clock, tasks.CROWDED, code, f"{running} contracts for {unit.capacity}")
    return row.id


def terminate(tx: Tx, contract: str, day: date) -> None:
    """End a contract early. Raises NotFound E-CONTRACT, Rejected E-DATE-ORDER."""
    row = tx.get(ContractRow, contract)
    if row is None:
        raise NotFound("E-CONTRACT", "no such contract")
    if day < row.first_day:
        raise Rejected("E-DATE-ORDER", "it did not run yet")
    row.terminated_on = day


def crowded(tx: Tx, day: date) -> list[Crowding]:
    """Units with more people than beds."""
    rows = tx.execute(
        select(UnitRow.code, UnitRow.capacity, func.count())
        .join(OccupancyRow, OccupancyRow.address_code == UnitRow.code)
        .where(
            OccupancyRow.withdrawn_at.is_(None),
            OccupancyRow.move_in <= day,
            or_(OccupancyRow.move_out.is_(None), OccupancyRow.move_out >= day),
        )
        .group_by(UnitRow.code, UnitRow.capacity)
        .having(func.count() > UnitRow.capacity)
        .order_by(UnitRow.code)
    )
    return [Crowding(code, capacity, people) for code, capacity, people in rows]


def _unit(tx: Tx, code: str) -> UnitRow:
    row = tx.get(UnitRow, code)
    if row is None:
        raise NotFound("E-UNIT-NONE", "no such rented unit")
    return row
