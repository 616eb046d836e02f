"""The registers at the size of a district: the nightly sweep, one event, the list, applications, address matching.

    python benchmarks/registers.py [--permits 183900] [--rounds 3] [--apply 30] [--json]

The city is put into a fresh SQLite file by bulk inserts (not measured). Then, each the median of the rounds:

    quiet night     `engine.nightly` when nothing changes: one look at every permit
    busy night      the first night after 3 % of the permits lost their ground: notices to all of them
    naive           the same look, permit by permit (one set of queries each), on a sample: the baseline
    CPU             beside wall time stands the CPU time of the process or thread: on a machine that others
                    use too only that says what the program needs
    event           one employment message, sent and delivered in a transaction of its own, to the verdict
    applications    save, submit, accept in a second thread at the wanted rate while a busy night runs; the
                    portrait is one drawn picture with other trailing bytes, so that drawing is not measured
    list            publishing and reading a status list, and the change to it that a terminal fetches
    matching        written addresses to codes; precision and recall on a seeded synthetic gold sample, and two
                    baselines: equal texts only, and the best `difflib` ratio over all addresses (on a sample)

Published figures of other systems stand beside ours; they were not measured here.
"""

import argparse
import difflib
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import insert, select, update

from core.clock import SHANGHAI, FixedClock, business_date
from core.db import Database
from core.errors import CityError
from registry import settlers, synthetic, synthetic_addresses
from registry.dormancy import cases, engine, status_list
from registry.employment import service as employment
from registry.exchange import delivery
from registry.identifiers import make_card_serial, make_citizen_id, make_permit_no
from registry.parameters import PILOT
from registry.rental import service as rental
from registry.rental.matching import AddressIndex, measure
from registry.residence import applications, persons
from registry.residence.domain import Basis
from registry.residence.tables import (
    ApplicationRow,
    CardRow,
    FactRow,
    HoldRow,
    LinkRow,
    PermitRow,
    PersonRow,
)
from registry.vault import Place, Vault, attach
from runtime.services import declare_tables
from runtime.training_vault import training_vault

SETTLED = date(2007, 1, 2)
TODAY = datetime(2007, 6, 18, 2, tzinfo=SHANGHAI)
LOST_SHARE = 33  # one in so many loses its ground
CHUNK = 5_000
EVENTS = 300
NAIVE_SAMPLE = 400
PLACES, GOLD, SCANNED = 20_000, 5_000, 20
LIST_ENTRIES = 20_000


@dataclass
class City:
    """A database full of permits."""

    db: Database
    clock: FixedClock
    permits: list[str] = field(default_factory=list)


def build(path: Path, count: int, vault: Vault) -> City:
    """Persons with a home, a job, a permit and a card, by bulk inserts."""
    declare_tables()
    db = Database(f"sqlite:///{path}")
    db.create_tables()
    attach(db, vault)
    city = City(db, FixedClock(TODAY))
    now = city.clock.now()
    with db.write() as tx:
        settlers.settle(tx, city.clock, 2)
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
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


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds and the result."""
    begin = time.perf_counter()
    result = act()
    return time.perf_counter() - begin, result


def both(act: Callable[[], Any]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of this thread."""
    begin, used = time.perf_counter(), time.thread_time()
    act()
    return time.perf_counter() - begin, time.thread_time() - used


def naive(city: City) -> float:
    """Seconds per permit when each is looked at by itself."""
    sample = random.Random(1).sample(city.permits, min(NAIVE_SAMPLE, len(city.permits)))
    with city.db.read() as tx:
        spent, _ = timed(
            lambda: [
                cases.one(tx, business_date(city.clock.now()), number, PILOT) for number in sample
            ]
        )
    return spent / len(sample)


