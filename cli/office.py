"""What the production office's commands share: who acts, one transaction, one answer, ``--dry-run``, ``--id``.

The person at the prompt is named with ``--as NAME:ROLE`` and the second one with ``--with NAME:ROLE``; the
machine's account is trusted to tell the truth, the console demands a sign-in of both. A command given
twice with the same ``--id`` has one effect and the same answer.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import json_object, note, result

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx
    from registry.roles import Actor
    from runtime.services import Services

Data = Annotated[Path, typer.Option("--data", help="Folder of an installation or a run.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
As = Annotated[str, typer.Option("--as", help="Who acts, NAME:ROLE[,ROLE].")]
With = Annotated[str, typer.Option("--with", help="The second person, NAME:ROLE[,ROLE].")]
Id = Annotated[
    str | None, typer.Option("--id", help="Your id of this command: twice has one effect.")
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Show the answer, keep nothing.")]
DEFAULT_DATA = Path("citycard-demo")

Answer = dict[str, Any]
Act = Callable[["Tx", "Clock"], Answer]
Lines = Callable[[Answer], list[str]]


class _DryRunError(Exception):
    """Leaves the transaction without keeping it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def person(text: str) -> "Actor":
    """``name:role,role`` as an actor. Usage error when it is not that."""
    from registry.roles import Actor, Role

    name, _, roles = text.rpartition(":")
    known = {role.value for role in Role}
    wanted = [role.strip() for role in roles.split(",")]
    if not name.strip() or not set(wanted) <= known:
        raise typer.BadParameter(f"{text!r} is not NAME:ROLE; roles are {', '.join(sorted(known))}")
    return Actor.of(name.strip(), *(Role(role) for role in wanted))


@contextmanager
def opened(data: Path) -> Iterator["Services"]:
    """The installation in a folder, closed at the end. Usage error when there is none."""
    from runtime.services import build
    from runtime.settings import Settings

    settings = Settings(data=data)
    if settings.database.startswith("sqlite:///") and not data.exists():
        raise typer.BadParameter(f"there is no installation in {data}; see citycard demo --help")
    services = build(settings)
    try:
        yield services
    finally:
        services.close()


def write(
    data: Path,
    kind: str,
    values: Mapping[str, Any],
    act: Act,
    lines: Lines,
    *,
    as_json: bool,
    command: str | None = None,
    dry: bool = False,
) -> Answer:
    """One command that changes something: in one transaction, once per id; prints its answer."""
    from personalization import commands

    with opened(data) as services:
        try:
            with services.db.write() as tx:
                answer = commands.once(
                    tx, services.clock, command, kind, values, lambda: act(tx, services.clock)
                )
                if dry:
                    raise _DryRunError(answer)
        except _DryRunError as kept:
            answer = kept.answer
            note("dry run: nothing was kept")
    show(kind, {**answer, "dry_run": True} if dry else answer, lines, as_json)
    return answer


def read(data: Path, kind: str, look: Act, lines: Lines, *, as_json: bool) -> Answer:
    """One command that only looks; prints its answer."""
    with opened(data) as services, services.db.read() as tx:
        answer = look(tx, services.clock)
    show(kind, answer, lines, as_json)
    return answer


def show(kind: str, answer: Answer, lines: Lines, as_json: bool) -> None:
    """JSON with its schema, or the lines for people."""
    if as_json:
        json_object({"schema": f"citycard/{kind.replace('.', '-')}/1", **answer})
        return
    for line in lines(answer):
        result(line)


def table(rows: list[dict[str, Any]], empty: str = "nothing") -> list[str]:
    """Rows as aligned lines under their names."""
    if not rows:
        return [empty]
    names = list(rows[0])
    cells = [names, *[["-" if row[n] is None else str(row[n]) for n in names] for row in rows]]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
