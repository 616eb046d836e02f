"""One card through the machine: feed, bind, write, print, eject, each act announced and noted (printer.md 3.2).

Before an irreversible act a journal line says what comes, after it another what was seen; a crash anywhere
between leaves lines from which `station_recovery` tells what is true. No transaction is open in here.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol

from cardos.client import CardSession
from core.apdu import CardChannel, CardReader
from core.clock import Clock
from core.errors import CityError, DeviceFault, Rejected, Unavailable
from personalization import chip, inspect
from personalization.chip import BadChip, CardKeys
from personalization.records import Bound
from personalization.states import SpoilCode
from personalization.station_journal import StationJournal, Step
from personalization.station_recovery import HOPPER, REJECT
from personalization.work import Claim, Seen
from printer.port import CardPrinter, Destination, Layers, Panel, PrinterFault, Side, Situation

SEAT_SECONDS = 3.0  # from the printer's word to the reader's (printer.md 3.2)
FACES = (Side.FRONT, Side.BACK)


class StationKeys(CardKeys, Protocol):
    """The HSM as a station needs it."""

    def status_mac(self, body: bytes, card_serial: str) -> bytes:
        """MAC of a status record (HSM 36)."""
        ...


class WrongReader(DeviceFault):
    """Another station's reader saw our card, or nobody did: both stations stop (printer.md 3.4)."""


class CardSpoiled(DeviceFault):
    """The card inside is given up, for `reason`, at `step`."""

    def __init__(self, code: str, reason: SpoilCode, step: Step, detail: str = "") -> None:
        super().__init__(code, detail, reason=reason.value)
        self.reason = reason
        self.step = step


@dataclass
class Job:
    """One claimed card and what has become of it so far.

    `serial` is set aside from the station's block before the feed and spent at the bind.
    """

    claim: Claim
    serial: str
    faces: Mapping[Side, Layers] = field(repr=False)
    bound: Bound | None = field(default=None, repr=False)
    chip: bytes = b""
    is_bound: bool = False
    fed: int = 0
    panels: int = 0
    began: float = 0.0
    seconds: float = 0.0
    out: str = ""
    spoil: CardSpoiled | None = None
    reload: bool = False  # the front's picture went with the power

    @property
    def seen(self) -> Seen:
        """What the reports say of the plastic."""
        chip_serial = self.chip.hex().upper() or None
        return Seen(chip_serial, self.serial if self.is_bound else None, max(1, self.fed))

    @property
    def key(self) -> tuple[str, int]:
        """Work order and token, as the journal's lines carry them."""
        return self.claim.work_order, self.claim.token


class Neighbourhood:
    """Which readers of one machine wait for no card; shared by its stations, safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._busy: dict[str, bool] = {}
        self._turns: dict[str, int] = {}

    def note(self, reader: str, busy: bool) -> None:
        """A station expects or holds a card from now on, or does not any more."""
        with self._lock:
            if busy and not self._busy.get(reader, False):
                self._turns[reader] = self._turns.get(reader, 0) + 1
            self._busy[reader] = busy

    def idle_since(self, reader: str) -> int | None:
        """How many cards the reader's station has had so far; None while it is busy with one."""
        with self._lock:
            return None if self._busy.get(reader, False) else self._turns.get(reader, 0)


@dataclass(frozen=True)
class Equipment:
    """What a station owns.

    `others` are the neighbours' readers (objects of this station's own), watched while a card is seated;
    `neighbourhood` says which of them are idle; `clean` runs the machine's
    cleaning cycle, where it has one.
    """

    printer: CardPrinter
    reader: CardReader
    journal: StationJournal
    keys: StationKeys
    clock: Clock
    loader: Executor
    others: tuple[CardReader, ...] = ()
    neighbourhood: Neighbourhood = field(default_factory=Neighbourhood)
    seat_seconds: float = SEAT_SECONDS
    clean: Callable[[], None] | None = None


