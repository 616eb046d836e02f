"""A district's permits in a fresh database, by bulk inserts: what `benchmarks.registers` works on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from core.clock import SHANGHAI, FixedClock, business_date
from core.db import Database
from registry import settlers
from registry.employment import service as employment
from registry.identifiers import make_card_serial, make_citizen_id, make_permit_no
from registry.rental import service as rental
from registry.residence import persons
from registry.residence.domain import Basis
from registry.residence.tables import CardRow, FactRow, LinkRow, PermitRow, PersonRow
from registry.vault import Place, Vault, attach
from runtime.services import declare_tables

SETTLED = date(2007, 1, 2)
TODAY = datetime(2007, 6, 18, 2, tzinfo=SHANGHAI)
LOST_SHARE = 33  # one in so many loses its ground
CHUNK = 5_000


@dataclass
class City:
    """A database full of permits."""

    db: Database
    clock: FixedClock
    permits: list[str] = field(default_factory=list)


def build(path: Path, size: int, vault: Vault) -> City:
    """Persons with a home, a job, a permit and a card, by bulk inserts."""
    declare_tables()
    db = Database(f"sqlite:///{path}")
    db.create_tables()
    attach(db, vault)
    city = City(db, FixedClock(TODAY))
    now = city.clock.now()
    with db.write() as tx:
        settlers.settle(tx, city.clock, 2)
    for first in range(0, size, CHUNK):
        numbers = range(first, min(first + CHUNK, size))
        with db.write() as tx:
            for table, rows in _rows(numbers, now, vault).items():
                tx.execute(insert(table), rows)
        city.permits += [make_permit_no(2007, 1_000_000 + number) for number in numbers]
    return city


def _kept(numbers: range, vault: Vault) -> Iterator[tuple[bytes, str]]:
    """The personal data of as many people under seal, and their indexes, in frames of 16."""
    people = {
        f"p{n}": {
            "citizen_id": make_citizen_id("994300", _birth(n), n % 500 * 2), "name": "张三丰",
            "household_address": "湖南省安平县1号", "phone": f"100{n:08d}",
        }
        for n in numbers
    }  # fmt: skip
    rows = [(Place(PersonRow.__tablename__, key), fields) for key, fields in people.items()]
    numbers_ = [fields["citizen_id"] for fields in people.values()]
    return zip(vault.seal(rows), vault.index(persons.REGISTER, "citizen_id", numbers_), strict=True)


def _birth(number: int) -> date:
    return date(1950, 1, 1) + timedelta(days=number // 500)


def _rows(numbers: range, now: datetime, vault: Vault) -> dict[Any, list[dict[str, Any]]]:
    persons_, links, facts, permits, cards = [], [], [], [], []
    kept = _kept(numbers, vault)
    for n in numbers:
        person, (sealed, index) = f"p{n}", next(kept)
        number = make_permit_no(2007, 1_000_000 + n)
        persons_.append(
            {"id": person, "citizen_index": index, "sealed": sealed, "sex": 1, "ethnic": 1,
             "birth": _birth(n), "photo_ref": None, "identity_level": 1, "purse_account": f"{n:016d}"}
        )  # fmt: skip
        links += [
            {"source": source, "subject": f"{source[0]}{n}", "citizen_index": index}
            for source in ("employment", "rental", "residence")
        ]
        shared = {"seq": 1, "start": SETTLED, "end": None, "withdrawn": False, "reason": "",
                  "known_at": now, "superseded_at": None}  # fmt: skip
        facts.append({"source": "employment", "record": f"j{n}", "subject": f"e{n}",
                      "kind": Basis.EMPLOYMENT, "origin": f"firm{n % 3_600}", **shared})  # fmt: skip
        facts.append({"source": "rental", "record": f"h{n}", "subject": f"r{n}", "kind": "DWELLING",
                      "origin": "4403080030010100001002001", **shared})  # fmt: skip
        permits.append(
            {"permit_no": number, "person_id": person, "type": "RP", "basis": "EMPLOYMENT",
             "address_code": "4403080030010100001002001", "issued_on": SETTLED,
             "valid_until": date(2017, 1, 1), "handed_over": True, "offered": False, "status": 2,
             "causes": 0, "ssn": 2, "effective_on": SETTLED, "lease_until": date(2007, 9, 1)}
        )  # fmt: skip
        cards.append(
            {"card_serial": make_card_serial("07001", n), "chip_serial": f"{n:016X}",
             "permit_no": number, "acc_no": f"{n:018d}", "issue_no": 1, "lot": "L", "state": "ISSUED",
             "bound_at": now, "issued_at": now, "chip_ssn": 2, "chip_status": 2}
        )  # fmt: skip
    return {PersonRow: persons_, LinkRow: links, FactRow: facts, PermitRow: permits, CardRow: cards}


def lose_jobs(city: City, round_no: int) -> None:
    """One in 33 permits loses its job as if messages had come: the facts change, nobody was told yet."""
    day = business_date(city.clock.now())
    chosen = [f"j{n}" for n in range(round_no, len(city.permits), LOST_SHARE)]
    with city.db.write() as tx:
        for first in range(0, len(chosen), 500):
            tx.execute(
                update(FactRow)
                .where(FactRow.record.in_(chosen[first : first + 500]))
                .values(end=day - timedelta(days=1))
            )


def heartbeats(city: City) -> None:
    with city.db.write() as tx:
        employment.heartbeat(tx, city.clock)
        rental.heartbeat(tx, city.clock)
        settlers.deliver_all(tx, city.clock)
