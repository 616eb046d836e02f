"""The table in the ceremony room: a terminal, people's key files, and the HSM that lies on it."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import note

if TYPE_CHECKING:
    from hsm_sim.ceremony.desk import Desk
    from hsm_sim.ceremony.people import Person
    from hsm_sim.ceremony.room import Room

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
CLEAR_SCREEN = "\x1b[2J\x1b[3J\x1b[H"


def unseen(question: str) -> str:
    """A secret from the keyboard without echo, or one line from a pipe."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\n")


class Table:
    """People sign with the key files of a folder, as the roster of this HSM knows them."""

    def __init__(self, people: Path, message: Path | None) -> None:
        self._people = people
        self._message = message
        self._desk: Desk | None = None

    def at(self, desk: "Desk") -> "Desk":
        """From now on people are those of this HSM's roster."""
        self._desk = desk
        return desk

    def room(self) -> "Room":
        """People at this terminal."""
        from hsm_sim.ceremony.room import TerminalRoom

        return TerminalRoom(note, _ask, unseen, self._unlock, _clear, self._message)

    def _unlock(self, who: str, passphrase: bytes) -> "Person":
        from core.errors import NotAllowed
        from hsm_sim.ceremony.desk import load_person

        known = self._desk.console.roster if self._desk else {}
        if who not in known:
            raise NotAllowed("CER-KEYFILE", f"{who} is not on the roster")
        role, vkey = known[who]
        return load_person(self._people, {"id": who, "role": role, "vkey": vkey}, passphrase)


def opened(home: Path, people: Path, rehearsal: Path | None, message: Path | None) -> "Desk":
    """An HSM that exists, unlocked by the officers at the table or by those of a rehearsal."""
    from core.clock import SystemClock
    from hsm_sim.ceremony.desk import Desk
    from hsm_sim.ceremony.rehearsal import Rehearsal

    table = Table(people, message)
    room = Rehearsal.load(rehearsal).room() if rehearsal else table.room()
    return table.at(Desk.open(home, SystemClock(), room))


def _ask(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\n")


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write(CLEAR_SCREEN)
