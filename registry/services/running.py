"""Services at work: enrolment, answers that hold what the data contract names and nothing else, hooks kept apart.

A hook gets a few public values and no transaction. One that fails or takes longer than two seconds is
written down for its owner; the permit it was called for goes on as if it had worked.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as TooLong
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from cardos.residence_records import ServiceEntry
from core import events
from core.clock import Clock, business_date
from core.db import Database, Tx
from core.errors import NotAllowed, Rejected
from core.ids import uuid7
from registry.masking import mask_name
from registry.residence import facts, permits, persons
from registry.residence.domain import Basis, ChipStatus
from registry.residence.tables import KnownAddressRow
from registry.roles import Actor, Role, require
from registry.services import gate
from registry.services.gate import PLACES_ON_CARD, RUNNING, State
from registry.services.manifest import Manifest, Requires, shipped
from registry.services.tables import EnrolmentRow, HookErrorRow, ServiceRow

HOOK_SECONDS = 2.0
READER = "services"
PAGE = 200
HOOK_OF = {
    "permit.slept": "dormant", "permit.woken": "wake", "card.handed_over": "activate",
    "permit.issued": "personalise",
}  # fmt: skip
Hook = Callable[[Mapping[str, str]], None]
Hooks = Mapping[tuple[str, str], Hook]


def enrol(tx: Tx, clock: Clock, permit_no: str, code: str, consent: str, actor: Actor) -> None:
    """A holder takes a service, at a point, with a recorded consent.

    Raises NotAllowed E-ROLE; NotFound E-PERMIT, E-SERVICE; Rejected E-SERVICE-OFF (not running, or not at
    this place), E-CONSENT, E-PLACES (the card's 16 places are taken).
    """
    require(actor, Role.POLICE_CLERK, Role.STATION_CLERK)
    row = gate.get(tx, code)
    permit = permits.get(tx, permit_no)
    if row.state not in RUNNING or not _serves(row, permit.address_code):
        raise Rejected("E-SERVICE-OFF", "the service does not run here", service=code)
    if not consent.strip():
        raise Rejected("E-CONSENT", "the holder's consent is on record first", service=code)
    known = tx.get(EnrolmentRow, (permit_no, code))
    if known is not None:
        known.active, known.consent = True, consent.strip()[:120]
        return
    taken = tx.scalars(select(EnrolmentRow).where(EnrolmentRow.permit_no == permit_no)).all()
    if len(taken) >= PLACES_ON_CARD:
        raise Rejected("E-PLACES", "the card has 16 places", service=code)
    tx.add(
        EnrolmentRow(
            permit_no=permit_no, code=code, consent=consent.strip()[:120],
            enrolled_at=clock.now(), active=True,
        )
    )  # fmt: skip
    tx.flush()
    events.append(tx, clock, "service.enrolled", permit_no, actor=actor.name, service=code)


def _serves(row: ServiceRow, address_code: str) -> bool:
    """A limited service serves one street (the head of the address code); LIVE serves everywhere."""
    if row.state != State.LIMITED or row.limited_to is None:
        return True
    return address_code.startswith(row.limited_to)


def card_entries(tx: Tx, permit_no: str) -> tuple[ServiceEntry, ...]:
    """EF.SVC of a holder: enrolled services by number; a suspended or retired one is switched off."""
    rows = tx.execute(
        select(ServiceRow, EnrolmentRow.active)
        .join(EnrolmentRow, EnrolmentRow.code == ServiceRow.code)
        .where(EnrolmentRow.permit_no == permit_no)
        .order_by(ServiceRow.number)
    ).all()
    return tuple(
        ServiceEntry(
            row.number, row.version, active and row.state in RUNNING, shipped()[row.code].dormant_ok
        )
        for row, active in rows
    )


def answer(tx: Tx, clock: Clock, code: str, permit_no: str, actor: Actor) -> dict[str, Any]:
    """What a service's owner may know of an enrolled holder: the contract's fields only.

    Raises NotAllowed E-ROLE, E-NOT-ENROLLED; NotFound E-SERVICE, E-PERMIT; Rejected E-SERVICE-OFF, E-DORMANT.
    """
    require(actor, Role.SERVICE_OWNER, Role.TERMINAL)
    row, manifest = gate.get(tx, code), shipped()[code]
    if row.state not in RUNNING:
        raise Rejected("E-SERVICE-OFF", "the service does not run", service=code)
    enrolment = tx.get(EnrolmentRow, (permit_no, code))
    if enrolment is None or not enrolment.active:
        raise NotAllowed("E-NOT-ENROLLED", "the holder does not use this service")
    status = ChipStatus(permits.get(tx, permit_no).status)
    if not _allows(manifest, status):
        raise Rejected("E-DORMANT", f"the permit is {status.name}", status=status.name)
    known = _known(tx, clock, permit_no)
    return {field: known[field] for field in manifest.data_fields}


def _allows(manifest: Manifest, status: ChipStatus) -> bool:
    if manifest.requires is Requires.NONE:
        return True
    if status is ChipStatus.DORMANT:
        return manifest.dormant_ok
    return status is ChipStatus.ACTIVE


def _known(tx: Tx, clock: Clock, permit_no: str) -> dict[str, Any]:
    """Everything any contract may name; `answer` cuts it down."""
    permit = permits.get(tx, permit_no)
    person = persons.get(tx, permit.person_id)
    today = business_date(clock.now())
    told = [fact for fact in facts.of_person(tx, person) if fact.covers(today)]
    jobs = [fact.start for fact in told if fact.kind == Basis.EMPLOYMENT]
    homes = [fact.start for fact in told if fact.kind == facts.DWELLING]
    place = tx.get(KnownAddressRow, permit.address_code)
    return {
        "permit_status": ChipStatus(permit.status).name,
        "basis": permit.basis,
        "employed_since": min(jobs).isoformat() if jobs else None,
        "address_text": place.text if place is not None else None,
        "lives_there_since": min(homes).isoformat() if homes else None,
        "birth_year": person.birth.year,
        "name_masked": mask_name(persons.personal(tx, person).name),
    }


# -- hooks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Called:
    """One round of hooks."""

    events: int
    called: int
    failed: int


class HookRunner:
    """Follows the event log and calls the enrolled services' hooks, each on its own. A process without devices."""

    def __init__(self, db: Database, clock: Clock, hooks: Hooks, workers: Executor) -> None:
        self._db = db
        self._clock = clock
        self._hooks = hooks
        self._workers = workers

    def run_once(self) -> Called:
        """The next page of events. The cursor moves whatever the hooks did: nobody waits for a service."""
        with self._db.read() as tx:
            news = events.after(
                tx, events.cursor(tx, READER), kinds_wanted=tuple(HOOK_OF), limit=PAGE
            )
            due = [
                (code, HOOK_OF[event.kind], _permit_of(event))
                for event in news
                for code in self._enrolled(tx, _permit_of(event))
                if HOOK_OF[event.kind] in shipped()[code].hooks
            ]
        problems = [(job, self._call(*job)) for job in due]
        failed = [(job, problem) for job, problem in problems if problem]
        if news:
            with self._db.write() as tx:
                events.move_cursor(tx, READER, news[-1].seq)
                for (code, hook, permit_no), problem in failed:
                    tx.add(
                        HookErrorRow(
                            id=uuid7(self._clock.now()), code=code, hook=hook, permit_no=permit_no,
                            problem=problem, at=self._clock.now(),
                        )
                    )  # fmt: skip
        return Called(len(news), len(due), len(failed))

    def repair(self, code: str) -> int:
        """The owner mended the hook: call what failed once more; how many are still open."""
        with self._db.read() as tx:
            query = select(HookErrorRow).where(
                HookErrorRow.code == code, HookErrorRow.repaired_at.is_(None)
            )
            open_errors = [(row.id, row.hook, row.permit_no) for row in tx.scalars(query)]
        mended = [
            one for one, hook, permit_no in open_errors if not self._call(code, hook, permit_no)
        ]
        with self._db.write() as tx:
            for one in mended:
                row = tx.get(HookErrorRow, one)
                assert row is not None
                row.repaired_at = self._clock.now()
        return len(open_errors) - len(mended)

    def _enrolled(self, tx: Tx, permit_no: str) -> list[str]:
        query = (
            select(EnrolmentRow.code)
            .join(ServiceRow, ServiceRow.code == EnrolmentRow.code)
            .where(
                EnrolmentRow.permit_no == permit_no, EnrolmentRow.active.is_(True),
                ServiceRow.state.in_(RUNNING),
            )
        )  # fmt: skip
        return list(tx.scalars(query.order_by(EnrolmentRow.code)))

    def _call(self, code: str, hook: str, permit_no: str) -> str:
        """Empty when it went well, else what went wrong (a class name: a message could hold anything)."""
        function = self._hooks.get((code, hook))
        if function is None:
            return "no hook is installed"
        running = self._workers.submit(function, {"permit_no": permit_no, "hook": hook})
        try:
            running.result(HOOK_SECONDS)
        except TooLong:
            running.cancel()
            return f"longer than {HOOK_SECONDS} s"
        except Exception as problem:  # a stranger's code: whatever it raises stays here
            return type(problem).__name__
        return ""


@dataclass(frozen=True)
class HookFault:
    """Failures of one hook that wait for their owner."""

    service: str
    hook: str
    problem: str
    count: int


def open_faults(tx: Tx) -> list[HookFault]:
    """What was not repaired yet, by service, hook and problem."""
    columns = (HookErrorRow.code, HookErrorRow.hook, HookErrorRow.problem)
    rows = tx.execute(
        select(*columns, func.count())
        .where(HookErrorRow.repaired_at.is_(None))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [HookFault(*row) for row in rows]


def _permit_of(event: events.Event) -> str:
    found = event.data.get("permit_no", event.subject)
    return str(found)
