"""``citycard pack``: cards into sealed bags for the points (production.md 9, 12)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import (
    DEFAULT_DATA,
    As,
    Data,
    Dry,
    Id,
    Json,
    With,
    opened,
    person,
    read,
    table,
    write,
)
from cli.output import result

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="Parcels: open, add, seal, label. 封包。", no_args_is_help=True)
Parcel = Annotated[str, typer.Argument(help="Parcel number, as K20071126-001.")]


@app.command("open")
def open_parcel(
    point: Annotated[str, typer.Argument(help="Acceptance point, 3 digits.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """The bag of a point for today. 启用封包。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import dispatch

        return {"parcel": dispatch.open_parcel(tx, clock, point, person(who)), "point": point}

    write(
        data, "pack.open", {"point": point}, act, lambda a: [str(a["parcel"])],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("add")
def add(
    parcel: Parcel,
    cards: Annotated[list[str], typer.Option("--card", help="Each card as scanned.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Scan inspected cards into the bag. 装包扫描。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import dispatch, quality

        placed = [
            {
                "card_serial": serial,
                "position": dispatch.pack(tx, clock, parcel, serial, person(who)),
            }
            for serial in (quality.read_qr(card) for card in cards)
        ]
        return {"parcel": parcel, "cards": placed}

    write(
        data, "pack.add", {"parcel": parcel, "cards": cards}, act, lambda a: table(a["cards"]),
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("seal")
def seal(
    parcel: Parcel,
    seals: Annotated[list[str], typer.Option("--seal", help="Both seal numbers.")],
    who: As, second: With, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Close the bag with two numbered seals. 封签。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import dispatch

        digest = dispatch.seal(tx, clock, parcel, tuple(seals), person(who), person(second))
        return {"parcel": parcel, "manifest_sha256": digest}

    write(
        data, "pack.seal", {"parcel": parcel, "seals": seals}, act,
        lambda a: [f"{parcel} is sealed, manifest {a['manifest_sha256']}"],
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


@app.command("manifest")
def manifest(
    parcel: Parcel,
    pdf: Annotated[Path | None, typer.Option("--pdf", help="Write the paper here.")] = None,
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """What lies in the bag, in scan order. 清单。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import dispatch

        dispatch.get(tx, parcel)
        return {"parcel": parcel, "lines": [vars(line) for line in dispatch.manifest(tx, parcel)]}

    read(data, "pack.manifest", look, lambda a: table(a["lines"], "empty"), as_json=as_json)
    if pdf is not None:
        from personalization.documents import papers

        with opened(data) as services, services.db.read() as tx:
            pdf.write_bytes(papers.manifest(tx, parcel))


@app.command("label")
def label(
    parcel: Parcel,
    pdf: Annotated[Path, typer.Option("--pdf", help="Write the label here.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """The label of a sealed bag, 100 x 70 mm; it does not say how many cards. 包签。"""
    from personalization.documents import papers

    with opened(data) as services, services.db.read() as tx:
        pdf.write_bytes(papers.parcel_label(tx, parcel))
    result(str(pdf))
