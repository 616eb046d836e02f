"""What the registers tell each other: the envelope and the message types (residence.md 10.1, 10.2).

The only thing the three registers share. Persons travel as the sender's own key (`subject`); the citizen
id crosses once, in `PERSON_LINKED`. Payloads are small JSON values; dates are ISO texts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

MAX_PAYLOAD_CHARS = 4_000


class Type(StrEnum):
    """Message types in their own spelling (README decision 34)."""

    PERSON_LINKED = "PersonLinked"
    EMPLOYMENT_STARTED = "EmploymentStarted"
    EMPLOYMENT_ENDED = "EmploymentEnded"
    EMPLOYMENT_WITHDRAWN = "EmploymentWithdrawn"
    OCCUPANCY_STARTED = "OccupancyStarted"
    OCCUPANCY_ENDED = "OccupancyEnded"
    OCCUPANCY_WITHDRAWN = "OccupancyWithdrawn"
    ADDRESS_ACTIVATED = "AddressActivated"
    ADDRESS_RETIRED = "AddressRetired"
    HEARTBEAT = "Heartbeat"


EVENT_KIND = {
    Type.PERSON_LINKED: "person.linked",
    Type.EMPLOYMENT_STARTED: "employment.started",
    Type.EMPLOYMENT_ENDED: "employment.ended",
    Type.EMPLOYMENT_WITHDRAWN: "employment.withdrawn",
    Type.OCCUPANCY_STARTED: "occupancy.started",
    Type.OCCUPANCY_ENDED: "occupancy.ended",
    Type.OCCUPANCY_WITHDRAWN: "occupancy.withdrawn",
    Type.ADDRESS_ACTIVATED: "address.activated",
    Type.ADDRESS_RETIRED: "address.retired",
    Type.HEARTBEAT: "register.heartbeat",
}


@dataclass(frozen=True)
class Envelope:
    """One message. `msg_id` is made once by the sender and kept on every retry."""

    msg_id: str
    type: Type
    source: str
    subject: str
    subject_seq: int
    occurred_on: date
    recorded_at: datetime
    payload: Mapping[str, Any]
    supersedes: str | None = None
    schema: str = "1.0"
    sig: str = ""

    def __repr__(self) -> str:
        return f"Envelope({self.type}, {self.source}, {self.subject} #{self.subject_seq})"

    @property
    def payload_json(self) -> str:
        """Canonical JSON: sorted keys, no blanks."""
        return json.dumps(
            dict(self.payload), ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )

    @property
    def payload_sha256(self) -> str:
        """Digest over the canonical payload, hex."""
        return hashlib.sha256(self.payload_json.encode()).hexdigest()
