"""The 28 faults a simulated printer can suffer, and the small language that says when (printer.md 4.2).

One line arms one fault::

    F1                          at once
    F7 during(m, 300)           while panel m prints line 300
    F18 on(Sp, 2)               at the second Sp from now, before it is carried out
    F14 done(Se)                after the next Se has been carried out, before its reply
    F17 after(20000)            when 20,000 more bytes have come in
    F13 at(12.5)                at virtual second 12.5
    F16 with_probability(0.01, 7)   at each command with this chance, seed 7, again and again
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from core.errors import Rejected

TITLES = {
    1: "feeder empty",
    2: "misfeed",
    3: "double feed",
    4: "jam",
    5: "card not seated at the contacts",
    6: "another reader sees the card",
    7: "ribbon ends",
    8: "ribbon breaks",
    9: "wrong ribbon fitted",
    10: "cover opened",
    11: "good hopper full",
    12: "reject box full",
    13: "head over temperature",
    14: "power lost",
    15: "line hung up, as when the host crashes",
    16: "noise in a reply",
    17: "noise in a command",
    18: "reply lost",
    19: "reply doubled",
    20: "printer takes no more bytes for a while",
    21: "payload cut by the printer's inter-byte time-out",
    22: "card sensor says no card",
    23: "printer five times slower",
    24: "cleaning mandatory",
    25: "line speed changed",
    26: "a second host talks on the line",
    27: "chip of the previous card appears again",
    28: "two cards swapped in the good hopper",
}

MAX_ARMED = 64
_LINE = re.compile(r"F(\d{1,2})(?:\s+(on|done|during|after|at|with_probability)\(([^)]*)\))?\s*")


@dataclass(eq=False)
class Armed:
    """One fault waiting for its moment."""

    number: int
    kind: str = "now"
    name: str = ""
    value: float = 0
    dice: random.Random = field(default_factory=random.Random)


def parse(text: str, now: float = 0.0, bytes_in: int = 0) -> Armed:
    """One line of the language. Rejected P-X06 when it does not parse."""
    match = _LINE.fullmatch(text.strip())
    if match is None or int(match[1]) not in TITLES:
        raise Rejected("P-X06", f"cannot read {text!r}", line=text)
    number, kind = int(match[1]), match[2] or "now"
    words = [word.strip() for word in (match[3] or "").split(",") if word.strip()]
    try:
        if kind in ("on", "done"):
            return Armed(number, kind, words[0], int(words[1]) if len(words) > 1 else 1)
        if kind == "during":
            return Armed(number, kind, words[0], int(words[1]))
        if kind == "after":
            return Armed(number, kind, value=bytes_in + int(words[0]))
        if kind == "at":
            return Armed(number, kind, value=max(now, float(words[0])))
        if kind == "with_probability":
            return Armed(number, kind, value=float(words[0]), dice=random.Random(int(words[1])))  # noqa: S311
    except (IndexError, ValueError) as reason:
        raise Rejected("P-X06", f"cannot read {text!r}", line=text) from reason
    return Armed(number)


class FaultScript:
    """Armed faults, asked at each moment which of them strike now."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []

    def arm(self, fault: Armed) -> None:
        """Add one. Rejected P-X06 beyond `MAX_ARMED`."""
        if len(self._armed) >= MAX_ARMED:
            raise Rejected("P-X06", "too many faults are armed", line=f"F{fault.number}")
        self._armed.append(fault)

    def clear(self) -> None:
        """Forget all that wait."""
        self._armed.clear()

    @property
    def waiting(self) -> tuple[int, ...]:
        """Numbers that have not struck yet."""
        return tuple(fault.number for fault in self._armed)

    def at_once(self) -> list[int]:
        """Faults without a trigger."""
        return self._take(lambda fault: fault.kind == "now")

    def at_command(self, name: str, done: bool) -> list[int]:
        """Before a command is carried out, or (`done`) between its effect and its reply."""
        kind = "done" if done else "on"
        due = []
        for fault in self._armed:
            if fault.kind == kind and fault.name == name:
                fault.value -= 1
                if fault.value <= 0:
                    due.append(fault)
        struck = self._take(lambda fault: fault in due)
        if not done:
            struck += [
                fault.number
                for fault in self._armed
                if fault.kind == "with_probability" and fault.dice.random() < fault.value
            ]
        return struck

    def at_line(self, panel: str, line: int) -> list[int]:
        """When the head stands on this line of this panel."""
        return self._take(
            lambda fault: fault.kind == "during" and fault.name == panel and line >= fault.value
        )

    def next_line(self, panel: str, line: int, end: int) -> int:
        """The first line behind `line` at which something is armed, at most `end`."""
        lines = [
            int(fault.value)
            for fault in self._armed
            if fault.kind == "during" and fault.name == panel and fault.value > line
        ]
        return min([end, *lines])

    def at_time(self, now: float) -> list[int]:
        """When virtual time has come to `now` seconds."""
        return self._take(lambda fault: fault.kind == "at" and now >= fault.value)

    def at_bytes(self, count: int) -> list[int]:
        """When `count` bytes have come in since the start."""
        return self._take(lambda fault: fault.kind == "after" and count >= fault.value)

    def _take(self, wanted: Callable[[Armed], bool]) -> list[int]:
        struck = [fault for fault in self._armed if wanted(fault)]
        self._armed = [fault for fault in self._armed if fault not in struck]
        return [fault.number for fault in struck]
