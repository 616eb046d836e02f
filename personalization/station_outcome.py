"""What one turn of a station came to, and the sentence a person reads about it (production.md 12)."""

from dataclasses import dataclass
from enum import Enum

from core.errors import CityError
from core.faults import explain
from personalization.station_cycle import Job


class End(Enum):
    """What one `run_once` came to."""

    MADE = "made"
    SPOILED = "spoiled"
    UNCERTAIN = "uncertain"
    IDLE = "idle"  # no work for this station
    WAITING = "waiting"  # database or HSM away; nothing is lost
    NEEDS_PERSON = "needs a person"  # the sentence says what to do
    STOPPED = "stopped"  # a supervisor has to clear it, or it drains


@dataclass(frozen=True)
class Outcome:
    """The end of one turn. `code` and `sentence` for a person; numbers of the card where there is one."""

    end: End
    code: str = ""
    sentence: str = ""
    work_order: str = ""
    card_serial: str = ""
    chip_serial: str = ""
    seconds: float = 0.0


def outcome_of(end: End, fault: CityError | None, job: Job | None, lang: str) -> Outcome:
    """`fault` gives code and sentence, `job` the numbers of the card."""
    return Outcome(
        end,
        code="" if fault is None else fault.code,
        sentence="" if fault is None else " ".join(explain(fault, lang)),
        work_order="" if job is None else job.claim.work_order,
        card_serial=job.serial if job is not None and job.is_bound else "",
        chip_serial="" if job is None else job.chip.hex().upper(),
        seconds=0.0 if job is None else job.seconds,
    )
