"""``citycard qc``: scan, look, report (production.md 8, 12). Nothing is printed from here."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, person, read, table, write
from cli.output import EXIT_NO

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="Quality control: scan, look, report. 质检。", no_args_is_help=True)
_NEXT = {
    "PASS": "passed: on the pile of its point",
    "LOOK": "symbol and chip agree: compare it with its picture, then citycard qc look",
    "FAIL": "waste: into the QC box",
}


def _lines(answer: dict[str, Any]) -> list[str]:
    code = f" ({answer['code']})" if answer["code"] else ""
    return [f"{answer['card_serial']} {_NEXT[answer['verdict']]}{code}"]


@app.command("scan")
def scan(
    qr: Annotated[str, typer.Argument(help="The card's QR code as scanned, or its 14 digits.")],
    who: As,
    chip: Annotated[
        str, typer.Option("--chip", help="Chip serial, 16 hex digits; else the reader is asked.")
    ] = "",
    reader: Annotated[str | None, typer.Option("--reader", help="The bench reader's name.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Look at samples only, not at every card.")
    ] = False,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> int:  # fmt: skip
    """Association: the chip under the picture is the one bound to it. Exit 1 when not. 芯卡核对。"""
    chip_serial = chip or _read_chip(reader)

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality

        found = quality.scan(tx, clock, qr, chip_serial, person(who), every_card=not sample)
        return vars(found)

    answer = write(
        data, "qc.scan", {"qr": qr, "chip": chip_serial}, act, _lines,
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return EXIT_NO if answer["verdict"] == "FAIL" else 0


def _read_chip(reader: str | None) -> str:
    """The serial of the chip on the bench reader. Raises DeviceFault."""
    from cardos.spec import chip_serial
    from runtime.readers import find_reader

    slot = find_reader(reader)
    try:
        channel = slot.connect()
        try:
            return chip_serial(channel.atr).hex().upper()
        finally:
            channel.close()
    finally:
        slot.close()


@app.command("look")
def look(
    card: Annotated[str, typer.Argument(help="Card serial, 14 digits.")],
    who: As,
    bad: Annotated[
        list[str] | None,
        typer.Option("--bad", help="registration, colour, surface, plate_free, photo or qr."),
    ] = None,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> int:  # fmt: skip
    """The visual check; what is not named with --bad is good. Exit 1 when it is waste. 目视检查。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality

        names = set(bad or [])
        if not names <= {check.value for check in quality.Check}:
            raise typer.BadParameter(f"checks are {', '.join(quality.Check)}")
        answers = {check: check.value not in names for check in quality.Check}
        return vars(quality.look(tx, clock, card, answers, person(who)))

    answer = write(
        data, "qc.look", {"card": card, "bad": bad or []}, act, _lines,
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return EXIT_NO if answer["verdict"] == "FAIL" else 0


@app.command("waiting")
def waiting(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Cards that wait for inspection, and which of them are samples. 待检卡片。"""

    def find(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import quality

        return {
            "cards": [
                {
                    "card_serial": card.card_serial, "batch": card.batch, "station": card.station,
                    "sample": quality.is_sample(tx, card),
                }
                for card in quality.waiting(tx)
            ]
        }  # fmt: skip

    read(data, "qc.waiting", find, lambda a: table(a["cards"]), as_json=as_json)


@app.command("report")
def report(
    batch: Annotated[str, typer.Option("--batch", help="One batch; else all.")] = "",
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """What was inspected, what failed and why. 质检报告。"""

    def find(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import quality

        return vars(quality.report(tx, batch or None))

    read(
        data, "qc.report", find, lambda a: [f"{name:<11} {value}" for name, value in a.items()],
        as_json=as_json,
    )  # fmt: skip
