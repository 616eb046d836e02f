"""The HSM's commands a second over TCP with TLS, beside the same cryptography alone and beside SoftHSM2.

    python -m benchmarks.hsm [--rounds 7] [--commands 3000] [--json]

Operations: `load` (40 mode 1: derive, session key, check MAC1, make MAC2), `tac` (42 kind 2), `export`
(14: a card key for WRITE KEY; every card is new, so each has a synced line in the log and in the batch), `tacs`
(44 with 64 entries), `bulk` (90 with 65,536 records, Unix socket).

    alone     the same primitives called with `cryptography` by a careful user, on one core: the master's cipher and
              the session's TripleDES object are kept, card and session ciphers are fresh; CPU time in this process.
              It checks nothing, counts nothing and speaks to nobody. Judged: server CPU against this
    naive     the project's own functions, every cipher fresh; printed
    server    CPU time of the HSM's own process a command, from /proc, with 16 frames in flight (load: also 8 links
              of 16, where it never sleeps: `server_us_busy`)
    rate 1/16 commands a second by the clock with 1 and 16 in flight on one connection; client and server share
              this machine, and the client only moves bytes made beforehand
    loop      bulk: one ECB call derives all keys, then one CBC object a record with `cryptography`; judged (P3)
    local     bulk: the same engine called in this process; judged: the frame's wall time against its (P5)
    softhsm   SoftHSM2 called in process (no network): `mac` is one TDES-CBC over 24 bytes under a resident key,
              beside command M6 over TCP; `load` is what a host would have to do there, which shows it the card keys

Candidates take turns round by round; medians of each round's ratio. Cards, randoms and counters are new in
every round. The answers are checked before anything is timed. Counting, limits and the policy table are on.
"""

import argparse
import json
import os
import platform
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cryptography

from benchmarks.hsm_alone import (
    AMOUNT,
    BALANCE,
    DATE,
    TERMINAL,
    TIME,
    Alone,
    Raw,
    cards,
    good_loop,
    naive_load,
)
from benchmarks.softhsm import library
from core.clock import SystemClock
from hsm_sim import bulk_tac, clients
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import purse_requests as purse
from hsm_sim.ceremony.city import HSM_NAME, hold_city_ceremonies
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlots, Request, Role
from hsm_sim.device import Hsm
from hsm_sim.launch import HsmProcess, start_hsm
from hsm_sim.lmkfile import Argon2
from hsm_sim.secret import SecretKey
from hsm_sim.tcp import ClientTls, TcpHsm, roles_of

LOT = "07001"
GOALS = {"ratio": 0.7, "rate": 2500, "export": 1000, "tacs": 8000, "lanes": 7, "socket": 1.5}
LINKS, WINDOW = 8, 16
ENTRIES, BULK = 64, 65_536


