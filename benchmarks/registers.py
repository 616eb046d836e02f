"""The registers at the size of a district: the nightly sweep, one event, the list, applications, address matching.

    python -m benchmarks.registers [--permits 183900] [--rounds 3] [--apply 30] [--json]

The city is put into a fresh SQLite file by bulk inserts (not measured). Then, each the median of the rounds:

    quiet night     `engine.nightly` when nothing changes: one look at every permit
    busy night      the first night after 3 % of the permits lost their ground: notices to all of them
    naive           the same look, permit by permit (one set of queries each), on a sample: the baseline
    CPU             beside wall time stands the CPU time of the process or thread: on a machine that others
                    use too only that says what the program needs
    event           one employment message, sent and delivered in a transaction of its own, to the verdict
    applications    accepted by the API over HTTP from four windows at the wanted rate, while a busy night runs in
                    a process of its own, as the command does beside the server (`registers_windows`). The portrait
                    is one drawn picture with other trailing bytes
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
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import insert, select, update

from benchmarks.registers_city import TODAY, City, build, heartbeats, lose_jobs
from benchmarks.registers_windows import Applicants, serving
from core.clock import FixedClock, business_date
from core.db import Database
from registry import settlers, synthetic, synthetic_addresses
from registry.dormancy import cases, engine, status_list
from registry.employment import service as employment
from registry.exchange import delivery
from registry.identifiers import make_permit_no
from registry.parameters import PILOT
from registry.rental import service as rental
from registry.rental.matching import AddressIndex, measure
from registry.residence import persons
from registry.residence.tables import (
    ApplicationRow,
    HoldRow,
    PermitRow,
)
from runtime.services import declare_tables
from runtime.training_vault import training_vault

EVENTS = 300
NIGHT_LIMIT = 300
NAIVE_SAMPLE = 400
PLACES, GOLD, SCANNED = 20_000, 5_000, 20
LIST_ENTRIES = 20_000


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


def night_alone(path: str, now: datetime, answer: Any) -> None:
    """A night in a process of its own, as ``citycard permit sweep`` runs beside the counters' server."""
    declare_tables()
    db = Database(f"sqlite:///{path}")
    seconds, swept = timed(lambda: engine.nightly(db, FixedClock(now)))
    db.close()
    answer.send((seconds, swept.watched))


def busy_night(city: City, round_no: int) -> tuple[float, int]:
    """A night in which one in 33 is told; seconds and notices."""
    city.clock.advance(timedelta(days=1))
    lose_jobs(city, round_no)
    heartbeats(city)
    return timed(lambda: engine.nightly(city.db, city.clock).watched)


def night_with_applications(
    city: City, round_no: int, per_second: int, data: Path
) -> dict[str, Any]:
    """The same night in its own process while applications come to the API in another."""
    city.clock.advance(timedelta(days=1))
    lose_jobs(city, round_no)
    heartbeats(city)
    ours, theirs = get_context("spawn").Pipe()
    place = (str(city.db.engine.url.database), city.clock.now(), theirs)
    with serving(data, city.db) as (port, windows):
        applicants = Applicants(port, windows, per_second)
        night = get_context("spawn").Process(target=night_alone, args=place)
        night.start()
        applicants.start()
        came = ours.poll(NIGHT_LIMIT)
        applicants.stop()
        if not came:
            night.terminate()
            raise AssertionError("the night did not end")
        seconds, told = ours.recv()
        night.join()
    with city.db.read() as tx:
        accepted = len(tx.scalars(select(ApplicationRow.id)).all())
    if accepted != len(applicants.spent):
        raise AssertionError("what the windows were told and what the register holds differ")
    return {
        "wanted_per_second": per_second,
        "night_beside_seconds": round(seconds, 2),
        "night_beside_notices": told,
        "accepted": accepted,
        "errors": dict(applicants.errors),
        "p50_ms": _ms(percentile(applicants.spent, 50)),
        "p95_ms": _ms(percentile(applicants.spent, 95)),
        "p99_ms": _ms(percentile(applicants.spent, 99)),
        "per_second": round(applicants.rate, 1),
    }


def keep(size: int, file: Path) -> dict[str, Any]:
    """Build a city and leave it in `file`: for `applications_only`, which so takes two minutes less."""
    with training_vault() as vault:
        built, city = timed(lambda: build(file, size, vault))
        city.db.close()
    return {"schema": "citycard/benchmark-registers-city/1", "build_seconds": round(built, 1)}


def applications_only(file: Path, per_second: int) -> dict[str, Any]:
    """The busy night beside applications, on a copy of the city in `file`."""
    with TemporaryDirectory() as folder:
        shutil.copy(file, Path(folder) / "city.db")
        declare_tables()
        city = City(Database(f"sqlite:///{Path(folder) / 'city.db'}"), FixedClock(TODAY))
        with city.db.read() as tx:
            numbers = tx.scalars(select(PermitRow.permit_no).order_by(PermitRow.permit_no))
            city.permits += numbers
        heartbeats(city)
        load = round(os.getloadavg()[0], 1)
        found = night_with_applications(city, 0, per_second, Path(folder))
        city.db.close()
    size = len(city.permits)
    return {"schema": "citycard/benchmark-registers-applications/1", "permits": size,
            "load_average": load, "applications": found}  # fmt: skip


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


def run(size: int, rounds: int, per_second: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder, training_vault() as vault:
        built, city = timed(lambda: build(Path(folder) / "city.db", size, vault))
        heartbeats(city)
        quiet = [both(lambda: engine.nightly(city.db, city.clock)) for _ in range(rounds)]
        alone = naive(city)
        nights = [busy_night(city, round_no) for round_no in range(rounds)]
        applications = night_with_applications(city, rounds, per_second, Path(folder))
        events = one_event(city)
        lists = list_times(city)
        city.db.close()
    night = statistics.median(wall for wall, _ in quiet)
    walls, cpus = [wall for wall, _ in events], [cpu for _, cpu in events]
    return {
        "schema": "citycard/benchmark-registers/1",
        "permits": size,
        "build_seconds": round(built, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "quiet_night_seconds": round(night, 2),
        "quiet_night_cpu_seconds": round(statistics.median(cpu for _, cpu in quiet), 2),
        "busy_night_seconds": round(statistics.median(seconds for seconds, _ in nights), 2),
        "busy_night_rounds": [round(seconds, 2) for seconds, _ in nights],
        "notices": [told for _, told in nights],
        "naive_seconds_extrapolated": round(alone * size, 1),
        "times_naive": round(alone * size / night, 1),
        "event_ms": {"p50": _ms(percentile(walls, 50)), "p95": _ms(percentile(walls, 95))},
        "event_cpu_ms": {"p50": _ms(percentile(cpus, 50)), "p95": _ms(percentile(cpus, 95))},
        "applications": applications,
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
    parser.add_argument("--apply", type=int, default=33, help="applicants a second; the goal is 30")
    parser.add_argument("--keep", type=Path, help="only build the city, into this file")
    parser.add_argument("--city", type=Path, help="only the applications, on a city that was kept")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.keep:
        result = keep(chosen.permits, chosen.keep)
    elif chosen.city:
        result = applications_only(chosen.city, chosen.apply)
    else:
        result = run(chosen.permits, chosen.rounds, chosen.apply)
    if chosen.json:
        json.dump(result, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    for name, value in result.items():
        sys.stdout.write(f"{name:28} {value}\n")


if __name__ == "__main__":
    main()
