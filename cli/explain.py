"""``citycard explain``: what bytes mean, field by field, with the rule they come from.

Every verb takes hex (blanks and colons are ignored) and prints a table in the reader's language, or with
``--json`` one object with both languages.
"""

import string
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import json_object, language, result
from core.errors import Rejected

if TYPE_CHECKING:
    from cardos.explain import Line

app = typer.Typer(help="Say what bytes mean. 解释字节含义。", no_args_is_help=True)

MAX_HEX = 8192
NARROW, WIDE = 28, 24  # columns of the table: bytes, name
Hex = Annotated[list[str], typer.Argument(metavar="HEX", help="Bytes in hex.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object with both languages.")]


def hex_bytes(words: Sequence[str]) -> bytes:
    """Bytes from hex words; a usage error (exit 2) for anything that is no hex."""
    text = "".join(words).replace(":", "").replace(" ", "")
    if len(text) > MAX_HEX:
        raise typer.BadParameter(f"at most {MAX_HEX} hex digits", param_hint="HEX")
    strange = text.strip(string.hexdigits)
    if strange:
        at = text.index(strange[0]) + 1
        raise typer.BadParameter(f"{strange[0]!r} at place {at} is no hex digit", param_hint="HEX")
    if len(text) % 2:
        raise typer.BadParameter(f"{len(text)} hex digits: one is missing", param_hint="HEX")
    raw = bytes.fromhex(text)
    if not raw:
        raise typer.BadParameter("no bytes", param_hint="HEX")
    return raw


def show_lines(what: str, raw: bytes, lines: "Sequence[Line]", as_json: bool) -> None:
    """Print explained fields. `what` names the kind of bytes, for the schema.

    Bytes that hold a PIN or key are not repeated.
    """
    if as_json:
        json_object(
            {
                "schema": f"citycard/explain-{what}/1",
                "bytes": raw.hex().upper() if all(line.hex for line in lines) else None,
                "fields": [vars(line) for line in lines],
            }
        )
        return
    chinese = language() == "zh"
    for line in lines:
        name, meaning = (
            (line.name_zh, line.meaning_zh) if chinese else (line.name_en, line.meaning_en)
        )
        result(f"{line.hex:<{NARROW}}  {padded(name, WIDE)}  {meaning}   [{line.rule}]")


def padded(text: str, width: int) -> str:
    """`text` with blanks behind, where a Chinese character takes two columns."""
    taken = sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)
    return text + " " * max(0, width - taken)


def explained(explain: "Callable[[bytes], Sequence[Line]]", raw: bytes) -> "Sequence[Line]":
    """What `explain` says; Rejected CARD-BYTES with its reason when the bytes cannot be that."""
    try:
        return explain(raw)
    except ValueError as reason:
        raise Rejected("CARD-BYTES", str(reason), reason=str(reason)) from reason


@app.command("apdu")
def apdu(
    words: Hex,
    answer: Annotated[
        str, typer.Option("--answer", metavar="HEX", help="The card's answer, data and SW1 SW2.")
    ] = "",
    as_json: Json = False,
) -> None:
    """A command for the chip, with its answer if given. 卡片命令。"""
    from cardos.explain import explain_apdu
    from cardos.explain_answers import explain_exchange

    raw = hex_bytes(words)
    reply = hex_bytes([answer]) if answer else b""
    explain = (lambda command: explain_exchange(command, reply)) if reply else explain_apdu
    show_lines("apdu", raw + reply, explained(explain, raw), as_json)


@app.command("sw")
def sw(words: Hex, as_json: Json = False) -> None:
    """A status word, two bytes. 状态字。"""
    from cardos.explain import explain_sw

    raw = hex_bytes(words)
    if len(raw) != 2:
        raise Rejected("CARD-BYTES", "a status word has two bytes", reason="SW1 SW2: 2 bytes")
    show_lines("sw", raw, [explain_sw(int.from_bytes(raw, "big"))], as_json)


@app.command("tlv")
def tlv(words: Hex, as_json: Json = False) -> None:
    """Data objects of a card. 数据对象。"""
    from cardos.explain import explain_tlv

    raw = hex_bytes(words)
    show_lines("tlv", raw, explained(explain_tlv, raw), as_json)


@app.command("iso8583")
def iso8583(words: Hex, as_json: Json = False) -> None:
    """A message between terminal and purse host, frame or body; secrets are masked. 终端与主机间的报文。"""
    from payments.explain import explain_iso8583

    raw = hex_bytes(words)
    lines = explain_iso8583_lines(explain_iso8583, raw)
    if as_json:  # the bytes are not repeated: they may hold an account number, a PIN block or keys
        json_object(
            {"schema": "citycard/explain-iso8583/1", "fields": [vars(line) for line in lines]}
        )
        return
    show_lines("iso8583", raw, lines, as_json=False)


def explain_iso8583_lines(
    explain: "Callable[[bytes], Sequence[Line]]", raw: bytes
) -> "Sequence[Line]":
    """Rejected ISO-BYTES with the place when the bytes cannot be cut into fields."""
    try:
        return explain(raw)
    except ValueError as fault:
        english, chinese = fault.args
        reason = chinese if language() == "zh" else english
        raise Rejected("ISO-BYTES", english, reason=reason) from fault
