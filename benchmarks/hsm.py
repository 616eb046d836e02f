"""The HSM's commands a second over TCP with TLS, beside the same cryptography alone and beside SoftHSM2.

    python benchmarks/hsm.py [--rounds 7] [--commands 3000] [--json]

Operations: `load` (40 mode 1: derive, session key, check MAC1, make MAC2), `tac` (42 kind 2), `export`
(14: a card key for WRITE KEY; every card is new, so each has a synced line in the log and in the batch).

    alone     the same primitives called with `cryptography` by a careful user: the master's cipher is kept, card
              and session keys are fresh; CPU time in this process. Judged: server CPU against this
    naive     the project's own functions, every cipher fresh; printed
    server    CPU time of the HSM's own process a command, from /proc, with 16 frames in flight
    rate 1/16 commands a second by the clock with 1 and 16 in flight on one connection; client and server share
              this machine, and the client only moves bytes made beforehand
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
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from benchmarks.softhsm import library
from core import crypto
from core.clock import SystemClock
from hsm_sim import clients
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import purse_requests as purse
from hsm_sim.ceremony.city import HSM_NAME, hold_city_ceremonies
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlots, Request, Role
from hsm_sim.device import Hsm
from hsm_sim.launch import HsmProcess, start_hsm
from hsm_sim.lmkfile import Argon2
from hsm_sim.tcp import ClientTls, TcpHsm, roles_of

LOT = "07001"
AMOUNT, BALANCE, TERMINAL = 500, 100, bytes(6)
DATE, TIME = bytes.fromhex("20261127"), bytes.fromhex("101500")
GOALS = {"ratio": 0.7, "rate": 2500}
Raw = list[tuple[bytes, int, bytes]]  # card factor, counter, random


def cards(count: int) -> Raw:
    """New cards with new randoms."""
    return [(b"\x00" + os.urandom(7), n % 65_536, os.urandom(4)) for n in range(count)]


class Alone:
    """The cryptography of a load and a TAC by a careful user of the library."""

    def __init__(self, master: bytes) -> None:
        self._master = Cipher(TripleDES(master + master[:8]), modes.ECB()).encryptor()

    def load(self, card: bytes, counter: int, random: bytes) -> tuple[bytes, bytes]:
        """MAC1 and MAC2."""
        key = self._master.update(card + bytes(b ^ 0xFF for b in card))
        cipher = Cipher(TripleDES(key + key[:8]), modes.ECB()).encryptor()
        session = cipher.update(random + counter.to_bytes(2, "big") + b"\x80\x00")
        kept = TripleDES(session * 3)
        place = b"\x02" + TERMINAL
        told = BALANCE.to_bytes(4, "big") + AMOUNT.to_bytes(4, "big") + place
        mac1 = Cipher(kept, modes.CBC(bytes(8))).encryptor().update(crypto.pad80(told))[-8:-4]
        told = AMOUNT.to_bytes(4, "big") + place + DATE + TIME
        return mac1, Cipher(kept, modes.CBC(bytes(8))).encryptor().update(crypto.pad80(told))[-8:-4]

    def tac(self, card: bytes, counter: int, random: bytes) -> bytes:  # noqa: ARG002
        """The TAC of a purchase."""
        key = self._master.update(card + bytes(b ^ 0xFF for b in card))
        half = TripleDES(crypto.xor(key[:8], key[8:]) * 3)
        told = (
            AMOUNT.to_bytes(4, "big")
            + b"\x06"
            + TERMINAL
            + counter.to_bytes(4, "big")
            + DATE
            + TIME
        )
        return Cipher(half, modes.CBC(bytes(8))).encryptor().update(crypto.pad80(told))[-8:-4]


def naive_load(master: bytes, card: bytes, counter: int, random: bytes) -> tuple[bytes, bytes]:
    """The same with a fresh cipher for every step."""
    key = crypto.diversify(master, card)
    session = crypto.purse_session_key(key, random, counter.to_bytes(2, "big"), b"\x80\x00")
    place = b"\x02" + TERMINAL
    first = BALANCE.to_bytes(4, "big") + AMOUNT.to_bytes(4, "big") + place
    second = AMOUNT.to_bytes(4, "big") + place + DATE + TIME
    return crypto.purse_mac(session, first), crypto.purse_mac(session, second)


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
        self.process: HsmProcess = start_hsm(folder / "hsm", self.certificates, hsm.unlock_secrets)
        with TcpHsm(
            "127.0.0.1", self.process.port, roles_of(self.certificates, (Role.TERMS,))
        ) as hsm_tcp:
            self.mac_key, _ = hsm_tcp.call(generic.GenerateWorkKey("M1", mode="C"))

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

    def run(self, frames: Sequence[bytes], window: int) -> list[bytes]:
        """All answers' error codes; a new frame leaves for each answer that comes."""
        codes: list[bytes] = []
        self._link.sendall(b"".join(frames[:window]))
        sent = min(window, len(frames))
        while len(codes) < len(frames):
            self._buffer += self._link.recv(65_536)
            fresh = 0
            while len(self._buffer) >= 2:
                end = 2 + int.from_bytes(self._buffer[:2], "big")
                if len(self._buffer) < end:
                    break
                codes.append(self._buffer[8:10])
                self._buffer = self._buffer[end:]
                fresh += 1
            if fresh and sent < len(frames):
                self._link.sendall(b"".join(frames[sent : sent + fresh]))
                sent += fresh
        return codes

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


