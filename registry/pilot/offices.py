"""What the offices of a rehearsed pilot do beside accepting people: lend, tell, hear, decide on services.

Through the services of the pilot's own management (residence.md 14, 16), on fixed days, so that the summary of a
rehearsal has something true to say in every section.
"""

from collections.abc import Callable
from datetime import date

from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from registry.pilot import opinions, publicity, tasks
from registry.pilot.opinions import ChannelOfOpinion
from registry.pilot.preparation import OFFICE, SET_UP
from registry.pilot.stages import stages
from registry.points import training
from registry.points.places import all_points
from registry.roles import Actor, Role
from registry.services import gate
from registry.services.gate import Item, State
from registry.services.manifest import Manifest, shipped

OWNER = Actor.of("service owners", Role.SERVICE_OWNER)
TOLD = date(2007, 4, 20)
DECIDED = date(2007, 6, 5)
HEARD = date(2007, 7, 10)
LENT_UNIT = "another district's police office"
STEPS = (State.REVIEW, State.SANDBOX, State.LIMITED, State.LIVE)
PILOT_STREET = "440308003"
OPINIONS = (
    ("grace_employment", "Seven days are short for building workers who change sites.", "into the what-if"),
    ("fee_new_fen", "Twenty yuan is much for a family of four.", "to the price office"),
    ("notice", "Tell people by telephone message, not by letter.", "into the workflow"),
)  # fmt: skip


def on_day(tx: Tx, clock: Clock, day: date) -> None:
    """What is due on a day; nothing on most."""
    act = CALENDAR.get(day)
    if act is not None:
        act(tx, clock, day)


def _lend(tx: Tx, clock: Clock, day: date) -> None:
    """One person from elsewhere at every police station until the pilot stage ends."""
    last = next(one.last for one in stages() if one.name == "PILOT")
    for point in all_points():
        if point.kind == "police":
            person = f"lent to {point.code}"
            training.lend(tx, clock, person, LENT_UNIT, point.code, day, last, OFFICE)
            for module in training.Module:
                training.examine(tx, clock, person, module, 85, OFFICE)


def _tell(tx: Tx, clock: Clock, day: date) -> None:
    del day
    for channel in publicity.CHANNELS:
        publicity.log(tx, clock, channel, "permits are accepted from May on")


def _hear(tx: Tx, clock: Clock, day: date) -> None:
    del day
    for rule, statement, disposition in OPINIONS:
        said = opinions.give(tx, clock, ChannelOfOpinion.HEARING, rule, statement)
        opinions.dispose(tx, said, disposition, OFFICE)


def _decide(tx: Tx, clock: Clock, day: date) -> None:
    """Every shipped service asks to be taken in; the gate lets those through that are mature."""
    for manifest in shipped().values():
        gate.propose(tx, clock, manifest, OWNER)
        for item in Item:
            if item not in gate.COUNTED:
                gate.close_item(tx, clock, manifest.code, item, f"minutes of {day}", OFFICE)
        try:
            _bring_to_life(tx, clock, manifest)
        except Rejected as refused:
            if refused.code != "E-IMMATURE":
                raise  # an open item keeps it where it is: that is what the gate is for


def _bring_to_life(tx: Tx, clock: Clock, manifest: Manifest) -> None:
    for step in STEPS:
        gate.sign(tx, clock, manifest.code, step, "pilot office", OFFICE)
        gate.sign(tx, clock, manifest.code, step, manifest.owner_org, OWNER)
        gate.advance(tx, clock, manifest, step, OFFICE, PILOT_STREET)


def _finish(tx: Tx, clock: Clock, day: date) -> None:
    """Duties whose deadline has come."""
    for duty in tasks.duties():
        if duty.deadline <= day:
            tasks.finish(tx, clock, duty.id, f"rehearsed until {day}", OFFICE)


CALENDAR: dict[date, Callable[[Tx, Clock, date], None]] = {
    TOLD: _tell,
    DECIDED: _decide,
    HEARD: _hear,
    **{duty.deadline: _finish for duty in tasks.duties()},
}


def prepare(tx: Tx, clock: Clock) -> None:
    """Before the first day."""
    _lend(tx, clock, SET_UP)


def close(tx: Tx, clock: Clock, day: date) -> None:
    """In the summary stage: what was due is done, everybody lent goes home."""
    _finish(tx, clock, day)
    training.end_secondments(tx, clock, everybody=True)
