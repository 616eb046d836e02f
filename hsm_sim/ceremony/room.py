"""What a ceremony needs from the people in the room: a port, a terminal, and an unattended room.

The unattended room serves tests, training and the demo: people sign from memory, custodians' components
come from fresh random envelopes. At the terminal nothing typed in secret is shown, a component is typed
twice, and only the exact word ``Yes`` goes on (hsm-and-ceremony.md 10.5).
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from core.errors import NotAllowed, Rejected
from hsm_sim.ceremony.people import Person

YES = "Yes"
MAX_TRIES = 3


class Room(Protocol):
    """Port: the people around the console."""

    def show(self, text: str) -> None:
        """Put a line on the console."""
        ...

    def confirm(self, question: str) -> None:
        """Go on only after somebody said exactly ``Yes``; raises Rejected (CER-NOT-CONFIRMED)."""
        ...

    def component(self, custodian: str, kid: str, n: int, length: int) -> bytearray:
        """One component from its custodian, in a buffer the caller overwrites."""
        ...

    def wrapped_key(self, kid: str, under: str) -> tuple[str, str]:
        """The text of a key to import, and the check value somebody read from the sender's form."""
        ...

    def sign(self, person: str, message: bytes) -> dict[str, str]:
        """A person's entry for an approval list over `message`."""
        ...

    def remark(self, step: int) -> str:
        """What the witness has to say before a step: nothing, an exception, or ``abort`` and why."""
        ...

    def hand_share(self, number: int, words: str) -> None:
        """Give one share of the unlock secret to its officer."""
        ...

    def share(self, number: int) -> str:
        """The words of one share, from an officer who is here."""
        ...


class UnattendedRoom:
    """People in memory and random components; what was shown is kept in `shown`.

    `remarks` are the witness's words by step, each said once; `shares` what officers were given.
    """

    def __init__(
        self,
        people: Mapping[str, Person],
        remarks: Mapping[int, str] | None = None,
        shares: Sequence[str] = (),
    ) -> None:
        self._people = people
        self._envelopes: dict[tuple[str, int], bytearray] = {}
        self._remarks = dict(remarks or {})
        self.shares = list(shares)
        self.wrapped: dict[str, tuple[str, str]] = {}  # keys to import: text and check value
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.shown.append(text)

    def confirm(self, question: str) -> None:
        self.shown.append(question)

    def component(self, custodian: str, kid: str, n: int, length: int) -> bytearray:
        self.shown.append(f"{custodian} opens envelope {n} of {kid}")
        envelope = self._envelopes.setdefault((kid, n), odd_parity(secrets.token_bytes(length)))
        return bytearray(envelope)

    def wrapped_key(self, kid: str, under: str) -> tuple[str, str]:
        if kid not in self.wrapped:
            raise Rejected("CER-NO-ENVELOPE", f"nobody here has {kid} under {under}")
        return self.wrapped[kid]

    def sign(self, person: str, message: bytes) -> dict[str, str]:
        return self._people[person].sign(message)

    def remark(self, step: int) -> str:
        return self._remarks.pop(step, "")

    def hand_share(self, number: int, words: str) -> None:
        self.shown.append(f"share {number} of the unlock secret goes to its officer")
        self.shares.append(words)

    def share(self, number: int) -> str:
        if number > len(self.shares):
            raise Rejected("CER-SHARE", f"nobody here has share {number}")
        return self.shares[number - 1]

    def hand_over(self, kid: str, install: Callable[[bytearray], None]) -> None:
        """Enter the components of a transport key into another device too, as its custodians would.

        `install` gets the combined key in a buffer that is overwritten afterwards; the envelopes are
        destroyed. Raises Rejected (CER-NO-ENVELOPE) when there are none.
        """
        parts = [self._envelopes.pop(name) for name in sorted(self._envelopes) if name[0] == kid]
        if not parts:
            raise Rejected("CER-NO-ENVELOPE", f"no envelopes of {kid}")
        key = bytearray(len(parts[0]))
        for part in parts:
            key[:] = bytes(a ^ b for a, b in zip(key, part, strict=True))
            part[:] = bytes(len(part))
        try:
            install(key)
        finally:
            key[:] = bytes(len(key))


