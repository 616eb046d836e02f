"""What the tests of the card centre's office share: a batch made, counted and inspected."""

from personalization import (
    batches,
    counts,
    dispatch,
    quality,
)
from personalization.work import Made
from registry.points.places import by_code
from registry.settlers import clerk_at
from tests.floor_bench import (
    KEEPER,
    OPERATOR,
    QC,
    Centre,
)

CLERK = clerk_at(by_code("001"))
GOOD_LOOK = dict.fromkeys(quality.Check, True)


def run_batch(town: Centre, blanks: int = 10) -> tuple[str, str, list[Made]]:
    """A batch made at S1: its number, its tray, its cards."""
    number = town.release()
    tray = town.issue(number, "S1", blanks)
    return number, tray, town.run_all()


def count_all(town: Centre, batch: str) -> None:
    """Three blind counts that agree, and the finish before them."""
    with town.db.write() as tx:
        batches.finish(tx, town.clock, batch, OPERATOR)
        for what in counts.COUNTED_THINGS:
            answer = counts.count(
                tx, town.clock, batch, what, counts.expected_now(tx, batch, what), KEEPER
            )
            assert answer.verdict == counts.AGREES


def inspect(town: Centre, made: Made, every: bool = True) -> quality.Verdict:
    with town.db.write() as tx:
        seen = quality.scan(
            tx, town.clock, f"R1{made.card_serial}", made.chip_serial, QC, every_card=every
        )
        if seen.verdict != quality.LOOK:
            return seen
        return quality.look(tx, town.clock, made.card_serial, GOOD_LOOK, QC)


def parcel_sent(town: Centre) -> tuple[str, list[Made]]:
    """A bag with a batch of inspected cards on its way to point 001, under the seals S-1 and S-2."""
    _, _, made = run_batch(town)
    for card in made:
        inspect(town, card)
    with town.db.write() as tx:
        number = dispatch.open_parcel(tx, town.clock, "001", QC)
        for card in made:
            dispatch.pack(tx, town.clock, number, card.card_serial, QC)
        dispatch.seal(tx, town.clock, number, ("S-1", "S-2"), QC, KEEPER)
        dispatch.send(tx, town.clock, number, "courier Ma", KEEPER)
    return number, made
