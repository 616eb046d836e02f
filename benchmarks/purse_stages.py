"""Where a load's microseconds go inside the host: CPU by stage, in this process.

    python -m benchmarks.purse_stages [--batch 64]

The same authorizer as in the host process, on SQLite FULL, with the HSM as a process behind TLS. A stage is timed
with the process's CPU clock; a stage that contains another shows its own part only.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import purse_bench as bench
from benchmarks.purse_swarm import SwarmTerminal
from core.clock import SystemClock
from core.db import Database
from hsm_sim.client import Role
from hsm_sim.tcp import TcpHsm
from payments import authorize
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.host_process import settle_in
from payments.limits import HostProfile
from payments.line import Line
from payments.messages import build, parse
from payments.requests import CASH_LOAD
from payments.work import Arrival
from runtime.services import declare_tables

MERCHANT, AMOUNT = "898000000000001", 5_000
WARM, TIMED = 4, 16
STAGES: tuple[tuple[Any, str, str], ...] = (
    (authorize, "open_work", "parse the message, key, fingerprint"),
    (authorize, "read", "read what is known (6 statements a batch)"),
    (Authorizer, "_propose", "decide as if the MACs were right"),
    (Authorizer, "_body", "build the answer"),
    (Line, "authenticate", "check MACs, make MAC2 and field 64 (HSM)"),
    (authorize, "write", "write rows (6 statements a batch)"),
    (Authorizer, "_write", "transaction and commit"),
    (TcpHsm, "call_each", "of it: HSM link, TLS, encode, decode"),
)


class Timer:
    """CPU seconds by stage, each without the stages inside it."""

    def __init__(self) -> None:
        self.own: dict[str, float] = {}
        self._inner = [0.0]

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Time a function or method from now on."""
        original: Callable[..., Any] = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return original(*given, **named)
            finally:
                used, inside = time.process_time() - began, self._inner.pop()
                self._inner[-1] += used
                self.own[label] = self.own.get(label, 0.0) + used - inside

        setattr(owner, name, timed)


def main() -> int:
    """Time the stages and print them; 1 when an answer was not 00."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help="requests decided together")
    size = parser.parse_args().batch
    declare_tables()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(TemporaryDirectory(prefix="citycard-stages-")))
        works = bench.open_works(folder, closing)
        hsm = closing.enter_context(works.client(Role.PURSE, Role.SWITCH, Role.TERMS))
        db, clock = Database(f"sqlite:///{folder / 'host.db'}"), SystemClock()
        db.create_tables()
        terminals = _terminals(works, hsm, db, clock, size)
        authorizer = Authorizer(
            db, clock, hsm, SimulatedBank(clock),
            lambda usage, version: works.slots.find(usage, "purse", version), HostProfile(),
        )  # fmt: skip
        authorizer.recover()
        batches = _batches(works, db, authorizer, terminals)
        for batch in batches[:WARM]:
            authorizer.handle(batch)
        settle_in()
        timer = Timer()
        for owner, name, label in STAGES:
            timer.wrap(owner, name, label)
        began, good = time.process_time(), 0
        for batch in batches[WARM:]:
            replies = authorizer.handle(batch)
            good += sum(parse(reply.frame).response == "00" for reply in replies)
        total = time.process_time() - began
        authorizer.close()
        db.close()
    _print(timer, total, TIMED * size, size)
    return 0 if good == TIMED * size else 1


def _terminals(
    works: bench.Works, hsm: TcpHsm, db: Database, clock: SystemClock, size: int
) -> list[SwarmTerminal]:
    found = []
    with db.write() as tx:
        enrol_merchant(tx, clock, MERCHANT, "Bakery", 30)
        for n in range(size):
            pad, token = works.fit_out(hsm)
            one = SwarmTerminal(f"{10_000_000 + n}", MERCHANT, n.to_bytes(6, "big"), pad, n)
            enrol_terminal(tx, clock, NewTerminal(one.number, MERCHANT, one.psam, token))
            found.append(one)
    return found


def _batches(
    works: bench.Works, db: Database, authorizer: Authorizer, terminals: list[SwarmTerminal]
) -> list[list[Arrival]]:
    """Every terminal signed on; batches of one load each, every one of another card."""
    for one in terminals:
        frame = build(one.station.sign_on(one.next_trace()))
        answer = parse(authorizer.answer(frame, one.number) or b"")
        one.pad.load_work_keys(answer.octets(62))
        one.batch = answer.batch
    serials = bench.serials(1, (WARM + TIMED) * len(terminals))
    with db.write() as tx:
        bench.enter_cards(tx, serials)
    left = iter(serials)

    def load(one: SwarmTerminal) -> Arrival:
        request = bench.load_request(works.load_master, next(left), AMOUNT, one.psam)
        message = one.station.load(one.next_trace(), request, CASH_LOAD)
        return Arrival(build(message, one.pad.make_mac))

    return [[load(one) for one in terminals] for _ in range(WARM + TIMED)]


def _print(timer: Timer, total: float, loads: int, size: int) -> None:
    lines = [f"CPU microseconds a load inside the host, batches of {size}:"]
    for _, _, label in STAGES:
        lines.append(f"  {1e6 * timer.own.get(label, 0.0) / loads:7.0f}  {label}")
    rest = total - sum(timer.own.values())
    lines.append(f"  {1e6 * rest / loads:7.0f}  the rest")
    lines.append(f"  {1e6 * total / loads:7.0f}  together")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
