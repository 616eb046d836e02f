"""``citycard queue``, ``remake`` and ``incident``: what waits, and for whom (production.md 7, 12)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, With, person, read, table, write

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

queue_app = typer.Typer(help="The floor's queue: show, bump. 生产队列。", no_args_is_help=True)
remake_app = typer.Typer(help="Remakes of failed cards. 重制。", no_args_is_help=True)
incident_app = typer.Typer(help="Incidents: list, sign, resolve. 异常事件。", no_args_is_help=True)
Waiting = Annotated[str, typer.Option("--point", help="Only this point.")]


@queue_app.command("show")
def show(point: Waiting = "", data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """What waits, most urgent first, and when it will be done. 队列。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import schedule

        forecast = schedule.forecast(tx)
        waits = schedule.queue(tx, clock, point or None)
        return {
            "forecast": vars(forecast),
            "orders": [
                {**vars(item), "waits_since": item.waits_since.isoformat()} for item in waits
            ],
        }

    def lines(answer: dict[str, object]) -> list[str]:
        forecast = answer["forecast"]
        assert isinstance(forecast, dict)
        hours = forecast["hours"]
        end = "no station has a rate yet" if hours is None else f"about {hours:.1f} h"
        rows = answer["orders"]
        assert isinstance(rows, list)
        return [
            f"backlog {forecast['backlog']}, {forecast['cards_per_hour']:.0f} cards/h: {end}",
            *table(rows, "nothing waits"),
        ]

    read(data, "queue.show", look, lines, as_json=as_json)


@queue_app.command("bump")
def bump(
    acc_no: Annotated[str, typer.Argument(help="Acceptance number, 18 digits.")],
    reason: Annotated[str, typer.Option("--reason")], who: As, data: Data = DEFAULT_DATA,
    command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """A supervisor makes an order urgent. 加急。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import schedule

        schedule.bump(tx, clock, acc_no, person(who), reason)
        return {"acc_no": acc_no, "priority": 1}

    write(
        data, "queue.bump", {"acc_no": acc_no, "reason": reason}, act,
        lambda _: [f"{acc_no} is urgent"], as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@queue_app.command("person")
def needs_person(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Orders that need a person, with the reason. 待人工处理。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from sqlalchemy import select

        from personalization.orders import HUMAN
        from personalization.tables import OrderRow

        rows = tx.scalars(
            select(OrderRow).where(OrderRow.state == HUMAN).order_by(OrderRow.ordered_at)
        )
        return {
            "orders": [
                {"acc_no": row.acc_no, "point": row.point, "trouble": row.trouble} for row in rows
            ]
        }

    read(data, "queue.person", look, lambda a: table(a["orders"], "none"), as_json=as_json)


@queue_app.command("recheck")
def recheck(
    acc_no: Annotated[str, typer.Argument(help="Acceptance number, 18 digits.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """The data were corrected: check an order again. 复核。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import orders

        ready = orders.recheck(tx, clock, acc_no, person(who))
        return {"acc_no": acc_no, "ready": ready, "trouble": orders.get(tx, acc_no).trouble}

    write(
        data, "queue.recheck", {"acc_no": acc_no}, act, lambda a: table([a]),
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@remake_app.command("list")
def remakes(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Second and third attempts, what failed before, and where they are. 重制列表。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from sqlalchemy import select

        from personalization.tables import PlasticRow, SpoilRow, WorkOrderRow

        rows = tx.execute(
            select(WorkOrderRow, SpoilRow.code)
            .join(PlasticRow, PlasticRow.work_order == WorkOrderRow.remake_of)
            .join(SpoilRow, SpoilRow.card == PlasticRow.id)
            .order_by(WorkOrderRow.created_at)
        )
        return {
            "remakes": [
                {
                    "acc_no": row.acc_no, "attempt": row.attempt, "state": row.state,
                    "batch": row.batch, "because": code,
                }
                for row, code in rows
            ]
        }  # fmt: skip

    read(data, "remake.list", look, lambda a: table(a["remakes"], "none"), as_json=as_json)


@incident_app.command("list")
def incidents_list(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Incidents that are not signed, oldest first. 未签结异常。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import incidents

        return {
            "incidents": [
                {
                    "incident": row.id, "kind": row.kind, "subject": row.subject,
                    "batch": row.batch, "what": row.what,
                }
                for row in incidents.open_ones(tx)
            ]
        }  # fmt: skip

    read(data, "incident.list", look, lambda a: table(a["incidents"], "none"), as_json=as_json)


@incident_app.command("sign")
def sign(
    incident: Annotated[str, typer.Argument()], decision: Annotated[str, typer.Option("--decision")],
    who: As, second: With, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Two people who did not run the batch explain it; blanks are put right in the books. 签结。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import counts, incidents

        row = incidents.get(tx, incident)
        blanks = row.kind == incidents.DIFFERENCE and row.subject.endswith(f" {counts.BLANKS}")
        put_right = counts.explain_blanks if blanks else incidents.sign
        put_right(tx, clock, incident, decision, person(who), person(second))
        return {"incident": incident, "kind": row.kind, "subject": row.subject}

    write(
        data, "incident.sign", {"incident": incident, "decision": decision}, act,
        lambda a: [f"incident {a['kind']} about {a['subject']} is signed"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@incident_app.command("resolve")
def resolve(
    work_order: Annotated[str, typer.Argument(help="The uncertain work order, or a stray card.")],
    outcome: Annotated[str, typer.Option("--outcome", help="good, bad or missing.")],
    who: As, second: With,
    chip: Annotated[str, typer.Option("--chip", help="Good: chip serial as read.")] = "",
    card: Annotated[str, typer.Option("--card", help="Good: the QR code as scanned.")] = "",
    box: Annotated[str, typer.Option("--box", help="Bad: where it lies now.")] = "search-box",
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """What became of a card nobody could place: two people searched. 处理去向不明的卡。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality, resolution
        from personalization.plastic import Spoil
        from personalization.states import SpoilCode
        from personalization.tables import PlasticRow

        first, other = person(who), person(second)
        waste = Spoil(SpoilCode.UN1, "search", box)
        if outcome not in ("good", "bad", "missing"):
            raise typer.BadParameter("the outcome is good, bad or missing")
        if tx.get(PlasticRow, work_order) is not None and outcome != "good":
            spoil = waste if outcome == "bad" else None
            resolution.stray_found(tx, clock, work_order, spoil, first, other)
        elif outcome == "good":
            serial = quality.read_qr(card)
            resolution.found_good(tx, clock, work_order, chip, serial, first, other)
        elif outcome == "bad":
            resolution.found_bad(tx, clock, work_order, waste, first, other)
        else:
            resolution.not_found(tx, clock, work_order, first, other)
        return {"work_order": work_order, "outcome": outcome}

    write(
        data, "incident.resolve", {"work_order": work_order, "outcome": outcome}, act,
        lambda a: [f"{work_order}: {a['outcome']}"], as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@incident_app.command("declare-lost")
def declare_lost(
    work_order: Annotated[str, typer.Argument(help="The work order a silent station holds.")],
    who: As, second: With,
    journal_gone: Annotated[
        bool, typer.Option("--journal-gone", help="Its journal cannot be read any more.")
    ] = False,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Two people take a work order from a station that will not report. 宣布失联。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import resolution

        state = resolution.declare_lost(
            tx, clock, work_order, person(who), person(second), journal_gone=journal_gone
        )
        return {"work_order": work_order, "state": state}

    write(
        data, "incident.declare-lost", {"work_order": work_order, "gone": journal_gone}, act,
        lambda a: [f"{work_order} is {a['state']}"], as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
