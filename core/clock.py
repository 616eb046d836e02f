"""Time comes from a Clock, so that tests, the demo and a day's replay can set it.

Instants are aware UTC datetimes; business dates are civil dates of Asia/Shanghai (UTC+8, no daylight
saving since 1991), as residence.md 1 and iso8583-host.md I-19 say.
"""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Protocol

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")


class Clock(Protocol):
    """Port: where the time comes from."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds for deadlines and durations; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class FixedClock:
    """A clock that moves only when told to; `advance` moves both readings."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock needs an aware datetime")
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, delta: timedelta) -> None:
        if delta < timedelta(0):
            raise ValueError("time does not run backwards")
        self._now += delta
        self._monotonic += delta.total_seconds()


class OffsetClock:
    """Runs like another clock but tells a different date: the demo's pilot day, seconds by seconds."""

    def __init__(self, base: Clock, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock needs an aware datetime")
        self._base = base
        self._offset = start.astimezone(UTC) - base.now()

    def now(self) -> datetime:
        return self._base.now() + self._offset

    def monotonic(self) -> float:
        return self._base.monotonic()

    def advance(self, delta: timedelta) -> None:
        """Skip ahead, for example to the day on which a grace period ends."""
        if delta < timedelta(0):
            raise ValueError("time does not run backwards")
        self._offset += delta


def business_date(instant: datetime) -> date:
    """The civil date in Shenzhen at `instant`."""
    return instant.astimezone(SHANGHAI).date()


@lru_cache(maxsize=16)
def purse_date_time(instant: datetime) -> tuple[bytes, bytes]:
    """Date (4 bytes BCD, YYYYMMDD) and time (3 bytes BCD, HHMMSS) as the chip wants them."""
    local = instant.astimezone(SHANGHAI)
    return bytes.fromhex(local.strftime("%Y%m%d")), bytes.fromhex(local.strftime("%H%M%S"))
