"""The purse host end to end: durable loads a second, their latency, and where each microsecond goes.

    python benchmarks/host.py [--database sqlite|postgres|both] [--loads 2000] [--rounds 3] [--json]

Measured: terminal swarm -> TCP -> host process -> HSM process (mutual TLS) -> commit -> answer, for cash loads
(0200/0210: field 64 checked and made, MAC1 checked and MAC2 made in the HSM; message, card, load and ledger rows in
one durable transaction). Every load is of another card. Links, terminals a link and host processes on one database
are swept; only answers with 39 = 00 count.

`python -m benchmarks.purse_stages` splits the host's own part by stage.

Beside it in the same run, round by round:
    (a) pgbench, durable, prepared, 32 clients: the statements one load costs, one transaction each, same schema
    (b) pyiso8583 decode + encode of the same message, CPU, in this process
    flush: the disk's own fdatasync of 4 KB in the same folder

Goals: loads / (a) at least 1.5 on PostgreSQL and 2 on SQLite FULL; host CPU a load at most 2 x (b); p99 at 8 links
at most 10 x flush. Client, host, HSM and database share this machine's cores.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import iso8583

from benchmarks import purse_bench as bench
from benchmarks.purse_pgbench import pgbench
from benchmarks.purse_swarm import Outcome, SwarmTerminal, run
from core.clock import SystemClock
from core.db import Database
from hsm_sim.client import Role
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.messages import SPEC, parse
from payments.requests import CASH_LOAD
from runtime.services import declare_tables
from tests.postgres_server import PrivatePostgres, programs

MERCHANT = "898000000000001"
AMOUNT = 5_000
# links, terminals on each, host processes
SHAPES = ((1, 1, 1), (8, 1, 1), (32, 1, 1), (8, 8, 1), (32, 8, 1), (32, 8, 2))
HOSTS = max(hosts for _, _, hosts in SHAPES)
TERMINALS = max(links * depth for links, depth, _ in SHAPES)
CODEC_REPEATS = 2_000
FLUSHES = 100
TICK = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 60


@dataclass
class Row:
    """One shape in one round."""

    database: str
    links: int
    depth: int
    hosts: int
    loads: int
    per_second: float
    p50_ms: float
    p99_ms: float
    host_us: float
    hsm_us: float
    database_us: float
    client_us: float
    wrong: int


@dataclass
class Network:
    """Running hosts with their database and terminals."""

    name: str
    works: bench.Works
    db: Database
    ports: Sequence[int]
    host_pids: Sequence[int]
    database_pids: Sequence[int]
    terminals: list[SwarmTerminal]
    next_serial: int = 1

    def prepare(self, links: int, depth: int, loads: int) -> list[list[SwarmTerminal]]:
        """Fresh cards in the registers and sealed frames in every terminal."""
        count = links * depth
        each = max(loads // count, 1)
        serials = bench.serials(self.next_serial, each * count)
        self.next_serial += each * count
        with self.db.write() as tx:
            bench.enter_cards(tx, serials)
        used = self.terminals[:count]
        for n, terminal in enumerate(used):
            terminal.frames.clear()
            terminal.queue(
                [
                    terminal.station.load(
                        terminal.next_trace(),
                        bench.load_request(self.works.load_master, serial, AMOUNT, terminal.psam),
                        CASH_LOAD,
                    )
                    for serial in serials[n * each : (n + 1) * each]
                ]
            )
        return [used[n::links] for n in range(links)]


@contextmanager
def network(
    name: str, works: bench.Works, folder: Path, url: str, pids: Sequence[int]
) -> Iterator[Network]:
    """Host processes on a fresh database, 256 terminals signed on."""
    declare_tables()
    data = folder / f"data-{name}"
    data.mkdir()
    url = url or f"sqlite:///{data / 'city.db'}"
    db, clock = Database(url), SystemClock()
    db.create_tables()
    terminals = []
    with works.client(Role.TERMS) as hsm, db.write() as tx:
        enrol_merchant(tx, clock, MERCHANT, "Bakery", 30)
        for n in range(TERMINALS):
            pad, token = works.fit_out(hsm)
            terminal = SwarmTerminal(f"{10_000_000 + n}", MERCHANT, n.to_bytes(6, "big"), pad, n)
            enrol_terminal(tx, clock, NewTerminal(terminal.number, MERCHANT, terminal.psam, token))
            terminals.append(terminal)
    with ExitStack() as closing:
        closing.callback(db.close)
        hosts = [
            closing.enter_context(_host(works, folder, url, f"{name}-{n}"))
            for n in range(1, HOSTS + 1)
        ]
        ports, host_pids = zip(*hosts, strict=True)
        for terminal in terminals:
            terminal.sign_on(ports[0])
        yield Network(name, works, db, ports, host_pids, pids, terminals)


@contextmanager
def _host(works: bench.Works, folder: Path, url: str, name: str) -> Iterator[tuple[int, int]]:
    """A host process on the database of this address: its port and process id."""
    data = folder / f"host-{name}"
    data.mkdir()
    command = [
        sys.executable, "-m", "cli.main", "host", "serve", "--data", str(data), "--name", name,
        "--certificates", str(works.certificates), "--slots", str(folder / "hsm" / "slots.json"),
        "--hsm-port", str(works.process.port), "--port", "0",
    ]  # fmt: skip
    environment = {**os.environ, "CITYCARD_DATABASE_URL": url}
    with (folder / f"host-{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"], process.pid
    finally:
        process.terminate()
        process.wait(READY_SECONDS)


# -- measuring --------------------------------------------------------------------------------------


def cpu_of(pid: int) -> float:
    """CPU seconds a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_of_all(pids: Sequence[int]) -> float:
    """CPU seconds of a PostgreSQL server: the postmaster's and its children's, living and dead."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(int(fields[n]) for n in (11, 12, 13, 14)) / TICK
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        total += sum(cpu_of(int(child)) for child in children)
    return total


def _cpu(net: Network) -> tuple[float, float, float]:
    """CPU seconds so far of hosts, HSM and database."""
    hosts = sum(map(cpu_of, net.host_pids))
    return hosts, cpu_of(net.works.process.process.pid), cpu_of_all(net.database_pids)


def measure(net: Network, links: int, depth: int, hosts: int, loads: int) -> Row:
    """One shape: prepared outside the clock, checked after it."""
    plan = net.prepare(links, depth, loads)
    before = _cpu(net)
    done: Outcome = run(net.ports[:hosts], plan)
    host, hsm, database = (
        1e6 * (b - a) / done.count for a, b in zip(before, _cpu(net), strict=True)
    )
    codes = done.codes()
    return Row(
        net.name, links, depth, hosts, done.count, done.count / done.seconds,
        1e3 * done.percentile(50), 1e3 * done.percentile(99), host, hsm, database,
        1e6 * done.cpu / done.count, done.count - codes.get("00", 0),
    )  # fmt: skip


def codec_us(net: Network) -> float:
    """CPU microseconds of pyiso8583 to decode a load request and encode it again."""
    (frame, *_) = next(t.frames for t in net.terminals if t.frames)
    body = frame[13:]
    document, _ = iso8583.decode(body, SPEC)
    assert bytes(iso8583.encode(dict(document), SPEC)[0]) == body
    assert parse(frame).mti == "0200"
    began = time.process_time()
    for _ in range(CODEC_REPEATS):
        decoded, _ = iso8583.decode(body, SPEC)
        iso8583.encode(decoded, SPEC)
    return 1e6 * (time.process_time() - began) / CODEC_REPEATS


def flush_ms(folder: Path) -> float:
    """Median milliseconds of writing 4 KB and fdatasync in this folder."""
    file = os.open(folder / "flush", os.O_WRONLY | os.O_CREAT, 0o600)
    times = []
    try:
        for _ in range(FLUSHES):
            os.pwrite(file, os.urandom(4096), 0)
            began = time.perf_counter()
            os.fdatasync(file)
            times.append(time.perf_counter() - began)
    finally:
        os.close(file)
    return 1e3 * statistics.median(times)


# -- the run ----------------------------------------------------------------------------------------


def main() -> int:
    """Run the rounds and print the figures; 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--loads", type=int, default=2_000, help="loads a shape and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pgbench-seconds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(TemporaryDirectory(prefix="citycard-bench-")))
        result = _rounds(wanted, folder, closing)
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if wanted.json else _table(result))
    return 1 if any(row["wrong"] for row in result["rows"]) else 0


