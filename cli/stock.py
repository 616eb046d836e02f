"""``citycard stock``: blanks, lots, the vault, counts (production.md 12)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, With, person, read, table, write
from cli.output import EXIT_NO

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="Blanks: lots, vault, trays, counts. 空白卡库存。", no_args_is_help=True)
Lot = Annotated[str, typer.Option("--lot", help="Lot, 5 digits.")]
Quantity = Annotated[int, typer.Option("--quantity", min=1, help="How many cards.")]


@app.command("announce")
def announce(
    lot: Lot, quantity: Quantity, who: As, supplier: Annotated[str, typer.Option("--supplier")],
    transport_key: Annotated[str, typer.Option("--transport-key", help="Lot master in the HSM.")],
    stock: Annotated[str, typer.Option("--design")] = "residence-1",
    chip_type: Annotated[str, typer.Option("--chip-type")] = "PERMIT-16K",
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """A delivery of blanks is on its way. 到货预告。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import stock as blanks

        row = blanks.announce_lot(
            tx, clock, lot, supplier=supplier, stock=stock, chip_type=chip_type,
            transport_key=transport_key, quantity=quantity, actor=person(who),
        )  # fmt: skip
        return {"lot": row.lot, "state": row.state, "quantity": row.announced}

    values = {"lot": lot, "quantity": quantity, "supplier": supplier}
    write(
        data, "stock.announce", values, act, lambda a: [f"lot {a['lot']} {a['state']}"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("receive")
def receive(
    lot: Lot,
    quantity: Annotated[int, typer.Option("--counted", min=0, help="Counted by both of you.")],
    who: As, second: With, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Two people count a delivery into the vault. Exit 1 when the count differs. 双人验收入库。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import stock

        incident = stock.receive_lot(tx, clock, lot, quantity, person(who), person(second))
        return {"lot": lot, "counted": quantity, "incident": incident}

    def lines(answer: dict[str, object]) -> list[str]:
        found = [f"{quantity} blanks of lot {lot} are in the vault"]
        if answer["incident"]:
            found.append(f"the count differs from the papers: incident {answer['incident']}")
        return found

    answer = write(
        data, "stock.receive", {"lot": lot, "counted": quantity}, act, lines,
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return EXIT_NO if answer["incident"] else 0


@app.command("issue")
def issue(
    batch: Annotated[str, typer.Option("--batch")],
    station: Annotated[str, typer.Option("--station")],
    lot: Lot, quantity: Quantity, who: As, second: With, data: Data = DEFAULT_DATA,
    command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Blanks from the vault to a station, in a tray for one batch. 领用出库。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import stock

        tray = stock.issue(tx, clock, batch, station, lot, quantity, person(who), person(second))
        return {"tray": tray, "batch": batch, "station": station, "quantity": quantity}

    values = {"batch": batch, "station": station, "lot": lot, "quantity": quantity}
    write(
        data, "stock.issue", values, act,
        lambda a: [f"tray {a['tray']}: {quantity} blanks for {batch} at {station}"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("return")
def give_back(
    quantity: Quantity, who: As, second: With,
    tray: Annotated[str, typer.Option("--tray", help="From one tray.")] = "",
    batch: Annotated[str, typer.Option("--batch", help="What is left of a whole batch.")] = "",
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Blanks from a tray, or all that are left of a batch, back into the vault. 退库。"""
    if bool(tray) == bool(batch):
        raise typer.BadParameter("name a tray or a batch")

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import stock

        if tray:
            stock.give_back(tx, clock, tray, quantity, person(who), person(second))
        else:
            stock.give_back_rest(tx, clock, batch, quantity, person(who), person(second))
        return {"tray": tray or None, "batch": batch or None, "quantity": quantity}

    write(
        data, "stock.return", {"tray": tray, "batch": batch, "quantity": quantity}, act,
        lambda _: [f"{quantity} blanks are back in the vault"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("empty-box")
def empty_box(
    box: Annotated[str, typer.Argument(help="Reject box, as on its label.")],
    cards: Annotated[list[str], typer.Option("--card", help="Each card as scanned.")],
    who: As, second: With, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Two people scan every card out of a reject box. Exit 1 on a difference. 清空废卡盒。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import destruction

        out = destruction.empty_box(tx, clock, box, cards, person(who), person(second))
        return {
            "box": box, "counted": out.counted, "lacking": list(out.lacking),
            "unknown": list(out.unknown),
        }  # fmt: skip

    answer = write(
        data, "stock.empty-box", {"box": box, "cards": cards}, act,
        lambda a: [f"{a['counted']} counted, {len(a['lacking'])} lacking, {len(a['unknown'])} unknown"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return EXIT_NO if answer["lacking"] or answer["unknown"] else 0


@app.command("destroy")
def destroy(
    cards: Annotated[list[str], typer.Option("--card", help="Each card as scanned.")],
    who: As, second: With,
    method: Annotated[str, typer.Option("--method")] = "punched through chip and photo",
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Two people destroy cards one by one; prints the act's number. 双人销毁。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import destruction

        number = destruction.destroy(tx, clock, cards, method, person(who), person(second))
        return {"act": number, "cards": len(set(cards))}

    write(
        data, "stock.destroy", {"cards": cards, "method": method}, act,
        lambda a: [f"act {a['act']}: {a['cards']} cards"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("lots")
def lots(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Lots with their state and what lies in the vault. 批次与库存。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from sqlalchemy import select

        from personalization import balance
        from personalization.tables import LotRow

        rows = tx.scalars(select(LotRow).order_by(LotRow.lot)).all()
        return {
            "lots": [
                {
                    "lot": row.lot, "state": row.state, "announced": row.announced,
                    "vault": balance.vault(tx, row.lot), "supplier": row.supplier,
                }
                for row in rows
            ]
        }  # fmt: skip

    read(data, "stock.lots", look, lambda a: table(a["lots"], "no lot"), as_json=as_json)
