"""``citycard card``: one card. ``read`` shows what any card shows to anybody, through a PC/SC reader."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.explain import padded
from cli.output import json_object, language, note, result
from core.money import format_yuan

if TYPE_CHECKING:
    from cardos.survey import CardView, DirectoryView, FileView

app = typer.Typer(no_args_is_help=True)
SHOWN_BYTES = 48  # of a file on the screen; --json has them all


@app.callback()
def card() -> None:
    """One card: read what it shows. 单张卡片。"""


@app.command("read")
def read(
    reader: Annotated[
        str | None,
        typer.Option("--reader", help="The reader's name or a part of it; else the first card."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Dump a card's public tree, balance and log; sends no PIN and writes nothing. 读卡。"""
    from cardos.survey import survey
    from runtime.readers import find_reader

    slot = find_reader(reader)
    try:
        channel = slot.connect()
        try:
            note(slot.name)
            view = survey(channel)
        finally:
            channel.close()
    finally:
        slot.close()
    if as_json:
        json_object(_object(slot.name, view))
    else:
        _print(view)


def _object(reader: str, view: "CardView") -> dict[str, Any]:
    return {
        "schema": "citycard/card-read/1",
        "reader": reader,
        "atr": view.atr.hex().upper(),
        "chip_serial": view.chip_serial.hex().upper() if view.chip_serial else None,
        "currency": "CNY",
        "directories": [_directory_object(directory) for directory in view.directories],
    }


def _directory_object(directory: "DirectoryView") -> dict[str, Any]:
    return {
        "name": directory.name.hex().upper(),
        "sw": f"{directory.sw:04X}",
        "application_file": directory.fci.application_file.hex().upper() or None,
        "purses": [
            {"purse": p.name, "balance_fen": p.balance, "sw": f"{p.sw:04X}"}
            for p in directory.purses
        ],
        "log": [
            {
                "serial": r.serial,
                "type": f"{r.type:02X}",
                "type_name": _type_name(r.type, "en"),
                "amount_fen": r.amount,
                "overdraft_fen": r.overdraft,
                "terminal": r.terminal.hex().upper(),
                "at": f"{_date(r.date)}T{_time(r.time)}+08:00",
            }
            for r in directory.log
        ],
        "files": [
            {
                "short_id": f"{f.short_id:02X}",
                "kind": f.kind,
                "sw": f"{f.sw:04X}",
                "data": f.data.hex().upper() or None,
                "records": [record.hex().upper() for record in f.records],
            }
            for f in directory.files
        ],
    }


def _date(bcd: bytes) -> str:
    text = bcd.hex()
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"


def _time(bcd: bytes) -> str:
    text = bcd.hex()
    return f"{text[:2]}:{text[2:4]}:{text[4:]}"


def _type_name(kind: int, lang: str) -> str:
    from cardos.explain_fields import TRANSACTION_NAMES

    english, chinese = TRANSACTION_NAMES.get(kind, ("unknown", "未知"))
    return chinese if lang == "zh" else english


def _print(view: "CardView") -> None:
    serial = view.chip_serial.hex().upper() if view.chip_serial else "-"
    result(f"ATR {view.atr.hex(' ').upper()}")
    result(f"chip {serial}")
    for directory in view.directories:
        _print_directory(directory)


def _print_directory(directory: "DirectoryView") -> None:
    from cardos.status import sw_text

    name = directory.name
    shown = f'  "{name.decode("ascii")}"' if name.isascii() and name.decode().isprintable() else ""
    blocked = "" if directory.sw == 0x9000 else f"  {sw_text(directory.sw)[language() == 'zh']}"
    result(f"\nDF {name.hex().upper()}{shown}{blocked}")
    for file in directory.files:
        for line in _file_lines(file):
            result(f"  {line}")
    for purse in directory.purses:
        text = (
            f"{format_yuan(purse.balance)} CNY"
            if purse.balance is not None
            else sw_text(purse.sw)[language() == "zh"]
        )
        result(f"  {purse.name}  {text}")
    for number, record in enumerate(directory.log, 1):
        result(
            f"  {number:>2}  {_date(record.date)} {_time(record.time)}"
            f"  {padded(_type_name(record.type, language()), 14)} {format_yuan(record.amount):>10} CNY"
            f"  SN {record.serial}  {record.terminal.hex().upper()}"
        )


def _file_lines(file: "FileView") -> list[str]:
    from cardos.status import sw_text

    head = f"{file.short_id:02X}  {file.kind:<7}"
    if file.records:
        return [f"{head}  {n:>3}  {_cut(record)}" for n, record in enumerate(file.records, 1)]
    if file.data:
        return [f"{head}  {len(file.data):>3}  {_cut(file.data)}"]
    return [f"{head}   {file.sw:04X}  {sw_text(file.sw)[language() == 'zh']}"]


def _cut(data: bytes) -> str:
    more = " …" if len(data) > SHOWN_BYTES else ""
    return data[:SHOWN_BYTES].hex().upper() + more