def _rounds(wanted: argparse.Namespace, folder: Path, closing: ExitStack) -> dict[str, Any]:
    server = None
    if programs() is None:
        bench.say("no PostgreSQL here: neither its rows nor pgbench")
    else:
        server = closing.enter_context(PrivatePostgres(durable=True))
    works = bench.open_works(folder, closing)
    nets = []
    if wanted.database in ("sqlite", "both"):
        nets.append(closing.enter_context(network("sqlite", works, folder, "", ())))
    if server is not None and wanted.database in ("postgres", "both"):
        pids = (server.pid,)
        nets.append(closing.enter_context(network("postgres", works, folder, server.url(), pids)))
    # A terminal's first request puts the keys of its sign-on in force: not part of a load.
    for net in nets:
        measure(net, *SHAPES[-1], TERMINALS)
    rows: list[Row] = []
    yardsticks: list[dict[str, float]] = []
    load_before = os.getloadavg()[0]
    for number in range(wanted.rounds):
        measured = {"flush_ms": flush_ms(folder)}
        if server is not None:
            measured["pgbench_tps"] = pgbench(server, wanted.pgbench_seconds)
        for links, depth, hosts in SHAPES:
            for net in nets:
                loads = wanted.loads if links * depth > 1 else max(wanted.loads // 10, 50)
                rows.append(measure(net, links, depth, hosts, loads))
                bench.say(f"round {number + 1}: {_line(rows[-1])}")
        measured["codec_us"] = codec_us(nets[0])
        measured["flush_ms"] = statistics.median((measured["flush_ms"], flush_ms(folder)))
        bench.say(f"round {number + 1}: {measured}")
        yardsticks.append(measured)
    return {
        "schema": "citycard/bench-host/1",
        "load_average": [load_before, os.getloadavg()[0]],
        "rows": [vars(row) for row in rows],
        "yardsticks": yardsticks,
        "goals": _goals(rows, yardsticks),
        "client_cpu_seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    }


def _goals(rows: Sequence[Row], yardsticks: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Median of each round's ratio, with the goal beside it."""
    found: dict[str, Any] = {}
    for name, firm in (("postgres", 1.5), ("sqlite", 2.0)):
        mine = [row for row in rows if row.database == name]
        if not mine:
            continue
        per_round = len(mine) // len(yardsticks)
        chunks = [mine[n * per_round : (n + 1) * per_round] for n in range(len(yardsticks))]
        for hosts in range(1, HOSTS + 1):
            best = [max(r.per_second for r in chunk if r.hosts == hosts) for chunk in chunks]
            if all("pgbench_tps" in one for one in yardsticks):
                ratios = [b / y["pgbench_tps"] for b, y in zip(best, yardsticks, strict=True)]
                found[f"{name}, hosts {hosts}: loads / pgbench"] = [
                    round(statistics.median(ratios), 2), f">= {firm}",
                ]  # fmt: skip
        cpu = [min(row.host_us for row in chunk) for chunk in chunks]
        ratios = [c / y["codec_us"] for c, y in zip(cpu, yardsticks, strict=True)]
        found[f"{name}: host CPU / codec"] = [round(statistics.median(ratios), 2), "<= 2"]
        slow = [next(r.p99_ms for r in chunk if (r.links, r.depth) == (8, 1)) for chunk in chunks]
        ratios = [s / y["flush_ms"] for s, y in zip(slow, yardsticks, strict=True)]
        found[f"{name}: p99 at 8 links / flush"] = [round(statistics.median(ratios), 1), "<= 10"]
    return found


def _line(row: Row) -> str:
    wrong = f"  WRONG {row.wrong}" if row.wrong else ""
    return (
        f"{row.database:8} {row.links:2} links x {row.depth}, hosts {row.hosts}: {row.per_second:7.0f}/s  "
        f"p50 {row.p50_ms:6.1f} p99 {row.p99_ms:6.1f} ms  CPU us: host {row.host_us:5.0f} "
        f"HSM {row.hsm_us:4.0f} db {row.database_us:4.0f} client {row.client_us:3.0f}{wrong}"
    )


def _table(result: dict[str, Any]) -> str:
    lines = ["every round:"]
    lines += ["  " + _line(Row(**row)) for row in result["rows"]]
    for number, one in enumerate(result["yardsticks"], 1):
        told = "  ".join(f"{name} {value:.2f}" for name, value in one.items())
        lines.append(f"  round {number}: {told}")
    lines.append("medians of round ratios, and the goals:")
    lines += [f"  {name}: {value} ({goal})" for name, (value, goal) in result["goals"].items()]
    before, after = result["load_average"]
    lines.append(f"load average {before:.1f} before, {after:.1f} after; client on the same machine")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
