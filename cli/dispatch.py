"""``citycard dispatch``: bags on their way, at the point, and cards nobody fetched (production.md 9, 12)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, With, person, table, write
from cli.output import EXIT_NO

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="Parcels: send, receive, settle, dispute. 配送。", no_args_is_help=True)
Parcel = Annotated[str, typer.Argument(help="Parcel number, as K20071126-001.")]
Card = Annotated[str, typer.Argument(help="The card as scanned.")]


@app.command("send")
def send(
    parcel: Parcel, courier: Annotated[str, typer.Option("--courier")], who: As,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Hand a sealed bag to the courier. 交运。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import dispatch

        dispatch.send(tx, clock, parcel, courier, person(who))
        return {"parcel": parcel, "courier": courier}

    write(
        data, "dispatch.send", {"parcel": parcel, "courier": courier}, act,
        lambda _: [f"{parcel} is with {courier}"], as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("receive")
def receive(
    parcel: Parcel,
    seals: Annotated[list[str], typer.Option("--seal", help="Read them from the bag.")],
    counted: Annotated[int, typer.Option("--counted", min=0, help="Cards you counted.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """The bag is here: type its seals, count blind. Exit 1 when something differs. 收包。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import receipt

        opened = receipt.receive(tx, clock, parcel, tuple(seals), counted, person(who))
        return {"parcel": parcel, "incidents": opened}

    answer = write(
        data, "dispatch.receive", {"parcel": parcel, "seals": seals, "counted": counted}, act,
        lambda a: [f"{parcel} is received, {len(a['incidents'])} incidents; now scan its cards"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return EXIT_NO if answer["incidents"] else 0


@app.command("unpack")
def unpack(
    parcel: Parcel,
    cards: Annotated[list[str], typer.Option("--card", help="Each card as scanned.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Scan the cards out of the bag and settle it. Exit 1 when it is disputed. 拆包核对。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality, receipt

        for card in cards:
            receipt.unpack(tx, clock, parcel, quality.read_qr(card), person(who))
        settled = receipt.settle(tx, clock, parcel, person(who))
        return {
            "parcel": parcel, "state": settled.state, "lacking": list(settled.lacking),
            "extra": list(settled.extra),
        }  # fmt: skip

    answer = write(
        data, "dispatch.unpack", {"parcel": parcel, "cards": cards}, act,
        lambda a: [f"{parcel} is {a['state']}: {len(a['lacking'])} lacking, {len(a['extra'])} extra"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return 0 if answer["state"] == "RECONCILED" else EXIT_NO


@app.command("dispute")
def dispute(
    parcel: Parcel, decision: Annotated[str, typer.Option("--decision")], who: As, second: With,
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Two people end a dispute; cards still lacking are missing. 处理争议。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import receipt

        lost = receipt.end_dispute(tx, clock, parcel, decision, person(who), person(second))
        return {"parcel": parcel, "missing": list(lost)}

    write(
        data, "dispatch.dispute", {"parcel": parcel, "decision": decision}, act,
        lambda a: [f"{parcel} is settled, {len(a['missing'])} cards are missing"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("return")
def give_back(
    card: Card, who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """After 90 days at the point a card goes back to the centre. 逾期退回。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality, receipt

        serial = quality.read_qr(card)
        receipt.return_card(tx, clock, serial, person(who))
        return {"card_serial": serial, "place": "UNCOLLECTED"}

    write(
        data, "dispatch.return", {"card": card}, act,
        lambda a: [f"{a['card_serial']} goes back to the centre"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("take-back")
def take_back(
    card: Card, who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """A card came back to the centre: dead, to be destroyed. 收回。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality, receipt

        serial = quality.read_qr(card)
        receipt.take_back(tx, clock, serial, person(who))
        return {"card_serial": serial, "place": "RECALLED"}

    write(
        data, "dispatch.take-back", {"card": card}, act,
        lambda a: [f"{a['card_serial']} is recalled; destroy it with its next act"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("defect")
def defect(
    card: Card, code: Annotated[str, typer.Option("--code", help="QC1, QC2, QC3, QC4, PR5 ...")],
    who: As, note: Annotated[str, typer.Option("--note")] = "",
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """A defect found at the point: the card is waste. 受理点发现缺陷。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality, receipt
        from personalization.states import SpoilCode

        if code.upper() not in SpoilCode.__members__:
            raise typer.BadParameter(f"codes are {', '.join(SpoilCode.__members__)}")
        serial = quality.read_qr(card)
        receipt.defect(tx, clock, serial, SpoilCode(code.upper()), person(who), note)
        return {"card_serial": serial, "code": code.upper()}

    write(
        data, "dispatch.defect", {"card": card, "code": code}, act,
        lambda a: table([a]), as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