class TerminalRoom:
    """People at a terminal. `ask` echoes, `ask_secret` does not; `unlock` opens a person's key file.

    Whoever keeps the key on a machine of their own signs there (``citycard ceremony sign``) what stands in
    `message_file`, and types the answer instead of a passphrase.
    """

    def __init__(
        self,
        show: Callable[[str], None],
        ask: Callable[[str], str],
        ask_secret: Callable[[str], str],
        unlock: Callable[[str, bytes], Person],
        clear: Callable[[], None],
        message_file: Path | None = None,
    ) -> None:
        self.show = show
        self._shown = b""
        self._message_file = message_file
        self._ask = ask
        self._ask_secret = ask_secret
        self._unlock = unlock
        self._clear = clear

    def confirm(self, question: str) -> None:
        if self._ask(f"{question} Type {YES} to go on: ") != YES:
            raise Rejected("CER-NOT-CONFIRMED", "nobody typed Yes")

    def component(self, custodian: str, kid: str, n: int, length: int) -> bytearray:
        for _ in range(MAX_TRIES):
            what = f"{custodian}, component {n} of {kid}, {2 * length} hex digits"
            first, again = self._ask_secret(f"{what}: "), self._ask_secret("once more: ")
            self._clear()
            try:
                value = bytearray.fromhex(first)
            except ValueError:
                self.show("That is not hex.")
                continue
            if first == again and len(value) == length:
                return value
            value[:] = bytes(len(value))
            differ = first != again
            self.show(
                "The two entries differ." if differ else f"{2 * length} hex digits are needed."
            )
        raise Rejected("CER-COMPONENT", f"no good entry in {MAX_TRIES} tries")

    def wrapped_key(self, kid: str, under: str) -> tuple[str, str]:
        text = self._ask(f"{kid} under {under}, as the sender wrote it: ").strip()
        shown = self._ask("Check value on the sender's form, 6 hex digits: ").strip().upper()
        return text, shown

    def sign(self, person: str, message: bytes) -> dict[str, str]:
        if (
            message != self._shown
        ):  # several people sign the same words: they stand on the screen once
            self._shown = message
            for line in message.decode("utf-8").split("\n"):
                self.show(line)
        if self._message_file is not None:
            self._message_file.write_bytes(message)
        question = f"{person}, your passphrase, or the entry you signed elsewhere: "
        for _ in range(
            MAX_TRIES - 1
        ):  # a slip of the finger must not cost the components entered so far
            try:
                return self._entry(person, message, self._ask_secret(question))
            except (NotAllowed, Rejected) as fault:
                self.show(f"{fault.code}: once more.")
        return self._entry(person, message, self._ask_secret(question))

    def _entry(self, person: str, message: bytes, typed: str) -> dict[str, str]:
        if typed.startswith("{"):
            return read_entry(typed)
        return self._unlock(person, typed.encode("utf-8")).sign(message)

    def remark(self, step: int) -> str:
        question = f"Before step {step}: anything off the script? Its words, or abort and why: "
        return self._ask(question).strip()

    def hand_share(self, number: int, words: str) -> None:
        self.confirm(f"Only the officer of share {number} looks at the screen now.")
        self.show(words)
        self.confirm("Written down and put away.")
        self._clear()

    def share(self, number: int) -> str:
        words = self._ask_secret(f"share {number} of the unlock secret, its words: ")
        self._clear()
        return words


def read_entry(text: str) -> dict[str, str]:
    """An approval entry as ``citycard ceremony sign`` prints it; raises Rejected (CER-ENTRY)."""
    try:
        entry = json.loads(text)
    except ValueError:
        raise Rejected("CER-ENTRY", "not JSON") from None
    if not isinstance(entry, dict) or set(entry) != {"id", "role", "sig"}:
        raise Rejected("CER-ENTRY", "an entry has id, role and sig")
    return {name: str(entry[name]) for name in ("id", "role", "sig")}


def odd_parity(data: bytes) -> bytearray:
    """Give every byte odd parity through its lowest bit, as DES key forms are printed."""
    return bytearray(b & 0xFE | (bin(b >> 1).count("1") + 1) % 2 for b in data)
