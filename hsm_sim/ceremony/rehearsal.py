"""Ceremonies without people: a rehearsal file holds what people would hold, for tests and training only.

``{"seed": 7, "shares": [..], "remarks": {"3": "the door was open"}, "wrapped": {"tak-01": ["D0..", "A1B2C3"]}}``:
people follow from the seed, shares are written by the program when it makes the HSM, remarks are what the witness
says before a step, `wrapped` are keys to import with the check values on their forms. Whoever has this file has
the HSM; a real city has no such file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Rejected
from hsm_sim.ceremony.city import make_people
from hsm_sim.ceremony.desk import read_small
from hsm_sim.ceremony.people import Person
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.durable import write_whole


@dataclass(frozen=True)
class Rehearsal:
    """A file of a rehearsal and what it says."""

    path: Path
    seed: int
    shares: tuple[str, ...]
    remarks: dict[int, str]
    wrapped: dict[str, tuple[str, str]]

    @classmethod
    def load(cls, path: Path) -> "Rehearsal":
        """Read it; raises Rejected (CER-REHEARSAL) and NotFound (CER-FILE)."""
        try:
            said = json.loads(read_small(path))
            seed, given, remarks = said["seed"], said.get("shares", []), said.get("remarks", {})
            words = {int(step): str(text) for step, text in remarks.items()}
            keys = {
                kid: (str(text), str(kcv)) for kid, (text, kcv) in said.get("wrapped", {}).items()
            }
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Rejected("CER-REHEARSAL", "seed, shares, remarks and wrapped keys") from None
        if type(seed) is not int or not isinstance(given, list):
            raise Rejected("CER-REHEARSAL", "the seed is a number, shares are a list")
        return cls(path, seed, tuple(str(share) for share in given), words, keys)

    def people(self) -> dict[str, Person]:
        """Everybody, with keys that follow from the seed."""
        return make_people(self.seed)

    def room(self) -> UnattendedRoom:
        """The room these people sit in."""
        room = UnattendedRoom(self.people(), self.remarks, self.shares)
        room.wrapped = dict(self.wrapped)
        return room

    def keep(self, given: Sequence[str]) -> None:
        """Remember the shares that were handed out."""
        said = {
            "seed": self.seed,
            "shares": list(given),
            "remarks": self.remarks,
            "wrapped": self.wrapped,
        }
        write_whole(self.path, json.dumps(said, indent=1).encode() + b"\n")
