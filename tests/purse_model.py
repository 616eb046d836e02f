"""The whole purse network as one random machine, from the command line as well (iso8583-host.md 16, number 3).

    python -m tests.purse_model --steps 1000000 --seeds 500 --jobs 2      # the long run, one command
    python -m tests.purse_model --steps 20000 --seeds 10 --json

Each seed is a network of its own: 4 terminals, 6 cards, a host that stops at commits, a bank that falls silent. At
the end all faults are taken away; then bank = ledger = cards must hold to the fen.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from cardos.client import CardSession
from core.clock import FixedClock
from payments import ledger
from payments.purse import open_purse
from payments.requests import UNLOAD
from payments.tables import BankOrderRow, IncidentRow, LoadRow, MessageRow, PurchaseRow
from tests.purse_city import PurseCity, memory_folder
from tests.purse_works import PATIENT, PurseWorks
from tests.purse_world import Counterpart, NotAtRest, World, balance

START = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)
TERMINALS, CARDS = 4, 6
NO_TAC = "00000000"
DECIDED = frozenset({"CONFIRMED", "REVERSED", "DECLINED"})


@dataclass
class Report:
    """What one seed did and what was found; `problems` is empty when everything held."""

    seed: int
    steps: int
    told: dict[str, int] = field(default_factory=dict)
    loads: dict[str, int] = field(default_factory=dict)
    purchases: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    incidents: dict[str, int] = field(default_factory=dict)
    cards_fen: int = 0
    ledger_fen: int = 0
    doubtful_fen: int = 0
    bank_fen: int = 0
    bank_ledger_fen: int = 0
    problems: list[str] = field(default_factory=list)


def run(works: PurseWorks, seed: int, steps: int) -> Report:
    """One network through `steps` random steps, then at rest."""
    folder = memory_folder(f"citycard-model-{seed}")
    clock = FixedClock(START)
    city = PurseCity(works, folder / "host", clock)
    dice = random.Random(seed)
    world = _world(works, city, dice, folder, seed)
    report = Report(seed, steps)
    try:
        for _ in range(steps):
            world.step()
        world.come_to_rest(lambda: _settle_host(city, dice))
        _look(city, world, report)
    except NotAtRest as stuck:
        report.problems.append(str(stuck))
    finally:
        report.told = dict(sorted(world.told.items()))
        world.close()
        city.close()
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _world(
    works: PurseWorks, city: PurseCity, dice: random.Random, folder: Path, seed: int
) -> World:
    serial = 10_000 * (seed + 1)
    cards = [works.card(f"{serial + n:014d}") for n in range(CARDS)]
    world = World(city.clock, dice, lambda frame: _deliver(city, dice, world, frame),
                  city.restart, city.bank_fault, cards)  # fmt: skip
    for n in range(1, TERMINALS + 1):
        number = serial + n
        identity, pad = city.add_terminal(number)
        home = folder / f"terminal-{n}"
        world.terminals.append(Counterpart(world, identity, home, works.psam(number), pad))
    return world


def _deliver(city: PurseCity, dice: random.Random, world: World, frame: bytes) -> bytes | None:
    """To the host, which may stop at one of the commits of this request."""
    if world.odds.host and dice.random() * 100 < world.odds.host:
        city.stop_at_commit = dice.randrange(3)
        world.told["host stops at a commit"] += 1
    answer = city.answer(frame)
    city.stop_at_commit = -1
    return answer


def _settle_host(city: PurseCity, dice: random.Random) -> None:
    """Everything the host does by itself: bank orders, judgement of purchases."""
    del dice
    city.bank.down = False
    city.bank.plan.clear()
    for _ in range(20):
        if not city.authorizer.forward_orders():
            break
    city.judge()


def _look(city: PurseCity, world: World, report: Report) -> None:
    report.cards_fen = world.on_cards()
    with city.db.read() as tx:
        report.loads = dict(
            tx.execute(select(LoadRow.state, func.count()).group_by(LoadRow.state)).all()
        )
        report.purchases = dict(
            tx.execute(select(PurchaseRow.state, func.count()).group_by(PurchaseRow.state)).all()
        )
        report.incidents = dict(
            tx.execute(select(IncidentRow.kind, func.count()).group_by(IncidentRow.kind)).all()
        )
        report.messages = tx.scalar(select(func.count()).select_from(MessageRow)) or 0
        purses = ledger.balances(tx, "purse")
        report.ledger_fen = sum(purses.values())
        report.bank_ledger_fen = -ledger.balance(tx, ledger.BANK).posted
        report.bank_fen = city.bank.net_debited()
        _compare(tx, world, purses, report)
        _decided(tx, report)
        waiting = tx.scalar(
            select(func.count()).select_from(BankOrderRow).where(BankOrderRow.state == "WAITING")
        )
        if waiting:
            report.problems.append(f"{waiting} bank orders wait")
        if sum(ledger.trial(tx).values()):
            report.problems.append("the ledger does not sum to zero")


def _doubtful(tx: Any, asn: str) -> list[int]:
    """Amounts of purchases that reached the host without a TAC and were never proven."""
    rows = tx.execute(
        select(PurchaseRow.counter, PurchaseRow.amount, PurchaseRow.tac).where(
            PurchaseRow.asn == asn, PurchaseRow.state != "REPEATED"
        )
    ).all()
    proven = {row.counter for row in rows if row.tac != NO_TAC}
    return [row.amount for row in rows if row.tac == NO_TAC and row.counter not in proven]


def _for_people(tx: Any, asn: str) -> int:
    """Fen of loads that were taken back and then proven by their TAC: two people book them (7.5)."""
    proven = select(func.coalesce(func.sum(LoadRow.amount), 0)).where(
        LoadRow.asn == asn, LoadRow.state == "UNRESOLVED", LoadRow.proven, LoadRow.kind != UNLOAD
    )
    return int(tx.scalar(proven))


def _compare(tx: Any, world: World, purses: dict[str, int], report: Report) -> None:
    """Each card against the ledger; what differs must be doubtful purchases the host was told of."""
    for card in world.cards:
        held = balance(card)
        card.reset()
        asn = open_purse(CardSession(card)).asn.hex()
        held -= _for_people(tx, asn)
        booked = purses.get(ledger.purse(asn), 0)
        amounts = _doubtful(tx, asn)
        sums = {0}
        for amount in amounts:
            sums |= {one + amount for one in sums}
        if booked - held not in sums:
            report.problems.append(f"card {asn}: holds {held}, ledger {booked}, doubt {amounts}")
        report.doubtful_fen += booked - held
    if report.bank_fen != report.bank_ledger_fen:
        report.problems.append(f"bank {report.bank_fen}, ledger {report.bank_ledger_fen}")
    for place in world.terminals:
        store = place.on().store
        if not store.empty():
            report.problems.append(f"terminal {place.identity.terminal} is not empty")


def _decided(tx: Any, report: Report) -> None:
    open_rows = tx.execute(
        select(LoadRow.key, LoadRow.state, LoadRow.reason).where(LoadRow.state.not_in(DECIDED))
    ).all()
    for key, state, reason in open_rows:
        if state != "UNRESOLVED" or not reason:
            report.problems.append(f"load {key} is {state} ({reason or 'no reason'})")
    received = report.purchases.get("RECEIVED", 0)
    if received:
        report.problems.append(f"{received} purchases were not judged")


def run_all(seeds: list[int], steps: int) -> list[Report]:
    """Several networks one after the other, with an HSM of their own; a line on stderr for each."""
    folder = memory_folder(f"citycard-model-hsm-{seeds[0]}")
    reports: list[Report] = []
    try:
        works = PurseWorks(folder, limits=PATIENT)
        for seed in seeds:
            report = run(works, seed, steps)
            reports.append(report)
            state = "; ".join(report.problems) or "ok"
            sys.stderr.write(f"seed {seed}: {steps} steps, {report.messages} messages, {state}\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return reports


def main() -> int:
    """Run seeds and print what they did; 1 when something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="steps in all")
    parser.add_argument("--seeds", type=int, default=10, help="networks they are spread over")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the seeds")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    each = max(wanted.steps // wanted.seeds, 1)
    seeds = list(range(wanted.first, wanted.first + wanted.seeds))
    shares = [share for n in range(wanted.jobs) if (share := seeds[n :: wanted.jobs])]
    began = time.monotonic()
    with ProcessPoolExecutor(len(shares)) as pool:
        parts = list(pool.map(run_all, shares, [each] * len(shares)))
    summary = summarize(sorted((r for part in parts for r in part), key=lambda r: r.seed))
    summary["seconds"] = round(time.monotonic() - began)
    sys.stdout.write(json.dumps(summary, indent=1) + "\n" if wanted.json else table(summary))
    return 1 if summary["problems"] else 0


