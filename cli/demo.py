"""``citycard demo``: the main job in one command."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import EXIT_NO, json_object, language, note, result

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

READERS = ("auto", "pcsc", "direct")


def demo(
    cards: Annotated[int, typer.Option("--cards", min=3, max=200, help="Cards to make.")] = 12,
    reader: Annotated[
        str, typer.Option("--reader", help="auto, pcsc (real PC/SC) or direct (in process).")
    ] = "auto",
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run; its content is replaced.")
    ] = Path("citycard-demo"),
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed gives the same people and sums.")
    ] = 20070618,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Make, pay with, clear and prove a small city's cards. 一条命令跑完全程。"""
    from runtime.demo.city import Options
    from runtime.demo.run import run_demo
    from runtime.demo.summary import people_text

    if reader not in READERS:
        raise typer.BadParameter(f"--reader is one of {', '.join(READERS)}")
    bar, task = _bar()
    with bar:

        def progress(what: str, steps: int) -> None:
            bar.update(task, description=what, advance=steps)

        def total(steps: int) -> None:
            bar.update(task, total=steps)

        report = run_demo(Options(out, cards, reader, seed), progress, total)
    if as_json:
        json_object(report)
    else:
        result(people_text(report, language()))
    if report["broken"]:
        note("These do not hold: " + json.dumps(report["broken"]))
        return EXIT_NO
    return 0


def _bar() -> "tuple[Progress, TaskID]":
    """A progress bar on standard error; silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("[progress.description]{task.description:<22}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=Console(stderr=True),
    )  # fmt: skip
    return bar, bar.add_task("starting", total=None)
