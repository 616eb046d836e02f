"""What the registers tell each other: the envelope and the message types (residence.md 10.1, 10.2).

The only thing the three registers share. Persons travel as the sender's own key (`subject`); once, in
`PERSON_LINKED`, it comes with the keyed index under which the residence register knows the person. No number,
name or telephone travels. Payloads are small JSON values; dates are ISO texts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from core.errors import EvidenceMismatch, Rejected

MAX_PAYLOAD_CHARS = 4_000
MAX_ENVELOPE_CHARS = 8_000


class Type(StrEnum):
    """Message types in their own spelling (README decision 34)."""

    PERSON_LINKED = "PersonLinked"
    EMPLOYMENT_STARTED = "EmploymentStarted"
    EMPLOYMENT_ENDED = "EmploymentEnded"
    EMPLOYMENT_CORRECTED = "EmploymentCorrected"
    EMPLOYMENT_WITHDRAWN = "EmploymentWithdrawn"
    EMPLOYER_CLOSED = "EmployerClosed"
    OCCUPANCY_STARTED = "OccupancyStarted"
    OCCUPANCY_CHANGED = "OccupancyChanged"
    OCCUPANCY_ENDED = "OccupancyEnded"
    OCCUPANCY_WITHDRAWN = "OccupancyWithdrawn"
    OCCUPANCY_VERIFIED = "OccupancyVerified"
    ADDRESS_ACTIVATED = "AddressActivated"
    ADDRESS_RENAMED = "AddressRenamed"
    ADDRESS_RETIRED = "AddressRetired"
    PERMIT_STATUS_CHANGED = "PermitStatusChanged"
    HEARTBEAT = "Heartbeat"


@dataclass(frozen=True)
class Envelope:
    """One message. `msg_id` is made once by the sender and kept on every retry.

    `addressee`: the only consumer it is for, because `subject` is that consumer's own key of the person;
    empty for every consumer the catalogue names.
    """

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
    addressee: str = ""

    def __repr__(self) -> str:
        return f"Envelope({self.type}, {self.source}, {self.subject} #{self.subject_seq})"

    def to_json(self) -> str:
        """The envelope of 10.2 for the way between two systems, with a digest over all of it."""
        value = self._fields()
        value["envelope_sha256"] = _digest(value)
        return json.dumps(value, ensure_ascii=False)

    def _fields(self) -> dict[str, Any]:
        return {
            "msg_id": self.msg_id,
            "type": str(self.type),
            "schema": self.schema,
            "source": self.source,
            "subject": self.subject,
            "subject_seq": self.subject_seq,
            "occurred_on": self.occurred_on.isoformat(),
            "recorded_at": self.recorded_at.isoformat(),
            "supersedes": self.supersedes,
            "payload": dict(self.payload),
            "payload_sha256": self.payload_sha256,
            "sig": self.sig,
            "addressee": self.addressee,
        }

    @classmethod
    def from_json(cls, text: str) -> "Envelope":
        """Read an envelope. Raises Rejected E-MSG-FORM, EvidenceMismatch E-MSG-HASH (damaged on the way)."""
        if len(text) > MAX_ENVELOPE_CHARS:
            raise Rejected("E-MSG-FORM", "too long", type="-", field="envelope")
        try:
            value = json.loads(text)
            stated, of_payload = value.pop("envelope_sha256"), value["payload_sha256"]
            message = cls(
                str(value["msg_id"]), Type(value["type"]), str(value["source"]),
                str(value["subject"]), int(value["subject_seq"]),
                date.fromisoformat(value["occurred_on"]),
                datetime.fromisoformat(value["recorded_at"]), dict(value["payload"]),
                value["supersedes"], str(value["schema"]), str(value["sig"]),
                str(value["addressee"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Rejected("E-MSG-FORM", "not an envelope", type="-", field="envelope") from None
        if message.recorded_at.tzinfo is None:
            raise Rejected("E-MSG-FORM", "no time zone", type="-", field="recorded_at")
        if _digest(value) != stated or message.payload_sha256 != of_payload:
            raise EvidenceMismatch("E-MSG-HASH", f"{message.msg_id}: content and digest differ")
        return message

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


def _digest(value: Mapping[str, Any]) -> str:
    packed = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(packed.encode()).hexdigest()
