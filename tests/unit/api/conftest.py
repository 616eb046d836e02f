"""An API over a small city whose clerks are trained and signed in."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from api.app import create_app
from registry.points import sign_in, training
from registry.points.training import Audience, Module
from registry.roles import Actor, Role
from runtime.services import Services
from runtime.settings import Settings
from tests.registry_bench import City, city

ADMIN = Actor.of("admin Luo", Role.SYSADMIN)
OFFICE = Actor.of("office He", Role.PILOT_OFFICE)
PEOPLE = {
    "clerk": ("clerk Chen", Role.POLICE_CLERK, "001"),
    "station": ("clerk Wu", Role.STATION_CLERK, "011"),
    "reviewer": ("reviewer Lin", Role.REVIEWER, ""),
    "operator": ("operator Fu", Role.EMPLOYER_OP, ""),
    "rival": ("operator Gu", Role.EMPLOYER_OP, ""),
    "auditor": ("auditor Mo", Role.AUDITOR, ""),
    "terminal": ("00000101", Role.TERMINAL, ""),
    "office": (OFFICE.name, Role.PILOT_OFFICE, ""),
}


@dataclass
class Door:
    """The API with somebody at it; every write has a new key unless one is given."""

    http: TestClient
    town: City
    tokens: dict[str, str]
    keys: int = 0

    def grant(self, name: str, person: str, role: Role, point: str = "") -> None:
        """Let somebody in under a short name."""
        day = self.town.today + timedelta(days=300)
        with self.town.db.write() as tx:
            self.tokens[name] = sign_in.grant(
                tx, self.town.clock, person, [role], day, ADMIN, point
            )

    def send(
        self, who: str, method: str, path: str, body: Any = None, key: str = "", **options: Any
    ) -> Response:
        """One request of `who`, who may be nobody (empty)."""
        self.keys += 1
        headers = {"Idempotency-Key": key or f"key-{self.keys:05}", **options.pop("headers", {})}
        if who:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        return self.http.request(method, f"/api{path}", json=body, headers=headers, **options)

    def walk_in(self, number: int, **changes: Any) -> dict[str, Any]:
        """Body of an applicant of the city."""
        person = self.town.people[number]
        return {
            "applicant": {
                "citizen_id": person.citizen_id, "name": person.name, "sex": person.sex,
                "ethnic": person.ethnic, "household_address": person.household_address,
                "phone": person.phone,
            },
            "portrait": base64.b64encode(person.portrait()).decode(),
            "basis": "EMPLOYMENT",
            "address_code": self.town.homes[number],
            **changes,
        }  # fmt: skip

    def accepted(self, number: int) -> dict[str, Any]:
        """A walk-in at point 001, accepted."""
        body = {"walk_in": self.walk_in(number), "fee_receipt": f"R-{number}"}
        answer = self.send("clerk", "POST", "/points/001/accept", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """Clerks trained, everybody of `PEOPLE` let in; the city's people live and work there."""
    town = city()
    with town.db.write() as tx:
        for name, _, point in PEOPLE.values():
            if point:
                training.assign(tx, town.clock, name, point, Audience.POINT_STAFF, OFFICE)
                for module in Module:
                    training.examine(tx, town.clock, name, module, 90, OFFICE)
        for number in range(len(town.people)):
            town.live_and_work(tx, number, town.today - timedelta(days=36))
        town.deliver(tx)
    services = Services(Settings(data=tmp_path), town.db, town.clock)
    with TestClient(create_app(services), raise_server_exceptions=False) as http:
        made = Door(http, town, {})
        for short, (name, role, point) in PEOPLE.items():
            made.grant(short, name, role, point)
        yield made