def measure_round(bench: Bench, links: dict[str, Link], name: str, count: int) -> dict[str, float]:
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
    for window in (1, 16):
        number = count if window == 16 and name != "export" else count // 4
        frames = framed(bench.requests(name, cards(number)))
        cpu, begun = bench.cpu_seconds(), time.perf_counter()
        codes = links[name].run(frames, window)
        wall = time.perf_counter() - begun
        if set(codes) != {b"00"}:
            raise SystemExit(f"WRONG: {name} answered {sorted(set(codes))}")
        found[f"rate_{window}"] = number / wall
        found[f"server_us_{window}"] = (bench.cpu_seconds() - cpu) / number * 1e6
    return found


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
    ratios = [r["load"]["alone_us"] / r["load"]["server_us_16"] for r in rounds]
    judged: dict[str, Any] = {
        "load_ratio": round(statistics.median(ratios), 3),
        "load_ratio_min": round(min(ratios), 3),
        "load_ratio_max": round(max(ratios), 3),
        "load_ratio_naive": round(
            statistics.median(r["load"]["naive_us"] / r["load"]["server_us_16"] for r in rounds), 3
        ),
        "load_rate_16": round(statistics.median(r["load"]["rate_16"] for r in rounds)),
    }
    if "softhsm" in names:
        judged["mac_rate_to_softhsm"] = round(
            statistics.median(
                r["mac"]["rate_16"] * r["softhsm"]["softhsm_mac_us"] / 1e6 for r in rounds
            ),
            3,
        )
    judged["goals"] = {
        "load_ratio": judged["load_ratio"] >= GOALS["ratio"],
        "load_rate_16": judged["load_rate_16"] >= GOALS["rate"],
    }
    return {"medians": table, "judged": judged}


def run(rounds: int, count: int) -> dict[str, Any]:
    """All rounds; the result as one object."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        bench = Bench(folder)
        roles = {"load": Role.PURSE, "tac": Role.PURSE, "export": Role.ISSUE, "mac": Role.SWITCH}
        links = {name: Link(bench, role) for name, role in roles.items()}
        path = library()
        soft = SoftHsmProcess(path, folder) if path else None
        load_before, found = os.getloadavg(), []
        try:
            for number in range(rounds + 1):  # the first warms up and is thrown away
                one = {name: measure_round(bench, links, name, count) for name in roles}
                if soft is not None:
                    one["softhsm"] = soft.round(count)
                if number:
                    found.append(one)
        finally:
            for link in links.values():
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
