"""Four windows that send applications to the city's API over HTTP: what `benchmarks.registers` sends in.

The HSM (``citycard hsm serve --dev``) and the API (``citycard serve``) are processes of their own, as in an
installation: personal data cross to the HSM under TLS, an application is one request with its portrait, its
Idempotency-Key and a clerk's token. Timed from the moment an applicant is due, also when the window was late.
"""

import base64
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from core.clock import SystemClock, business_date
from core.db import Database
from registry import settlers, synthetic
from registry.points import sign_in, training
from registry.points.places import Point
from registry.points.training import Audience, Module
from registry.roles import Actor, Role

WINDOWS, MAX_APPLICANTS = 4, 6_000
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 60, 20, 60
ADMIN, OFFICE = Actor.of("admin", Role.SYSADMIN), Actor.of("office", Role.PILOT_OFFICE)
CITYCARD = (sys.executable, "-m", "cli.main")


@dataclass(frozen=True)
class Window:
    """A clerk with a token at a point."""

    point: Point
    token: str


@contextmanager
def serving(data: Path, database: Database) -> Iterator[tuple[int, list[Window]]]:
    """The API over `data`, the city's folder, with its HSM; its port and the clerks that may sign in."""
    home, certificates = data / "hsm", data / "certificates"
    home.mkdir(mode=0o700)
    with _process(
        ("hsm", "serve", "--dev", "--home", str(home), "--certificates", str(certificates)), {}
    ) as hsm:
        assert hsm.stdout is not None
        port = json.loads(hsm.stdout.readline())["port"]
        settings = {
            "CITYCARD_HSM": f"127.0.0.1:{port}",
            "CITYCARD_HSM_CERTIFICATES": str(certificates),
            "CITYCARD_HSM_SLOTS": str(home / "slots.json"),
        }
        windows = _windows(database)
        with _process(("serve", "--data", str(data), "--port", "0"), settings, True) as api:
            assert api.stderr is not None
            line = api.stderr.readline().decode()
            yield int(line.split("/")[2].partition(":")[2]), windows


@contextmanager
def _process(
    words: tuple[str, ...], settings: Mapping[str, str], read_notes: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """One ``citycard`` command in the background, ended with the block."""
    process = subprocess.Popen(
        [*CITYCARD, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if read_notes else subprocess.DEVNULL,
        env={**os.environ, **settings},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


def _windows(database: Database) -> list[Window]:
    """A trained clerk with a grant at each of the first points."""
    clock, found = SystemClock(), []
    last = business_date(clock.now()) + timedelta(days=1)
    with database.write() as tx:
        for number in range(WINDOWS):
            point = settlers.point_for(number)
            clerk = settlers.clerk_at(point)
            training.assign(tx, clock, clerk.name, point.code, Audience.POINT_STAFF, OFFICE)
            for module in Module:
                training.examine(tx, clock, clerk.name, module, 100, OFFICE)
            token = sign_in.grant(tx, clock, clerk.name, clerk.roles, last, ADMIN, point.code)
            found.append(Window(point, token))
    return found


class Applicants:
    """Come at a steady rate, each to the next free window, until told to stop."""

    def __init__(self, port: int, windows: list[Window], per_second: int) -> None:
        self.per_second = per_second
        self.spent: list[float] = []
        self.errors: Counter[str] = Counter()
        self._port = port
        self._people = synthetic.residents(MAX_APPLICANTS, seed=99)
        self._portrait = self._people[0].portrait()
        self._home = synthetic.addresses(2)[0]
        self._stop = threading.Event()
        self._next = count()
        self._threads = [threading.Thread(target=self._work, args=(one,)) for one in windows]
        self._begin = self._end = 0.0

    def start(self) -> None:
        """From now on."""
        self._begin = time.perf_counter()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Nobody comes any more; whoever is at a window is served."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._end = time.perf_counter()

    @property
    def rate(self) -> float:
        """Accepted in a second, over the whole time."""
        return len(self.spent) / (self._end - self._begin)

    def _work(self, window: Window) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        for number in self._next:
            due = self._begin + number / self.per_second
            if number >= MAX_APPLICANTS or self._stop.wait(max(0.0, due - time.perf_counter())):
                break
            self._note(self._send(line, window, number), time.perf_counter() - due)
        line.close()

    def _note(self, refusal: str, seconds: float) -> None:
        if refusal:
            self.errors[refusal] += 1
        else:
            self.spent.append(seconds)

    def _send(self, line: http.client.HTTPConnection, window: Window, number: int) -> str:
        """One applicant at a counter; the code of a refusal, empty when accepted."""
        person = self._people[number]
        picture = self._portrait + f"{id(self)}:{number}".encode()
        body = {
            "walk_in": {
                "applicant": {
                    "citizen_id": person.citizen_id, "name": person.name, "sex": person.sex,
                    "ethnic": person.ethnic, "household_address": person.household_address,
                },
                "portrait": base64.b64encode(picture).decode(),
                "basis": "EMPLOYMENT",
                "address_code": self._home.code,
            },
            "fee_receipt": f"R{number}",
        }  # fmt: skip
        headers = {
            "Authorization": f"Bearer {window.token}",
            "Idempotency-Key": f"applicant-{number}",
            "Content-Type": "application/json",
        }
        path = f"/api/points/{window.point.code}/accept"
        try:
            line.request("POST", path, json.dumps(body), headers)
            answer = line.getresponse()
            told = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as fault:
            line.close()
            return type(fault).__name__
        return "" if answer.status == http.client.CREATED else str(told["code"])
