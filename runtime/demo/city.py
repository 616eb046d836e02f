"""What all chapters of the demo share: the installation, its clock, its dice, its people, and the progress told."""

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from core.clock import OffsetClock, SystemClock
from core.db import Database
from registry.roles import Actor, Role

OPENING = datetime(2007, 6, 18, 1, 0, tzinfo=UTC)  # the launch day, nine in the morning in Shenzhen
LOT = "07001"
MAX_CARDS = 200

REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)
OFFICER = Actor.of("officer Luo", Role.DATA_OFFICER)
SUPERVISOR = Actor.of("supervisor Gao", Role.CARD_SUPERVISOR)
SECOND_SUPERVISOR = Actor.of("supervisor Tang", Role.CARD_SUPERVISOR)
OPERATOR = Actor.of("operator Deng", Role.CARD_OPERATOR)
INSPECTOR = Actor.of("inspector Han", Role.CARD_QC)
KEEPER = Actor.of("keeper Song", Role.STOCK_KEEPER)
OTHER_KEEPER = Actor.of("keeper Xu", Role.STOCK_KEEPER)

Progress = Callable[[str, int], None]  # what happens now, steps done since the last call


@dataclass(frozen=True)
class Options:
    """What the demo was asked for. `reader` is "auto", "pcsc" or "direct"."""

    out: Path
    cards: int = 12
    reader: str = "auto"
    seed: int = 20070618


@dataclass
class City:
    """One run. Everything that must end is entered in `closing`."""

    options: Options
    db: Database
    clock: OffsetClock
    progress: Progress
    closing: ExitStack
    dice: random.Random = field(repr=False)

    @property
    def out(self) -> Path:
        """The run's folder."""
        return self.options.out

    def folder(self, name: str) -> Path:
        """A folder below the run's."""
        path = self.out / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def city_clock() -> OffsetClock:
    """The pilot's launch day, running at the real pace."""
    return OffsetClock(SystemClock(), OPENING)
