"""``citycard station``: a printer with its reader, from the first plug to the shift's end (production.md 12)."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import (
    DEFAULT_DATA,
    As,
    Data,
    Dry,
    Id,
    Json,
    With,
    opened,
    person,
    read,
    show,
    table,
    write,
)
from cli.output import EXIT_NO, language, note, result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.clock import Clock
    from core.db import Tx
    from personalization.station_outcome import Outcome
    from personalization.tables import StationRow
    from runtime.services import Services
    from runtime.station_line import Machine, Setup

app = typer.Typer(help="Stations: attach, pair, run, drain. 制证工位。", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The station's name, as S1.")]
Timing = Annotated[
    str, typer.Option("--timing", help="The machine's class: classic, fast, or instant.")
]


@app.command("attach")
def attach(
    name: Name, who: As,
    printer: Annotated[str, typer.Option("--printer", help="Serial port or pyserial URL.")],
    reader: Annotated[str, typer.Option("--reader", help="Reader as PC/SC lists it.")],
    timing: Timing = "classic", data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """Find the machine on its port and enter the station on the floor. 接入工位。"""
    from personalization import floor
    from runtime.station_line import TIMINGS, Setup, attached

    if timing not in TIMINGS:
        raise typer.BadParameter(f"{timing!r}: {', '.join(TIMINGS)}", param_hint="--timing")
    setup = Setup(printer, reader, timing)
    with opened(data) as services:
        with attached(setup, services.clock) as (machine, identity):
            state = machine.state()
        with services.db.write() as tx:
            floor.attach(
                tx, services.clock, name, person(who), printer_serial=identity.serial, reader=reader
            )
        setup.save(data, name)
    answer = {
        "station": name, "model": identity.model, "printer_serial": identity.serial,
        "firmware": identity.firmware, "reader": reader, "ribbon": state.ribbon,
        "ribbon_left": state.ribbon_left, "position": state.position.value,
        "warnings": list(state.warnings), "notices": list(state.notices),
    }  # fmt: skip
    show(
        "station.attach", answer, lambda a: [f"{key}: {value}" for key, value in a.items()], as_json
    )


@contextmanager
def _maintenance(
    data: Path, name: str, who: str, what: str
) -> "Iterator[tuple[Machine, Setup, Services]]":
    """The machine alone, with its record: no blank of the stock may be in the feeder (I14)."""
    from core import events
    from runtime.station_line import Setup, attached

    with opened(data) as services:
        setup = Setup.load(data, name)
        actor = person(who)
        with attached(setup, services.clock) as (machine, _identity):
            yield machine, setup, services
        with services.db.write() as tx:
            events.append(
                tx, services.clock, "station.maintained", name, actor=actor.name, what=what
            )


@app.command("pair")
def pair(name: Name, who: As, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Feed one test card and see which reader it reaches; all contact stations must be empty. 配对读写器。"""
    from core import events
    from personalization import floor
    from personalization.station_cycle import SEAT_SECONDS
    from runtime.station_line import Setup, open_readers
    from runtime.station_line import pair as find

    with _maintenance(data, name, who, "pairing") as (machine, setup, services):
        with open_readers() as readers:
            found = find(machine, readers, name, lambda: _rest(SEAT_SECONDS)).name
        Setup(setup.printer, found, setup.timing).save(data, name)
        serial = machine.identify().serial
        with services.db.write() as tx:
            floor.attach(tx, services.clock, name, person(who), printer_serial=serial, reader=found)
            events.append(
                tx, services.clock, "station.paired", name, actor=person(who).name, printer=serial,
                reader=found,
            )  # fmt: skip
    answer = {"station": name, "printer_serial": serial, "reader": found}
    show("station.pair", answer, lambda a: [f"{a['printer_serial']} feeds {a['reader']}"], as_json)


def _rest(seconds: float) -> None:
    from threading import Event

    Event().wait(seconds)


@app.command("run")
def run(
    name: Name, who: As,
    hsm: Annotated[str, typer.Option("--hsm", metavar="HOST:PORT", help="The HSM.")],
    certificates: Annotated[Path, typer.Option("--certificates", help="This program's, role ISSUE.")],
    slots: Annotated[Path, typer.Option("--slots", help="The HSM's slots.json.")],
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing waits.")] = False,
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """Make cards until drained (Ctrl-C finishes the card inside). 运行工位。"""
    import signal

    from runtime.station_line import open_station
    from runtime.supervisor import Supervisor

    host, _, port = hsm.rpartition(":")
    if not host or not port.isdigit():
        raise typer.BadParameter(f"{hsm!r} is not HOST:PORT", param_hint="--hsm")
    counts: dict[str, int] = {}
    said: list[str] = []

    def heard(_station: str, outcome: "Outcome") -> None:
        counts[outcome.end.value] = counts.get(outcome.end.value, 0) + 1
        if outcome.card_serial and not as_json:
            result(f"{outcome.end.value}: card {outcome.card_serial}, {outcome.seconds:.1f} s")
        if outcome.sentence and said[-1:] != [outcome.sentence]:
            note(f"{outcome.sentence} [{outcome.code}]")
        said[:] = [outcome.sentence]

    with (
        opened(data) as services,
        open_station(
            services, name, person(who), hsm=(host, int(port)), certificates=certificates,
            slots=slots, lang=language(),
        ) as station,
    ):  # fmt: skip
        running = Supervisor([station], heard=heard, until_idle=until_idle)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: running.drain())
        running.start()
        while not running.join(1.0):
            continue
    show("station.run", {"station": name, "ends": counts}, lambda _a: [], as_json)