def summarize(reports: list[Report]) -> dict[str, Any]:
    """The figures of several seeds together."""
    told: Counter[str] = Counter()
    loads: Counter[str] = Counter()
    purchases: Counter[str] = Counter()
    incidents: Counter[str] = Counter()
    for report in reports:
        told.update(report.told)
        loads.update(report.loads)
        purchases.update(report.purchases)
        incidents.update(report.incidents)
    return {
        "schema": "citycard/purse-model/1",
        "seeds": len(reports),
        "steps": sum(r.steps for r in reports),
        "messages": sum(r.messages for r in reports),
        "cards_fen": sum(r.cards_fen for r in reports),
        "ledger_fen": sum(r.ledger_fen for r in reports),
        "doubtful_fen": sum(r.doubtful_fen for r in reports),
        "bank_fen": sum(r.bank_fen for r in reports),
        "bank_ledger_fen": sum(r.bank_ledger_fen for r in reports),
        "loads": dict(loads),
        "purchases": dict(purchases),
        "incidents": dict(incidents),
        "happened": dict(sorted(told.items())),
        "problems": [f"seed {r.seed}: {p}" for r in reports for p in r.problems],
    }


def table(summary: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{summary['steps']} steps in {summary['seeds']} networks, {summary['messages']} messages"
    ]
    lines.append(
        f"cards {summary['cards_fen']} fen = ledger {summary['ledger_fen']} fen"
        f" - {summary['doubtful_fen']} fen of torn purchases nobody can prove"
    )
    lines.append(f"bank {summary['bank_fen']} fen = ledger's bank {summary['bank_ledger_fen']} fen")
    for name in ("loads", "purchases", "incidents", "happened"):
        lines.append(name)
        lines += [f"  {count:7d}  {what}" for what, count in sorted(summary[name].items())]
    lines += summary["problems"] or ["everything holds"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
