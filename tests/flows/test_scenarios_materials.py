"""T20: the material balance with one missing card stops the batch until two people explained it."""

import pytest

from core.errors import Rejected
from personalization import balance, batches, counts, stock
from tests.floor_bench import KEEPER, OPERATOR, OTHER_KEEPER, SUPERVISOR, copied_centre


def test_t20_one_missing_card_stops_the_batch() -> None:
    town = copied_centre(ordered=3)
    town.attach("S1")
    number = town.release()
    tray = town.issue(number, "S1", 10)
    made = town.run_all()
    with town.db.write() as tx:
        batches.finish(tx, town.clock, number, OPERATOR)
        counts.count(tx, town.clock, number, counts.BLANKS, 10 - len(made), KEEPER)
        counts.count(tx, town.clock, number, counts.SPOILED, 0, KEEPER)
        good = len(made) - 1  # one finished card is not there
        first = counts.count(tx, town.clock, number, counts.GOOD, good, KEEPER)
        second = counts.count(tx, town.clock, number, counts.GOOD, good, OTHER_KEEPER)
        assert (first.verdict, second.verdict) == (counts.AGAIN, counts.INCIDENT)
        assert second.incident
        stock.give_back(tx, town.clock, tray, 10 - len(made), KEEPER, OTHER_KEEPER)
        with pytest.raises(Rejected, match="W-INCIDENTS"):
            batches.close(tx, town.clock, number, SUPERVISOR)
        assert balance.lot_balance(tx).difference == 0  # every plastic is still somebody's
