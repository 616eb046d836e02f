"""Reference numbers (field 37): last digit of the year, day of the year, counter of that day; unique for ten years.

Numbers are taken from the database in blocks, so that several hosts never give the same one; what is left
of a block at a stop is never used (gaps are normal).
"""

from datetime import date, datetime
from threading import Lock

from sqlalchemy import update

from core.clock import business_date
from core.db import Database
from core.errors import Unavailable
from payments.tables import ReferenceRow
from payments.writing import on_conflict

BLOCK = 1000
MAX_DAY = 99_999_999


def reference(day: date, number: int) -> str:
    """Twelve digits: year's last digit, day of the year(3), counter(8).

    >>> reference(date(2007, 6, 18), 42)
    '716900000042'
    """
    return f"{day.year % 10}{day.timetuple().tm_yday:03d}{number:08d}"


class References:
    """Hands out numbers of the current business day."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._day = date.min
        self._next = self._end = 0
        self._at: datetime | None = None
        self._head = ""
        self._lock = Lock()

    def take(self, at: datetime) -> str:
        """The next number. Raises Unavailable HOST-REFERENCES when a day has had a hundred million."""
        with self._lock:
            if at is not self._at or self._next >= self._end:  # a batch asks for one instant
                self._turn_to(at)
            self._next += 1
            return f"{self._head}{self._next:08d}"

    def _turn_to(self, at: datetime) -> None:
        day = business_date(at)
        if day != self._day or self._next >= self._end:
            self._refill(day)
        self._at, self._head = at, reference(day, 0)[:4]

    def _refill(self, day: date) -> None:
        with self._db.write() as tx:
            table = ReferenceRow.__table__
            insert = on_conflict(tx, table).on_conflict_do_nothing(index_elements=["day"])  # type: ignore[arg-type]
            tx.connection().execute(insert, [{"day": day, "used": 0}])
            used: int = (
                tx.connection()
                .execute(
                    update(ReferenceRow)
                    .where(ReferenceRow.day == day)
                    .values(used=ReferenceRow.used + BLOCK)
                    .returning(ReferenceRow.used)
                )
                .scalar_one()
            )
        if used > MAX_DAY:
            raise Unavailable("HOST-REFERENCES", "no reference numbers left today")
        self._day, self._next, self._end = day, used - BLOCK, used