class Bench:
    """A city's HSM as a process, its masters known to this program only for making test input."""

    def __init__(self, folder: Path) -> None:
        hsm = hold_city_ceremonies(
            folder / "hsm", SystemClock(), 7,
            lambda **wanted: Hsm.make(**wanted, kdf=Argon2(64, 1, 1)), folder / "audit", LOT,
        )  # fmt: skip
        made = hsm.hsm
        assert isinstance(made, Hsm)
        store = made.keystore
        assert store is not None
        self.masters = {
            kid: store.secret(store.entries[kid]).reveal()
            for kid in ("purse-dlk-01", "purse-dtk-01")
        }
        made.close()
        self.certificates = folder / "certificates"
        known = make_certificates(self.certificates, SystemClock())
        policy = clients.load(folder / "hsm").with_clients(known)
        # Compressed time: the quota of exports a second would measure itself.
        clients.save(folder / "hsm", policy.with_limits(exports_per_second=1_000_000))
        self.slots = KeySlots.load(folder / "hsm" / "slots.json")
        self.bulk_socket = folder / "bulk"
        self.process: HsmProcess = start_hsm(
            folder / "hsm", self.certificates, hsm.unlock_secrets, bulk_socket=self.bulk_socket
        )
        with self.client(Role.TERMS) as hsm_tcp:
            self.mac_key, _ = hsm_tcp.call(generic.GenerateWorkKey("M1", mode="C"))

    def client(self, role: Role) -> TcpHsm:
        """The project's own client."""
        tls = roles_of(self.certificates, (role,))
        return TcpHsm("127.0.0.1", self.process.port, tls, bulk_socket=self.bulk_socket)

    def requests(self, name: str, raw: Raw) -> list[Request[Any]]:
        """Well-formed requests whose checks succeed."""
        if name == "load":
            master = self.masters["purse-dlk-01"]
            return [
                purse.Load(self.slots["purse-dlk-01"], (card,), random, counter, BALANCE, AMOUNT, b"\x02",
                           TERMINAL, naive_load(master, card, counter, random)[0], DATE, TIME)
                for card, counter, random in raw
            ]  # fmt: skip
        if name == "tac":
            alone = Alone(self.masters["purse-dtk-01"])
            return [
                purse.CheckPurchaseTac(self.slots["purse-dtk-01"], (card,), AMOUNT, b"\x06", TERMINAL,
                                       counter, DATE, TIME, alone.tac(card, counter, random))
                for card, counter, random in raw
            ]  # fmt: skip
        if name == "export":
            return [
                issue.ProtectCardKey(self.slots["purse-dlk-01"], (card,), self.slots[f"lot-{LOT}-01"], (card,),
                                     issue.challenge(random), bytes.fromhex("84D401011C"), bytes(5))
                for card, _, random in raw
            ]  # fmt: skip
        if name == "tacs":
            alone = Alone(self.masters["purse-dtk-01"])
            entries = tuple(purse.TacEntry((one[0],), *alone.record(*one)) for one in raw[:ENTRIES])
            return [purse.CheckTacs("2", self.slots["purse-dtk-01"], entries)] * (
                len(raw) // ENTRIES
            )
        return [generic.MakeMac(self.mac_key, card * 3, "1") for card, _, _ in raw]

    def cpu_seconds(self) -> float:
        """CPU time of the HSM's process so far."""
        return int(Path(f"/proc/{self.process.process.pid}/schedstat").read_text().split()[0]) / 1e9


