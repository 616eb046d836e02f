"""A real terminal process, killed with SIGKILL while its host hears or answers each message of a day.

Together with the injected stops (tests/unit/payments/test_terminal_stops.py) this shows that nothing depends on how
the process ends: card, store and host agree after the next start.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from cardos.card import Card
from core.clock import SHANGHAI
from payments.frames import FrameReader
from payments.messages import parse
from payments.terminal_lists import CardLists, save_lists
from runtime.terminal_kit import TerminalFolder
from tests.unit.payments.purse_bench import make_permit, make_psam
from tests.unit.payments.terminal_bench import IDENTITY, NOON, BenchHost, make_pad
from tests.unit.payments.terminal_deeds import balance

DAY = """
insert {card}
pin 123456
load 50
pay 2.50 till-1
pay 3.00 till-2
upload
settle
"""
NEXT_START = """
insert {card}
pin 123456
again
upload
pay 2.50 till-1
pay 3.00 till-2
settle
state
"""
RUN_SECONDS = 60
MAX_MESSAGES = 40


class KillingHost:
    """`BenchHost` on a port; kills its terminal when it hears message number `at` (before or after the answer)."""

    def __init__(self, host: BenchHost, server: socket.socket) -> None:
        self.host, self.server = host, server
        self.at, self.answered, self.heard = -1, False, 0
        self.victim: subprocess.Popen[bytes] | None = None
        self.ending = False

    def serve(self) -> None:
        while not self.ending:
            try:
                line, _ = self.server.accept()
            except TimeoutError:
                continue
            with line:
                self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        reader = FrameReader()
        line.settimeout(RUN_SECONDS)
        try:
            while chunk := line.recv(4096):
                for frame in reader.feed(chunk):
                    self._one(line, frame)
        except OSError:
            return

    def _one(self, line: socket.socket, frame: bytes) -> None:
        here = self.heard == self.at
        self.heard += 1
        if here and not self.answered:
            self._kill()
        answer = self.host.answer(parse(frame))
        if here and self.answered:
            line.sendall(answer)
            self._kill()
        elif not here:
            line.sendall(answer)

    def _kill(self) -> None:
        assert self.victim is not None
        os.kill(self.victim.pid, signal.SIGKILL)
        self.victim.wait(RUN_SECONDS)


@contextmanager
def city(folder: Path) -> Iterator[tuple[KillingHost, Path, Path]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        host = KillingHost(BenchHost(), server)
        thread = Thread(target=host.serve, daemon=True)
        thread.start()
        home, card = folder / "terminal", folder / "card.chip"
        port = server.getsockname()[1]
        made = TerminalFolder(
            home, IDENTITY.terminal, IDENTITY.merchant, IDENTITY.psam, f"127.0.0.1:{port}"
        )
        made.write(make_pad(), make_psam()[0])
        save_lists(home / "lists.json", CardLists(black_checked=NOON, status_checked=NOON))
        make_permit().save(card)
        try:
            yield host, home, card
        finally:
            host.ending = True
            thread.join(RUN_SECONDS)


def start(home: Path, card: Path, script: str) -> subprocess.Popen[bytes]:
    path = home.parent / "script.txt"
    path.write_text(script.format(card=card), "utf-8")
    at = NOON.astimezone(SHANGHAI).isoformat()
    command = [sys.executable, "-m", "cli.main", "terminal", "--home", str(home)]
    command += ["--script", str(path), "--json", "--at", at]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_once(folder: Path, at: int, answered: bool) -> bool:
    """Kill at one message, start again, check; False when the day has fewer messages."""
    with city(folder) as (host, home, card):
        process = start(home, card, DAY)
        host.victim, host.at, host.answered = process, at, answered
        process.communicate(timeout=RUN_SECONDS)
        host.at = -1
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0
            return False
        again = start(home, card, NEXT_START)
        out, err = again.communicate(timeout=RUN_SECONDS)
        assert again.returncode in (0, 3), err.decode()
        check(host.host, card, out.decode(), again.returncode)
        return True


def check(host: BenchHost, card: Path, out: str, code: int) -> None:
    """Card = confirmed loads - purchases; every purchase once; nothing left behind unless money was short."""
    loaded = sum(one.request.amount for one in host.loads.values() if one.state == "confirmed")
    spent = sum(one.amount for one in host.purchases.values())
    doubtful = [
        one.state for one in host.loads.values() if one.state not in ("confirmed", "reversed")
    ]
    assert doubtful == []
    steps = [json.loads(line) for line in out.splitlines()]
    if code == 3:  # the load was reversed: the card is empty, as it should be
        assert steps[-1]["code"] == "CHIP-9401"
        assert (loaded, spent, balance(Card.load(card))) == (0, 0, 0)
        return
    assert balance(Card.load(card)) == loaded - spent
    assert spent == 550
    assert steps[-1]["waiting"] == steps[-1]["torn"] == steps[-1]["doubtful"] == 0


@pytest.mark.slow
def test_a_terminal_killed_at_each_message_of_a_day(tmp_path: Path) -> None:
    killed = 0
    for at in range(MAX_MESSAGES):
        both = [run_once(tmp_path / f"{at}-{a}", at, a) for a in (False, True)]
        killed += sum(both)
        if not any(both):
            break
    assert killed >= 12
    sys.stdout.write(f"\nterminal killed with SIGKILL {killed} times, all settled\n")
