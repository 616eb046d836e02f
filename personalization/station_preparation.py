"""What a card needs before a blank is spent on it: a serial, the chip's data, both pictures (printer.md 3.2).

While one card prints, the thread that loads pictures makes the next one's data and pictures, and the symbol of the
serial that comes next in the station's block; the printer holds one card, so the chip itself waits for its turn.
For one thread, but for that.
"""

from concurrent.futures import Future

from core.errors import CityError
from personalization import artwork, records
from personalization.station_cycle import Equipment, Job
from personalization.station_desk import Desk, Task
from personalization.station_journal import Step
from personalization.studio import Studio

UNSEEN_CHIP = bytes(8)  # the chip's own serial is put in at the bind


class Preparation:
    """One station's tasks made into jobs. Card serials it ever spent stand in its journal."""

    def __init__(self, equipment: Equipment, desk: Desk, studio: Studio) -> None:
        self._with = equipment
        self._desk = desk
        self._studio = studio
        self._ahead: Future[None] | None = None
        self._serials: tuple[str, ...] = ()
        # Also those of binds that the database has not heard of: a number is never given twice.
        self._spent = set(equipment.journal.facts(Step.BIND, "card"))

    def job(self, task: Task, serial: str = "") -> Job:
        """Data, script and pictures of a claimed card; `serial` where a crash left one bound.

        A fresh number is only set aside; `spend` takes it. Raises what `records.prepare` raises.
        """
        self._serials = task.serials
        chosen = serial or next(number for number in task.serials if number not in self._spent)
        drawn = self._studio.take(task.data)
        bound = records.bind(
            drawn.prepared, chosen, UNSEEN_CHIP, task.claim.lot, self._with.keys.status_mac
        )
        return Job(task.claim, chosen, self._studio.finish(drawn, bound.art), bound)

    def spend(self, serial: str) -> None:
        """The number goes onto a plastic now."""
        self._spent.add(serial)

    def look_ahead(self) -> None:
        """Begin the next card's data and pictures; a bug in the last look ahead is raised here."""
        if self._ahead is not None:
            problem = self._ahead.exception()
            if problem is not None and not isinstance(problem, CityError):
                raise problem  # a refusal is told again, and handled, when the card is claimed
        coming = next((number for number in self._serials if number not in self._spent), None)
        self._ahead = self._with.loader.submit(self._draw_ahead, coming)

    def _draw_ahead(self, coming: str | None) -> None:
        if coming is not None:
            artwork.symbol(artwork.qr_text(coming))
        data = self._desk.next_up(self._studio.waiting())
        if data is not None:
            self._studio.draw_ahead(data)