class Link:
    """One TLS connection that moves frames made beforehand."""

    def __init__(self, bench: Bench, role: Role) -> None:
        context = ClientTls.of(bench.certificates, role.lower()).context()
        plain = socket.create_connection(("127.0.0.1", bench.process.port), 10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._link: ssl.SSLSocket = context.wrap_socket(plain, server_hostname="hsm.local")
        self._buffer = b""
        self._frames: Sequence[bytes] = ()
        self._sent = 0
        self.codes: list[bytes] = []

    def begin(self, frames: Sequence[bytes], window: int) -> None:
        """Send as many as may be in flight."""
        self._frames, self._sent, self.codes = frames, min(window, len(frames)), []
        self._link.sendall(b"".join(frames[:window]))

    @property
    def done(self) -> bool:
        """Whether every frame was answered."""
        return len(self.codes) == len(self._frames)

    def step(self) -> None:
        """Take what has come; a new frame leaves for each answer."""
        self._buffer += self._link.recv(65_536)
        fresh = 0
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                break
            self.codes.append(self._buffer[8:10])
            self._buffer = self._buffer[end:]
            fresh += 1
        more = self._frames[self._sent : self._sent + fresh]
        if more:
            self._link.sendall(b"".join(more))
            self._sent += len(more)

    def close(self) -> None:
        self._link.close()


def framed(requests: Sequence[Request[Any]]) -> list[bytes]:
    """Frames as bytes."""
    bodies = [b"%04d" % (n % 10_000) + r.code.encode() + r.encode() for n, r in enumerate(requests)]
    return [len(body).to_bytes(2, "big") + body for body in bodies]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and the result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def drive(
    bench: Bench, links: Sequence[Link], name: str, count: int, window: int
) -> tuple[float, float]:
    """Commands a second by the clock and microseconds of the server's CPU, over all these links at once."""
    each = count // len(links)
    for link in links:
        link.codes = []
    loads = [framed(bench.requests(name, cards(each))) for _ in links]
    number = sum(len(frames) for frames in loads)
    cpu, begun = bench.cpu_seconds(), time.perf_counter()
    for link, frames in zip(links, loads, strict=True):
        link.begin(frames, window)
    while waiting := [link for link in links if not link.done]:
        for link in waiting:
            link.step()
    wall = time.perf_counter() - begun
    codes = {code for link in links for code in link.codes}
    if codes != {b"00"}:
        raise SystemExit(f"WRONG: {name} answered {sorted(codes)}")
    return number / wall, (bench.cpu_seconds() - cpu) / number * 1e6


def measure_round(bench: Bench, links: Sequence[Link], name: str, count: int) -> dict[str, float]:
    """One operation once: alone, naive, and over TCP at 1 and 16."""
    found: dict[str, float] = {}
    if name in ("load", "tac"):
        raw = cards(count)
        master = bench.masters["purse-dlk-01" if name == "load" else "purse-dtk-01"]
        alone = Alone(master)
        act = alone.load if name == "load" else alone.tac
        found["alone_us"] = timed(lambda: [act(*one) for one in raw])[0] / count * 1e6
        if name == "load":
            seconds, _ = timed(lambda: [naive_load(master, *one) for one in raw])
            found["naive_us"] = seconds / count * 1e6
            rate, cpu = drive(bench, links, name, 2 * count, WINDOW)
            found["rate_busy"], found["server_us_busy"] = rate, cpu
    for window in (1, WINDOW):
        fewer = 1 if window == WINDOW and name != "export" else 4
        rate, cpu = drive(bench, links[:1], name, count // fewer, window)
        found[f"rate_{window}"], found[f"server_us_{window}"] = rate, cpu
    if name == "tacs":
        found["tacs_16"] = found[f"rate_{WINDOW}"] * ENTRIES
    return found


def measure_bulk(bench: Bench, client: TcpHsm) -> dict[str, float]:
    """Command 90 beside the same engine here and beside a loop over `cryptography`; microseconds a record."""
    master = bench.masters["purse-dtk-01"]
    alone = Alone(master)
    made = [(one[0], *alone.record(*one)) for one in cards(BULK)]
    records = b"".join(card + told + tac for card, told, tac in made)
    begun = time.perf_counter()
    verdict = client.call(purse.CheckPurchaseTacs(bench.slots["purse-dtk-01"], (), records))
    socket_wall = time.perf_counter() - begun
    begun, cpu = time.perf_counter(), time.process_time()
    good = bulk_tac.check(SecretKey("T2", master), (), records)
    local_wall, local = time.perf_counter() - begun, time.process_time() - cpu
    loop, right = timed(lambda: good_loop(master, made))
    if verdict.bad or not good.all() or right != BULK:
        raise SystemExit("WRONG: a good TAC was refused")
    walls = {"socket_wall_us": socket_wall, "local_wall_us": local_wall}
    whole = {**walls, "local_us": local, "loop_us": loop}
    return {name: seconds / BULK * 1e6 for name, seconds in whole.items()}


class SoftHsmProcess:
    """SoftHSM2 in a process of its own: it leaves errors in the OpenSSL that Python's TLS uses too."""

    def __init__(self, path: str, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.softhsm", path, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def round(self, count: int) -> dict[str, float]:
        """The MAC, and a load as a host would have to do it there: microseconds of CPU each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate("", 20)


def ratio(
    rounds: list[dict[str, dict[str, float]]], name: str, upper: str, lower: str
) -> tuple[float, float, float]:
    """Median, least and greatest of a ratio formed round by round."""
    found = [r[name][upper] / r[name][lower] for r in rounds]
    return round(statistics.median(found), 3), round(min(found), 3), round(max(found), 3)


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians of every figure, and the ratios formed round by round."""
    names = rounds[0].keys()
    table = {
        name: {
            key: round(statistics.median(r[name][key] for r in rounds), 2)
            for key in rounds[0][name]
        }
        for name in names
    }
    judged: dict[str, Any] = {
        "load_ratio": ratio(rounds, "load", "alone_us", "server_us_16"),
        "load_ratio_busy": ratio(rounds, "load", "alone_us", "server_us_busy"),
        "load_ratio_naive": ratio(rounds, "load", "naive_us", "server_us_16"),
        "load_rate_16": table["load"]["rate_16"],
        "export_rate_16": table["export"]["rate_16"],
        "tacs_rate": table["tacs"]["tacs_16"],
        "bulk_to_loop": ratio(rounds, "bulk", "loop_us", "local_us"),
        "bulk_socket": ratio(rounds, "bulk", "socket_wall_us", "local_wall_us"),
    }
    if "softhsm" in names:
        rates = [r["mac"]["rate_16"] * r["softhsm"]["softhsm_mac_us"] / 1e6 for r in rounds]
        judged["mac_rate_to_softhsm"] = round(statistics.median(rates), 3)
        judged["load_to_softhsm"] = round(
            statistics.median(
                r["softhsm"]["softhsm_load_us"] / r["load"]["server_us_16"] for r in rounds
            ),
            3,
        )
    judged["goals"] = {
        "load_ratio": judged["load_ratio"][0] >= GOALS["ratio"],
        "load_rate_16": judged["load_rate_16"] >= GOALS["rate"],
        "export_rate_16": judged["export_rate_16"] >= GOALS["export"],
        "tacs_rate": judged["tacs_rate"] >= GOALS["tacs"],
        "bulk_to_loop": judged["bulk_to_loop"][0] >= GOALS["lanes"],
        "bulk_socket": judged["bulk_socket"][0] <= GOALS["socket"],
    }
    return {"medians": table, "judged": judged}


def run(rounds: int, count: int) -> dict[str, Any]:
    """All rounds; the result as one object."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        bench = Bench(folder)
        roles = {
            "load": Role.PURSE, "tac": Role.PURSE, "export": Role.ISSUE, "tacs": Role.PURSE,
            "mac": Role.SWITCH,
        }  # fmt: skip
        links = {
            name: [Link(bench, role) for _ in range(LINKS if name == "load" else 1)]
            for name, role in roles.items()
        }
        client = bench.client(Role.PURSE)
        path = library()
        soft = SoftHsmProcess(path, folder) if path else None
        load_before, found = os.getloadavg(), []
        try:
            for number in range(rounds + 1):  # the first warms up and is thrown away
                one = {name: measure_round(bench, links[name], name, count) for name in roles}
                one["bulk"] = measure_bulk(bench, client)
                if soft is not None:
                    one["softhsm"] = soft.round(count)
                if number:
                    found.append(one)
        finally:
            client.close()
            for link in (one for several in links.values() for one in several):
                link.close()
            if soft is not None:
                soft.close()
            bench.process.stop()
    return {
        "schema": "citycard/benchmark-hsm/1", "hsm": HSM_NAME, "rounds": rounds, "commands": count,
        "python": platform.python_version(), "cryptography": cryptography.__version__,
        "softhsm": path or "not installed", "cpus": os.cpu_count(),
        "load_average": [round(load_before[0], 2), round(os.getloadavg()[0], 2)], **summary(found),
    }  # fmt: skip


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commands", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.rounds, options.commands)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for name, row in result["medians"].items():
            print(f"{name:8}", "  ".join(f"{key} {value:,.1f}" for key, value in row.items()))
        print("judged  ", json.dumps(result["judged"]))
        print("load average before, after:", *result["load_average"])
    return 0 if all(result["judged"]["goals"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
