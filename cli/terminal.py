"""``citycard terminal``: a purse terminal on this machine, typed or scripted, with both conversations in view."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import error, language, note, result
from core.errors import CityError

if TYPE_CHECKING:
    from cli.terminal_answers import Answer
    from cli.terminal_shell import Shell
    from core.clock import Clock
    from payments.terminal_trace import Step
    from runtime.terminal_kit import TerminalKit

PROMPT = "terminal> "
MARKS = {"good": "✓", "bad": "✗", "again": "!"}


def terminal(
    home: Annotated[
        Path | None,
        typer.Option("--home", help="The terminal's folder (terminal.json). 终端目录。"),
    ] = None,
    training: Annotated[
        bool,
        typer.Option("--training", help="A network of its own: host, HSM, cards 1 to 3. 训练。"),
    ] = False,
    script: Annotated[
        Path | None, typer.Option("--script", help="Run these lines; a whole day is one file.")
    ] = None,
    reader: Annotated[
        str, typer.Option("--reader", help="A PC/SC reader by (part of) its name; else in process.")
    ] = "",
    at: Annotated[
        str,
        typer.Option("--at", help="Let the terminal's clock start there (2007-09-03T09:00:00)."),
    ] = "",
    trace: Annotated[
        bool, typer.Option("--trace", help="Show APDUs left and ISO 8583 right. 显示报文。")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each step.")] = False,
) -> int:
    """A purse terminal: pay, load, tear, go off line, upload, settle. 消费终端。

    Without --script it reads lines from the keyboard; "help" lists them.
    """
    from cli.terminal_shell import Shell

    with ExitStack() as closing:
        kit = _kit(home, training, reader, _clock(at), closing)
        if trace:
            kit.trace.on_step = _Panes(as_json)
        return _run(Shell(kit), _lines(script), script is not None, as_json)


def _kit(
    home: Path | None, training: bool, reader: str, clock: "Clock", closing: ExitStack
) -> "TerminalKit":
    """The terminal of a folder, or one with a network of its own."""
    if training is (home is not None):
        raise typer.BadParameter("one of --home and --training", param_hint="--home")
    if home is None:
        from core import telemetry
        from runtime.training import training_kit

        telemetry.configure()
        note("training: keys made now, cards 1 to 3, PIN 123456; nothing is kept")
        return closing.enter_context(training_kit(clock))
    from runtime.terminal_kit import TerminalFolder, open_kit

    folder, real = TerminalFolder.read(home), None
    if reader:
        from runtime.readers import find_reader

        real = find_reader(reader)
    kit = open_kit(folder, clock, real)
    closing.callback(kit.close)
    return kit


def _clock(at: str) -> "Clock":
    """The machine's clock, or one that runs on from a moment in Shenzhen."""
    from datetime import datetime

    from core.clock import SHANGHAI, OffsetClock, SystemClock

    if not at:
        return SystemClock()
    try:
        start = datetime.fromisoformat(at)
    except ValueError as reason:
        raise typer.BadParameter(str(reason), param_hint="--at") from None
    return OffsetClock(SystemClock(), start if start.tzinfo else start.replace(tzinfo=SHANGHAI))


def _lines(script: Path | None) -> Iterator[str]:
    if script is not None:
        try:
            yield from script.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            raise typer.BadParameter(str(problem), param_hint="--script") from None
        return
    interactive = sys.stdin.isatty()
    while True:
        if interactive:
            sys.stderr.write(PROMPT)
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        yield line


def _run(shell: "Shell", lines: Iterator[str], scripted: bool, as_json: bool) -> int:
    """Steps until the end; a script stops at its first fault with the fault's exit code."""
    for number, line in enumerate(lines, 1):
        try:
            answer = shell.step(line)
        except CityError as fault:
            _tell_fault(fault, line, as_json)
            if scripted:
                note(f"line {number}: {line.strip()}")
                return fault.exit_code
            continue
        if answer is not None:
            _tell(answer, line, as_json)
        if shell.ended:
            break
    return 0


def _tell(answer: "Answer", line: str, as_json: bool) -> None:
    if as_json:
        word = line.split()[0]
        _one_line({"schema": "citycard/terminal-step/1", "step": word, "ok": True, **answer.facts})
        return
    text = answer.zh if language() == "zh" else answer.en
    result(f"{MARKS[answer.mood]} {text}" if "\n" not in text else text)


def _tell_fault(fault: CityError, line: str, as_json: bool) -> None:
    if as_json:
        word = (line.split() or [""])[0]
        facts = {"code": fault.code, "facts": fault.facts}
        _one_line({"schema": "citycard/terminal-step/1", "step": word, "ok": False, **facts})
        return
    mark = MARKS["again" if fault.code == "PURSE-PENDING" else "bad"]
    note(f"{mark} {_meaning(fault)}")
    error(fault, as_json=False)


def _meaning(fault: CityError) -> str:
    """The host's own words for a refused transaction."""
    from payments import responses

    code = fault.facts.get("response")
    return responses.reads(code, language()) if isinstance(code, str) else fault.code


def _one_line(value: dict[str, Any]) -> None:
    import json

    result(json.dumps(value, ensure_ascii=False))


class _Panes:
    """APDUs in the left half of the screen, messages in the right, in the order they happen."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, step: "Step") -> None:
        if self._as_json:
            _one_line({"schema": "citycard/terminal-trace/1", **vars(step)})
            return
        from rich.console import Console
        from rich.table import Table

        console = Console(stderr=True, highlight=False)
        meaning = step.meaning_zh if language() == "zh" else step.meaning_en
        lines = [
            part
            for part in (f"→ {step.sent}" if step.sent else "", f"← {step.got}" if step.got else "")
            if part
        ]
        text = "\n".join([meaning, *lines])
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=1, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        table.add_row(*((text, "") if step.side == "card" else ("", text)))
        console.print(table)