def one_event(city: City) -> list[tuple[float, float]]:
    """Seconds from the employer's entry to the new verdict, for real workers."""
    place = synthetic.addresses(2)[0]
    company = synthetic.employers(1, synthetic.addresses(2))[0]
    people = synthetic.residents(EVENTS + 2)[2:]
    since = business_date(city.clock.now()) - timedelta(days=1)
    with city.db.write() as tx:
        for number, person in enumerate(people):
            known = persons.register(tx, city.clock, settlers_data(person))
            rental.move_in(tx, city.clock, place.code, person.citizen_id, person.name, since)
            tx.add(
                PermitRow(
                    permit_no=make_permit_no(2007, 5_000_000 + number),
                    person_id=known, type="RP", basis="EMPLOYMENT", address_code=place.code,
                    issued_on=since, valid_until=date(2017, 1, 1), handed_over=True, status=2,
                    causes=0, ssn=1, effective_on=since, lease_until=date(2007, 9, 1),
                )
            )  # fmt: skip
        settlers.deliver_all(tx, city.clock)

    def hire(person: synthetic.Resident) -> None:
        with city.db.write() as tx:
            employment.hire(tx, city.clock, company.code, person.citizen_id, person.name, since)
            delivery.deliver(tx, city.clock, "residence", engine.HANDLERS)

    return [both(lambda person=person: hire(person)) for person in people]


def settlers_data(person: synthetic.Resident) -> persons.PersonData:
    return persons.PersonData(
        person.citizen_id, person.name, person.sex, person.ethnic, person.household_address
    )


class Applicants(threading.Thread):
    """Accepts applications at a steady rate until told to stop."""

    def __init__(self, city: City, per_second: int, first: int) -> None:
        super().__init__()
        self.city, self.per_second = city, per_second
        self.stop = threading.Event()
        self.spent: list[float] = []
        self.errors: list[str] = []
        self.people = synthetic.residents(first + 4_000, seed=99)[first:]
        self.portrait = self.people[0].portrait()
        self.home = synthetic.addresses(2)[0]

    def run(self) -> None:
        begin = time.perf_counter()
        for number, person in enumerate(self.people):
            due = begin + number / self.per_second
            if self.stop.wait(max(0.0, due - time.perf_counter())):
                return
            try:
                spent, _ = timed(lambda number=number, person=person: self._apply(number, person))
            except CityError as error:
                self.errors.append(error.code)
            else:
                self.spent.append(spent)

    def _apply(self, number: int, person: synthetic.Resident) -> None:
        point = settlers.point_for(number)
        clerk, clock = settlers.clerk_at(point), self.city.clock
        with self.city.db.write() as tx:
            known = persons.register(tx, clock, settlers_data(person))
            picture = self.portrait + f"{id(self)}:{number}".encode()
            persons.store_photo(tx, clock, known, picture)
            draft = applications.Draft(known, Basis.EMPLOYMENT, self.home.code, point.code)
            tracking = applications.save(tx, clock, draft, clerk)
            applications.submit(tx, clock, tracking, clerk)
            applications.accept(tx, clock, tracking, clerk, f"R{number}")


def busy_nights(city: City, rounds: int, per_second: int) -> tuple[list[float], int, Applicants]:
    """Nights in which one in 33 is told; applications come in during the last one."""
    spent, told = [], 0
    applicants = Applicants(city, per_second, 0)
    for round_no in range(rounds):
        city.clock.advance(timedelta(days=1))
        lose_jobs(city, round_no)
        heartbeats(city)
        if round_no == rounds - 1:
            applicants.start()
        seconds, swept = timed(lambda: engine.nightly(city.db, city.clock))
        spent.append(seconds)
        told += swept.watched
    applicants.stop.set()
    applicants.join()
    return spent, told, applicants


def list_times(city: City) -> dict[str, float]:
    """Seconds to publish a list of 20,000, read it whole, and fetch one change."""
    now = city.clock.now()
    chosen = city.permits[:LIST_ENTRIES]
    with city.db.write() as tx:
        tx.execute(
            insert(HoldRow),
            [{"permit_no": number, "kind": "LOSS", "since": now, "stolen": False, "evidence": "b"}
             for number in chosen],
        )  # fmt: skip
        for first in range(0, len(chosen), 500):
            tx.execute(
                update(PermitRow)
                .where(PermitRow.permit_no.in_(chosen[first : first + 500]))
                .values(causes=4, status=4)
            )
        publish, version = timed(lambda: status_list.publish(tx, city.clock))
    with city.db.write() as tx:
        tx.execute(update(PermitRow).where(PermitRow.permit_no == chosen[0]).values(ssn=9))
        status_list.publish(tx, city.clock)
    with city.db.read() as tx:
        full, _ = timed(lambda: status_list.delta(tx, 0))
        change, delta = timed(lambda: status_list.delta(tx, version))
    if len(delta.entries) != 1:
        raise AssertionError("one card changed")
    return {"publish": publish, "full": full, "change": change}


