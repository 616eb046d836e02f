"""A whole floor under a scripted mix of all faults, each station in its own thread (issue: 4 stations, 200 cards).

``python -m tests.station_soak [--cards N] [--stations N] [--pcsc]`` runs it and prints what it came to.
"""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import segno
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from personalization.artwork import box_pixels, qr_text
from personalization.states import GOOD
from personalization.station_outcome import End, Outcome
from personalization.tables import PlasticRow, SpoilRow
from printer.sim.plastic import Place
from runtime.supervisor import Supervisor
from tests.station_floor import TEMPLATE, Bay, floor, over_pcsc
from tests.station_operator import Floor

# Every fault of printer.md 4.2 that a single floor can meet; F6, F26 and F28 are played elsewhere.
SCRIPTS = (
    "F1", "F2", "F2\nF2", "F3", "F4", "F5", "F7 during(m, 300)", "F8 during(y, 40)", "F9", "F10",
    "F10 during(c, 500)", "F11 on(Se)", "F12", "F13", "F13 during(k, 100)", "F14 on(Sis)",
    "F14 during(y, 200)", "F14 done(Se)", "F15 during(m, 10)", "F16 on(Sis)", "F17 on(Sp, 2)",
    "F17 after(20000)", "F18 on(Sp, 3)", "F18 on(Se)", "F19 on(Sis)", "F20 after(9000)",
    "F21 after(15000)", "F22 on(Sp)", "F24", "F25", "F27",
)  # fmt: skip
PAUSE_CARDS = 2  # good cards between two faults, or a station stops more than it works
LONGEST_SECONDS = 1_500.0
Modules = NDArray[np.bool_]


@dataclass(frozen=True)
class Soaked:
    """What a run came to."""

    cards: int
    stations: int
    faults: int
    spoiled: dict[str, int]
    helped: dict[str, int]
    seconds: float
    wrong: tuple[str, ...]


class Scripted:
    """Arms the next fault of a station's own shuffled list after every few good cards."""

    def __init__(self, people: Floor, bays: Sequence[Bay], seed: int, pause: int) -> None:
        self._people = people
        self._bays = {bay.name: bay for bay in bays}
        self._pause = pause
        self._good: Counter[str] = Counter()
        self._lists: dict[str, list[str]] = {}
        for bay in bays:
            scripts = list(SCRIPTS)
            random.Random(f"{seed}/{bay.name}").shuffle(scripts)
            self._lists[bay.name] = scripts
        self.armed: Counter[str] = Counter()

    def heard(self, name: str, outcome: Outcome) -> None:
        """A turn has ended: help, or make trouble."""
        bay = self._bays[name]
        if outcome.end is End.MADE:
            self._good[name] += 1
            if self._good[name] % self._pause == 0 and self._lists[name]:
                script = self._lists[name].pop()
                self.armed[script.split()[0]] += 1
                bay.simulator.inject(script)
        elif outcome.end not in (End.SPOILED, End.IDLE):
            self._people.help(bay, outcome)


def soak(
    folder: Path, *, cards: int, stations: int, seed: int = 1, pause: int = PAUSE_CARDS,
    places: Sequence[tuple[Any, Any]] = (), pictures: bool = True,
) -> Soaked:  # fmt: skip
    """Make `cards` cards on `stations` stations; everything must be explained at the end."""
    began = time.monotonic()
    tray = min(100, cards * 2 // stations + 12)
    out = {} if pictures else {"out": None}
    with ExitStack() as stack:
        bays = stack.enter_context(
            floor(folder, stations=stations, people=cards, tray=tray, places=places, **out)
        )
        people = Floor(bays, tray)
        trouble = Scripted(people, bays, seed, pause)
        for bay in bays:
            bay.start()
        made = 0
        while made < cards:
            running = Supervisor(
                [bay.station for bay in bays if bay.station is not None],
                heard=trouble.heard, until_idle=True, person_seconds=0.01,
            )  # fmt: skip
            running.start()
            assert running.join(LONGEST_SECONDS)
            before, made = made, _good(bays[0])
            assert made > before, f"no card was made in a whole round; {made} so far"
        wrong = [*people.violations(orders=cards), *people.close()]
        if pictures:
            differing, damaged = faces_and_chips(folder, bays[0])
            wrong += differing
            if damaged > trouble.armed["F17"]:
                wrong.append(
                    f"{damaged} symbols are damaged, noise struck {trouble.armed['F17']} times"
                )
        with bays[0].centre.db.read() as tx:
            spoiled = Counter(tx.scalars(select(SpoilRow.code)))
    return Soaked(
        cards, stations, trouble.armed.total(), dict(sorted(spoiled.items())), dict(people.helped),
        round(time.monotonic() - began, 1), tuple(wrong),
    )  # fmt: skip


def _good(bay: Bay) -> int:
    with bay.centre.db.read() as tx:
        return sum(place in GOOD for place in tx.scalars(select(PlasticRow.place)))


def faces_and_chips(folder: Path, bay: Bay) -> tuple[list[str], int]:
    """Every printed symbol says the serial of the chip under it; how many carry a flaw.

    A download has no checksum (printer.md 2.5): noise in a payload (F17) may blacken or lose modules, which
    the symbol corrects and quality control sees; it is still nearest to its own serial of all.
    """
    wrong, damaged = [], 0
    with bay.centre.db.read() as tx:
        cards = [
            (card.chip_serial, card.card_serial)
            for card in tx.scalars(select(PlasticRow))
            if card.place in GOOD
        ]
    stories = [
        (path, json.loads(path.read_text())) for path in (folder / "cards").glob("*/card.json")
    ]
    by_chip = {  # a chip that came back (F27) lies in the reject box under the same serial
        story["chip_serial"]: path.parent
        for path, story in stories
        if story["destination"] == Place.HOPPER.value
    }
    symbols = {serial or "": symbol_of(serial or "") for _chip, serial in cards}
    for chip_serial, card_serial in cards:
        seen = printed_symbol(by_chip[chip_serial] / "back.png")
        shares = {serial: float((seen == modules).mean()) for serial, modules in symbols.items()}
        if max(shares, key=shares.__getitem__) != card_serial:
            wrong.append(f"the picture of chip {chip_serial} does not say {card_serial}")
        damaged += shares[card_serial or ""] < 1.0
    return wrong, damaged


def symbol_of(card_serial: str) -> Modules:
    """The modules of a serial's symbol."""
    symbol = segno.make(qr_text(card_serial), error="q", version=2, boost_error=False, micro=False)
    return np.array([list(row) for row in symbol.matrix_iter(border=4)], np.bool_)


def printed_symbol(picture: Path) -> Modules:
    """The modules on a printed back, each sampled in its middle."""
    field = next(item for item in TEMPLATE.fields if item.kind == "qr")
    left, top, _width, _height = box_pixels(field.box)
    size = (25 + 2 * 4) * 5
    pixels = np.asarray(Image.open(picture).convert("L"))
    return pixels[top : top + size, left : left + size][2::5, 2::5] < 128


def main() -> int:
    def option(name: str, default: int) -> int:
        return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default

    cards, stations = option("--cards", 200), option("--stations", 4)
    with TemporaryDirectory() as place, ExitStack() as stack:
        places = over_pcsc(stack, stations) if "--pcsc" in sys.argv else ()
        done = soak(Path(place), cards=cards, stations=stations, places=places)
    sys.stdout.write(f"{done}\n")
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
