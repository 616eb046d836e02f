"""``citycard batch``: from the plan to the close (production.md 12)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, person, read, table, write
from cli.output import EXIT_NO

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.db import Tx
    from registry.roles import Actor

app = typer.Typer(help="Batches: plan, release, count, close. 制证批。", no_args_is_help=True)
Number = Annotated[str, typer.Argument(help="Batch number, as B20071126-017.")]


@app.command("plan")
def plan(
    who: As,
    point: Annotated[
        str, typer.Option("--point", help="One point; without it all that wait.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 500,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Gather what is ready: a batch per large point, one for the small ones. 编批。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import batches, orders

        orders.take_in(tx, clock)
        if point or limit < 500:
            numbers = [batches.plan(tx, clock, person(who), point=point or None, limit=limit)]
        else:
            numbers = batches.plan_all(tx, clock, person(who))
        return {"batches": numbers}

    write(
        data, "batch.plan", {"point": point, "limit": limit}, act,
        lambda a: a["batches"] or ["nothing is ready"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


def _step(
    name: str, text: str, take: "Callable[[Tx, Clock, str, Actor], object]"
) -> "Callable[..., None]":
    """A command that takes one step with a batch."""

    def command_(
        number: Number, who: As, data: Data = DEFAULT_DATA, command: Id = None,
        dry: Dry = False, as_json: Json = False,
    ) -> None:  # fmt: skip
        def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
            from personalization import batches

            take(tx, clock, number, person(who))
            return {"batch": number, "state": batches.get(tx, number).state}

        write(
            data, f"batch.{name}", {"batch": number}, act,
            lambda a: [f"batch {a['batch']} is {a['state']}"],
            as_json=as_json, command=command, dry=dry,
        )  # fmt: skip

    command_.__doc__ = text
    return command_


def _lazily(name: str) -> "Callable[[Tx, Clock, str, Actor], object]":
    def take(tx: "Tx", clock: "Clock", number: str, actor: "Actor") -> object:
        from personalization import batches

        return getattr(batches, name)(tx, clock, number, actor)

    return take


for _name, _text in (
    ("release", "The second person lets it onto the floor. 下达。"),
    ("pause", "No new cards; those inside are finished. 暂停。"),
    ("resume", "Go on. 继续。"),
    ("cancel", "Before a card was begun: its orders wait for another plan. 取消。"),
    ("finish", "All its cards are made. 制完。"),
):
    app.command(_name)(_step(_name, _text, _lazily(_name)))


@app.command("count")
def count(
    number: Number,
    what: Annotated[str, typer.Option("--what", help="blanks, good or spoiled.")],
    counted: Annotated[int, typer.Option("--counted", min=0, help="What you counted.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """A blind count: nobody is told the expected number. Exit 1: count again, or an incident. 盲点。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import counts

        out = counts.count(tx, clock, number, what, counted, person(who))
        return {
            "batch": number, "what": what, "verdict": out.verdict, "state": out.batch_state,
            "incident": out.incident,
        }  # fmt: skip

    def lines(answer: dict[str, object]) -> list[str]:
        return [
            {
                "AGREES": f"the count of {what} agrees",
                "COUNT_AGAIN": f"another person counts {what} again",
                "INCIDENT": f"the count differs: incident {answer['incident']}",
            }[str(answer["verdict"])]
        ]

    answer = write(
        data, "batch.count", {"batch": number, "what": what, "counted": counted}, act, lines,
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return 0 if answer["verdict"] == "AGREES" else EXIT_NO


@app.command("close")
def close(
    number: Number, who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Close it, by somebody who did not run it; shows the sums. 结批。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import batches

        sums = batches.close(tx, clock, number, person(who))
        return {"batch": number, "state": "CLOSED", "balance": sums.as_numbers()}

    write(
        data, "batch.close", {"batch": number}, act,
        lambda a: [f"batch {number} is closed", *table([a["balance"]])],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("show")
def show_one(number: Number, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """One batch: its state and how far its cards are. 批次详情。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import batches

        return vars(batches.show(tx, number))

    read(
        data, "batch.show", look, lambda a: [f"{name:<15} {value}" for name, value in a.items()],
        as_json=as_json,
    )  # fmt: skip


@app.command("list")
def list_all(
    state: Annotated[str, typer.Option("--state", help="Only those in this state.")] = "",
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """Batches, newest first. 批次列表。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import batches
        from personalization.states import BatchState

        if state and state.upper() not in BatchState.__members__:
            raise typer.BadParameter(f"states are {', '.join(BatchState.__members__)}")
        wanted = [BatchState(state.upper())] if state else []
        views = [batches.show(tx, number) for number in batches.all_batches(tx, wanted)]
        keys = ("number", "point", "state", "waiting", "in_work", "made", "uncertain")
        return {"batches": [{key: getattr(view, key) for key in keys} for view in views]}

    read(data, "batch.list", look, lambda a: table(a["batches"], "no batch"), as_json=as_json)