def matching(rounds: int) -> dict[str, Any]:
    places = synthetic_addresses.town(PLACES)
    index = AddressIndex(places)
    gold = synthetic_addresses.gold_sample(places, GOLD)
    quality = measure(index, gold)
    rates = [len(gold) / timed(lambda: measure(index, gold))[0] for _ in range(rounds)]
    texts = {text: code for code, text in places}
    equal = sum(code is not None and texts.get(text) == code for text, code in gold.items())
    sample = [(text, code) for text, code in gold.items() if code][:SCANNED]
    scan, best = timed(
        lambda: [
            max(texts, key=lambda known, t=text: difflib.SequenceMatcher(None, t, known).quick_ratio())
            for text, _ in sample
        ]
    )  # fmt: skip
    right = sum(texts[found] == code for found, (_, code) in zip(best, sample, strict=True))
    rate = statistics.median(rates)
    return {
        "places": len(places), "texts": quality.texts, "per_second": round(rate),
        "precision_percent": quality.precision_bp / 100, "recall_percent": quality.recall_bp / 100,
        "recall_with_queue_percent": quality.assisted_recall_bp / 100,
        "auto": quality.auto, "queued": quality.queued, "unmatched": quality.unmatched,
        "equal_texts_recall_percent": round(100 * equal / quality.should_match, 2),
        "difflib_per_second": round(SCANNED / scan, 2),
        "difflib_right_percent": round(100 * right / len(sample)),
        "times_difflib": round(rate * scan / SCANNED),
    }  # fmt: skip


def percentile(values: list[float], share: int) -> float:
    ranked = sorted(values)
    return ranked[-(-len(ranked) * share // 100) - 1] if ranked else 0.0


def run(count: int, rounds: int, per_second: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder, training_vault() as vault:
        built, city = timed(lambda: build(Path(folder) / "city.db", count, vault))
        heartbeats(city)
        quiet = [both(lambda: engine.nightly(city.db, city.clock)) for _ in range(rounds)]
        alone = naive(city)
        busy, told, applicants = busy_nights(city, rounds, per_second)
        events = one_event(city)
        lists = list_times(city)
        with city.db.read() as tx:
            accepted = len(tx.scalars(select(ApplicationRow.id)).all())
        city.db.close()
    night = statistics.median(wall for wall, _ in quiet)
    walls, cpus = [wall for wall, _ in events], [cpu for _, cpu in events]
    return {
        "schema": "citycard/benchmark-registers/1",
        "permits": count,
        "build_seconds": round(built, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "quiet_night_seconds": round(night, 2),
        "quiet_night_cpu_seconds": round(statistics.median(cpu for _, cpu in quiet), 2),
        "busy_night_seconds": round(statistics.median(busy), 2),
        "busy_night_rounds": [round(seconds, 2) for seconds in busy],
        "notices": told,
        "naive_seconds_extrapolated": round(alone * count, 1),
        "times_naive": round(alone * count / night, 1),
        "event_ms": {"p50": _ms(percentile(walls, 50)), "p95": _ms(percentile(walls, 95))},
        "event_cpu_ms": {"p50": _ms(percentile(cpus, 50)), "p95": _ms(percentile(cpus, 95))},
        "applications": {
            "wanted_per_second": per_second,
            "accepted": accepted,
            "errors": applicants.errors,
            "p50_ms": _ms(percentile(applicants.spent, 50)),
            "p95_ms": _ms(percentile(applicants.spent, 95)),
            "per_second": round(len(applicants.spent) / busy[-1], 1),
        },
        "list_ms": {name: _ms(seconds) for name, seconds in lists.items()},
        "matching": matching(rounds),
        "published": {"mosip_status_locks_per_second": "4.1-4.7",
                      "mosip_packet_uploads_per_second": "0.97-1.85"},
    }  # fmt: skip


def _ms(seconds: float) -> float:
    return round(1_000 * seconds, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--permits", type=int, default=183_900)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--apply", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    result = run(chosen.permits, chosen.rounds, chosen.apply)
    if chosen.json:
        json.dump(result, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    for name, value in result.items():
        sys.stdout.write(f"{name:28} {value}\n")


if __name__ == "__main__":
    main()
