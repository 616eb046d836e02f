"""What a ceremony needs from the people in the room: a port, a terminal, and an unattended room.

The unattended room serves tests, training and the demo: people sign from memory, custodians' components
come from fresh random envelopes. At the terminal nothing typed in secret is shown, a component is typed
twice, and only the exact word ``Yes`` goes on (hsm-and-ceremony.md 10.5).
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from core.errors import Rejected
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

    def sign(self, person: str, message: bytes) -> dict[str, str]:
        """A person's entry for an approval list over `message`."""
        ...


class UnattendedRoom:
    """People in memory and random components; what was shown is kept in `shown`."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self._people = people
        self._envelopes: dict[tuple[str, int], bytearray] = {}
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.shown.append(text)

    def confirm(self, question: str) -> None:
        self.shown.append(question)

    def component(self, custodian: str, kid: str, n: int, length: int) -> bytearray:
        self.shown.append(f"{custodian} opens envelope {n} of {kid}")
        envelope = self._envelopes.setdefault((kid, n), odd_parity(secrets.token_bytes(length)))
        return bytearray(envelope)

    def sign(self, person: str, message: bytes) -> dict[str, str]:
        return self._people[person].sign(message)

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
    """People at a terminal. `ask` echoes, `ask_secret` does not; `unlock` opens a person's key file."""

    def __init__(
        self,
        show: Callable[[str], None],
        ask: Callable[[str], str],
        ask_secret: Callable[[str], str],
        unlock: Callable[[str, bytes], Person],
        clear: Callable[[], None],
    ) -> None:
        self.show = show
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
            self.show("The two entries differ or the length is wrong.")
        raise Rejected("CER-COMPONENT", f"no good entry in {MAX_TRIES} tries")

    def sign(self, person: str, message: bytes) -> dict[str, str]:
        for line in message.decode("utf-8").split("\n"):
            self.show(line)
        passphrase = self._ask_secret(f"{person}, passphrase of your key to sign this: ")
        return self._unlock(person, passphrase.encode("utf-8")).sign(message)


def odd_parity(data: bytes) -> bytearray:
    """Give every byte odd parity through its lowest bit, as DES key forms are printed."""
    return bytearray(b & 0xFE | (bin(b >> 1).count("1") + 1) % 2 for b in data)