@app.command("status")
def status(
    name: Annotated[str, typer.Argument(help="One station; without it all.")] = "",
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """What each station is doing and what a person does next. 工位状态。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import floor

        rows = [floor.station(tx, name)] if name else floor.all_stations(tx)
        silent = {row.name for row in floor.silent(tx, clock)}
        return {"stations": [_seen(tx, row, silent) for row in rows]}

    read(
        data, "station.status", look, lambda a: table(a["stations"], "no stations yet"),
        as_json=as_json,
    )  # fmt: skip


def _seen(tx: "Tx", row: "StationRow", silent: set[str]) -> dict[str, object]:
    from personalization import floor

    good, spoiled = floor.cards_today(tx, row.name)
    return {
        "station": row.name, "state": "SILENT" if row.name in silent else row.state, "good": good,
        "spoiled": spoiled, "ribbon_left": row.ribbon_left, "operator": row.operator,
        "printer": row.printer_serial, "reader": row.reader, "stopped": row.stop_reason,
        "draining": row.draining, "sentence": _next_step(row, row.name in silent),
    }  # fmt: skip


def _next_step(row: "StationRow", is_silent: bool) -> str:
    """What holds the station back, then what it said last: a printer may want a person all the same."""
    from core.errors import Rejected
    from core.faults import catalogue, explain

    if is_silent:
        held = Rejected("W-SILENT", station=row.name)
    elif row.stop_reason in catalogue():
        held = Rejected(row.stop_reason)
    elif row.stop_reason:
        held = Rejected("W-STOPPED", station=row.name, reason=row.stop_reason)
    elif row.draining:
        held = Rejected("W-DRAINING", station=row.name)
    else:
        return row.sentence
    return " ".join((*explain(held, language()), row.sentence)).rstrip()


@app.command("start")
def start(
    name: Name, who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Let it take work again: a supervisor ends a stop, an operator ends a drain. 恢复接活。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import floor

        row = floor.station(tx, name)
        if row.stop_reason is not None:
            floor.clear(tx, clock, name, person(who))
        if row.draining:
            floor.attach(tx, clock, name, person(who))
        return {"station": name, "state": row.state}

    write(
        data, "station.start", {"name": name}, act, lambda a: [f"{a['station']} may take work"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("drain")
def drain(
    name: Name, who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Finish the card inside, then take no more. 做完本卡后停止接活。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import floor

        floor.drain(tx, clock, name, person(who))
        return {"station": name}

    write(
        data, "station.drain", {"name": name}, act, lambda a: [f"{a['station']} drains"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("stop")
def stop(
    name: Name, who: As, reason: Annotated[str, typer.Option("--reason", help="Why, in words.")],
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Hold it back until a supervisor starts it again. 停机待处理。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import floor

        floor.stop(tx, clock, name, reason[:60], person(who).name)
        return {"station": name, "reason": reason[:60]}

    write(
        data, "station.stop", {"name": name, "reason": reason}, act,
        lambda a: [f"{a['station']} is stopped: {a['reason']}"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("clean")
def clean(name: Name, who: As, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """A cleaning cycle: ribbon out, cleaning card in, station not running. 清洁打印机。"""
    with _maintenance(data, name, who, "cleaning") as (machine, _setup, _services):
        machine.clean()
    show("station.clean", {"station": name}, lambda a: [f"{a['station']} is clean"], as_json)


@app.command("test-card")
def trial_card(name: Name, who: As, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Print bars and a ramp on a test card; it goes to the reject box. 打印测试卡。"""
    from runtime.station_line import print_test_card

    with _maintenance(data, name, who, "test card") as (machine, _setup, _services):
        print_test_card(machine)
    show(
        "station.test-card", {"station": name}, lambda _a: ["look at it in the reject box"], as_json
    )


@app.command("resolve")
def resolve(
    work_order: Annotated[str, typer.Argument(help="The work order of the uncertain card.")],
    who: As, second: With,
    good: Annotated[str, typer.Option("--good", help="Found whole: CHIP/CARD as scanned.")] = "",
    bad: Annotated[str, typer.Option("--bad", help="Found, and waste: name of the box.")] = "",
    missing: Annotated[bool, typer.Option("--missing", help="Searched everywhere, not found.")] = False,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Two people say what became of a card nobody could place. 两人认定不明卡片。"""
    if sum((bool(good), bool(bad), missing)) != 1:
        raise typer.BadParameter("exactly one of --good, --bad, --missing")

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import resolution
        from personalization.plastic import Spoil
        from personalization.states import SpoilCode

        first, other = person(who), person(second)
        if good:
            chip, _, card = good.partition("/")
            resolution.found_good(tx, clock, work_order, chip, card, first, other)
            return {"work_order": work_order, "outcome": "good", "remake": None}
        if bad:
            spoil = Spoil(SpoilCode.UN1, "search", bad, witness=other.name)
            again = resolution.found_bad(tx, clock, work_order, spoil, first, other)
        else:
            again = resolution.not_found(tx, clock, work_order, first, other)
        return {
            "work_order": work_order, "outcome": "bad" if bad else "missing",
            "remake": None if again is None else again.id,
        }  # fmt: skip

    answer = write(
        data, "station.resolve", {"work_order": work_order, "good": good, "bad": bad}, act,
        lambda a: [f"{a['work_order']}: {a['outcome']}, remake {a['remake'] or '-'}"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    if answer["outcome"] == "missing":
        raise typer.Exit(EXIT_NO)