class Cycle:
    """The acts. Each raises PrinterFault as the driver does, and CardSpoiled for a card that is given up."""

    def __init__(self, equipment: Equipment) -> None:
        self._with = equipment
        self._journal = equipment.journal
        self._quiet: dict[str, int] = {}

    # -- blank to the contacts ---------------------------------------------------------------------------

    def feed(self, job: Job) -> None:
        """One blank to the contact station. WrongReader when a card lies in our reader already."""
        reader = self._with.reader
        if not reader.wait(False, self._with.seat_seconds):
            raise WrongReader("S-READER", "a card before our feed", reader=reader.name)
        printer = self._with.printer
        state = printer.state()
        self._quiet = self._quiet_readers()
        self._journal.intent(Step.FEED, *job.key, cards=state.cards, panels=state.panels)
        job.began = self._with.clock.monotonic()
        try:
            after = printer.feed()
        except PrinterFault as fault:
            job.fed = int(fault.facts.get("cards", 1))
            if fault.situation is Situation.BLOCKED:
                job.fed = 0
            if fault.situation is not Situation.OFFLINE:
                self._journal.result(Step.FEED, *job.key, fed=job.fed, fault=fault.code)
            raise
        job.fed, job.panels = 1, after.panels
        self._journal.result(Step.FEED, *job.key, fed=1, cards=after.cards)

    def _quiet_readers(self) -> dict[str, int]:
        """Empty readers of idle neighbours; a card that shows up there during our feed is ours, misled."""
        found = {}
        for reader in self._with.others:
            turn = self._with.neighbourhood.idle_since(reader.name)
            if turn is not None and not reader.present():
                found[reader.name] = turn
        return found

    def _watch_neighbours(self) -> None:
        for reader in self._with.others:
            turn = self._quiet.get(reader.name)
            stayed = self._with.neighbourhood.idle_since(reader.name) == turn
            if turn is not None and reader.present() and stayed:
                raise WrongReader("S-READER", reader.name, reader=reader.name)

    def seat(self, job: Job) -> CardChannel:
        """Power the chip; reseat once when it is mute. CardSpoiled CH1, CH5."""
        for attempt in (1, 2):
            channel: CardChannel | None = None
            try:
                channel = self._seated()
                job.chip = chip.identify(channel)
                return channel
            except BadChip as bad:
                _close(channel)
                raise _spoiled(bad, Step.FEED) from bad
            except WrongReader:
                raise
            except DeviceFault as fault:
                _close(channel)
                if attempt == 2:
                    raise CardSpoiled(fault.code, SpoilCode.CH1, Step.FEED, str(fault)) from fault
            self._with.printer.feed(reseat=True)
        raise AssertionError("the second attempt either seats or spoils")

    def _seated(self) -> CardChannel:
        """Power the chip, unless a neighbour has it. WrongReader S-READER."""
        try:
            channel = self._connect()
        except DeviceFault:
            self._watch_neighbours()
            raise
        try:
            self._watch_neighbours()
        except BaseException:
            channel.close()
            raise
        return channel

    def _connect(self) -> CardChannel:
        reader = self._with.reader
        if not reader.wait(True, self._with.seat_seconds):
            raise DeviceFault("CARD-ABSENT", "no card event", reader=reader.name)
        return reader.connect()

    # -- chip ---------------------------------------------------------------------------------------------

    def bind(self, job: Job) -> None:
        """From here on this plastic is this person's, or waste."""
        assert job.bound is not None
        order = replace(job.bound.chip, chip_serial=job.chip)
        job.bound = replace(job.bound, chip=order)
        numbers: dict[str, Any] = {"chip": job.chip.hex().upper(), "card": job.serial}
        self._journal.intent(Step.BIND, *job.key, **numbers)
        job.is_bound = True
        self._journal.result(Step.BIND, *job.key, **numbers)

    def encode(self, job: Job, channel: CardChannel) -> None:
        """Write, read back and close the chip while the front's picture goes down the line.

        The chip has no power when this returns. CardSpoiled CH2 to CH6.
        """
        self._journal.intent(Step.CHIP, *job.key)
        checking = self._with.loader.submit(self._check_values, job)
        loading = self._with.loader.submit(self._load, job, Side.FRONT)
        try:
            files = self._write(job, channel)
        finally:
            with suppress(CityError):  # a line that died is told by the next act on it
                channel.close()
            failed = _outcome(loading)
        if failed is not None:
            raise failed
        self._journal.result(Step.CHIP, *job.key, files=files, keys=checking.result())

    def _write(self, job: Job, channel: CardChannel) -> int:
        assert job.bound is not None
        order, keys = job.bound.chip, self._with.keys
        with _chip_faults():
            chip.write(channel, order, keys)
            files = inspect.read_back(channel, order, keys)
            chip.close(channel, order, keys)
        return files

    def _check_values(self, job: Job) -> str:
        """Asked for while the chip is written, so that no command of it waits: `PLACE=VALUE`, blanks between."""
        assert job.bound is not None
        with _chip_faults():
            found = inspect.check_values(job.bound.chip, self._with.keys)
        return " ".join(f"{place}={value}" for place, value in found.items())

    def reseat(self) -> None:
        """Move a blank that is inside, untouched, to the contacts; once."""
        self._with.printer.feed(reseat=True)

    def expel(self) -> None:
        """Reject a card no journal line explains."""
        self._journal.intent(Step.EJECT, "", 0, to=REJECT, foreign=1)
        self._with.printer.eject(Destination.REJECT)
        self._journal.result(Step.EJECT, "", 0, to=REJECT, foreign=1)

    def is_blank(self, job: Job) -> bool:
        """Whether the chip found after a crash is the bound one, still untouched. Any doubt is a no.

        DeviceFault CARD-ABSENT, CARD-MUTE when no chip answers.
        """
        assert job.bound is not None
        channel = self._connect()
        try:
            order = replace(job.bound.chip, chip_serial=job.chip)
            job.bound = replace(job.bound, chip=order)
            if chip.identify(channel) != job.chip:
                return False
            return chip.is_blank(CardSession(channel), order, self._with.keys)
        except (DeviceFault, Rejected):
            return False
        finally:
            channel.close()

    def confirm(self, job: Job) -> None:
        """A written chip at the contacts is still this card's. CardSpoiled CH6, CH1."""
        assert job.bound is not None
        order = replace(job.bound.chip, chip_serial=job.chip)
        try:
            channel = self._connect()
        except DeviceFault as fault:
            raise CardSpoiled(fault.code, SpoilCode.CH1, Step.CHIP, str(fault)) from fault
        try:
            inspect.confirm(channel, order)
        except BadChip as bad:
            raise _spoiled(bad, Step.CHIP) from bad
        except (DeviceFault, Rejected) as fault:
            raise CardSpoiled(fault.code, SpoilCode.CH4, Step.CHIP, str(fault)) from fault
        finally:
            _close(channel)

    def _load(self, job: Job, side: Side) -> None:
        try:
            self._with.printer.load(job.faces[side], side)
        except Rejected as refusal:  # P-W01: it would take more than a minute
            raise CardSpoiled(refusal.code, SpoilCode.DT1, Step.PRINT, str(refusal)) from refusal

    # -- ink ----------------------------------------------------------------------------------------------

    def print(self, job: Job, load_front: bool, on_panel: Callable[[str], None]) -> None:
        """Both faces, one journal line a panel. CardSpoiled DT1 when a picture is too much for the line."""
        printer = self._with.printer
        faces = [side for side in FACES if side in job.faces]
        wanted = sum(len(job.faces[side].panels()) for side in faces)
        if load_front:
            self._load(job, Side.FRONT)
        self._journal.intent(Step.PRINT, *job.key, panels=job.panels, wanted=wanted)
        for side in faces:
            if side is not Side.FRONT:
                self._load(job, side)

            def done(panel: Panel, side: Side = side) -> None:
                self._journal.result(Step.PRINT, *job.key, panel=f"{side.value}/{panel.value}")
                on_panel(f"{side.value}/{panel.value}")

            printer.print(job.faces[side].panels(), done)

    # -- out ----------------------------------------------------------------------------------------------

    def give_up(self, job: Job, spoil: CardSpoiled) -> None:
        """Note why, before the card moves to the reject box. The first reason stays."""
        if job.spoil is None:
            job.spoil = spoil
            self._journal.intent(
                Step.SPOIL, *job.key, reason=spoil.reason.value, at=spoil.step.value,
                code=spoil.code,
            )  # fmt: skip

    def eject(self, job: Job) -> None:
        """To the hopper, or to the reject box when it was given up."""
        to = HOPPER if job.spoil is None else REJECT
        self._journal.intent(Step.EJECT, *job.key, to=to)
        target = Destination.HOPPER if to == HOPPER else Destination.REJECT
        self._with.printer.eject(target)
        job.out = to
        job.seconds = self._with.clock.monotonic() - job.began
        self._journal.result(Step.EJECT, *job.key, to=to, ms=round(job.seconds * 1000))


@contextmanager
def _chip_faults() -> Iterator[None]:
    """What goes wrong with the chip or the HSM spoils the card at step CHIP: CH2 to CH6."""
    try:
        yield
    except BadChip as bad:
        raise _spoiled(bad, Step.CHIP) from bad
    except (DeviceFault, Rejected, Unavailable) as fault:  # reader lost, HSM refused or away
        raise CardSpoiled(fault.code, SpoilCode.CH3, Step.CHIP, str(fault)) from fault


def _spoiled(bad: BadChip, step: Step) -> CardSpoiled:
    return CardSpoiled(bad.code, SpoilCode(bad.reason), step, str(bad))


def _close(channel: CardChannel | None) -> None:
    if channel is not None:
        channel.close()


def _outcome(loading: Future[None]) -> CityError | None:
    """Wait for the download: one conversation at a time on the line."""
    problem = loading.exception()
    if problem is not None and not isinstance(problem, CityError):
        raise problem
    return problem
