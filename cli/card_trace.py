"""``citycard card trace`` and ``find``: the life of a card, found by anything (production.md 12)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.card import app
from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, With, person, read, table, write
from cli.output import language

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

Text = Annotated[
    str,
    typer.Argument(help="Card, chip, acceptance number, work order, parcel, batch, or a scan."),
]


def find(text: Text, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Cards that fit what was typed or scanned. 查找卡片。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import trace

        return {"cards": [vars(card) for card in trace.find(tx, text)]}

    read(data, "card.find", look, lambda a: table(a["cards"], "no card fits"), as_json=as_json)


def trace(text: Text, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Every place a card has been and who touched it. 卡片履历。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, object]:
        from personalization import trace as life

        card, moments = life.story(tx, text)
        return {
            "card": vars(card),
            "story": [{**vars(moment), "at": moment.at.isoformat()} for moment in moments],
        }

    def lines(answer: dict[str, object]) -> list[str]:
        story, card = answer["story"], answer["card"]
        assert isinstance(story, list)
        assert isinstance(card, dict)
        head = f"card {card['card_serial'] or card['card']}: {card['place']}"
        return [head, *(f"  {m['at'][:19]}  {m[language()]}  [{m['actor']}]" for m in story)]

    read(data, "card.trace", look, lines, as_json=as_json)


def void(
    card: Annotated[str, typer.Argument(help="The card as scanned.")],
    code: Annotated[str, typer.Option("--code", help="QC1, QC2, QC4, PR5, OP1 ...")],
    who: As, second: With, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Two people void a card that passed inspection and is not packed yet; it is remade. 作废。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality
        from personalization.states import SpoilCode

        if code.upper() not in SpoilCode.__members__:
            raise typer.BadParameter(f"codes are {', '.join(SpoilCode.__members__)}")
        serial = quality.read_qr(card)
        verdict = quality.void_after_pass(
            tx, clock, serial, SpoilCode(code.upper()), person(who), person(second)
        )
        return vars(verdict)

    write(
        data, "card.void", {"card": card, "code": code}, act, lambda a: table([a]),
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


def spoil(
    card: Annotated[str, typer.Argument(help="The card as scanned.")],
    code: Annotated[str, typer.Option("--code", help="OP1, QC4, PR5 ...")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """A card that is not inspected yet is waste, with a reason; it is remade. 废卡登记。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import quality
        from personalization.states import SpoilCode

        if code.upper() not in SpoilCode.__members__:
            raise typer.BadParameter(f"codes are {', '.join(SpoilCode.__members__)}")
        serial = quality.read_qr(card)
        return vars(quality.spoil(tx, clock, serial, SpoilCode(code.upper()), person(who)))

    write(
        data, "card.spoil", {"card": card, "code": code}, act, lambda a: table([a]),
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip


for _verb in (find, trace, spoil, void):
    app.command()(_verb)
