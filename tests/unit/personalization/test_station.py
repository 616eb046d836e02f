"""A station makes cards: the good way, and every fault that has a way out (printer.md 3.3, 4.2)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import Unavailable
from personalization import artwork
from personalization.chip import CardKey
from personalization.station_journal import StationJournal, Step
from personalization.station_outcome import End
from personalization.station_states import State
from personalization.tables import PlasticRow, SpoilRow
from printer.port import Position
from tests.station_bench import ClearKeys, bound
from tests.station_floor import Bay, floor, nobody


def places(bay: Bay) -> list[str]:
    with bay.centre.db.read() as tx:
        return list(tx.scalars(select(PlasticRow.place).order_by(PlasticRow.fed_at, PlasticRow.id)))


def spoils(bay: Bay) -> list[tuple[str, str]]:
    with bay.centre.db.read() as tx:
        return [(row.code, row.step) for row in tx.scalars(select(SpoilRow).order_by(SpoilRow.at))]


def test_two_cards_from_claim_to_hopper(tmp_path: Path) -> None:
    artwork.symbol.cache_clear()
    with floor(tmp_path) as (bay,):
        bay.start()
        outcomes = bay.turns(nobody)
        assert (
            artwork.symbol.cache_info().hits == 1
        )  # the second's was made while the first printed
        assert [o.end for o in outcomes] == [End.MADE, End.MADE, End.IDLE]
        assert places(bay) == ["EJECTED", "EJECTED"]
        hopper = bay.simulator.machine.hopper
        assert [card.chip_serial for card in hopper] == [o.chip_serial for o in outcomes[:2]]
        for card in hopper:
            assert (tmp_path / "cards" / card.card_id / "front.png").is_file()
        assert bay.station is not None
        assert bay.station.state is State.READY


def test_the_log_names_every_key_by_its_check_value(tmp_path: Path) -> None:
    with floor(tmp_path, people=1) as (bay,):
        bay.start()
        assert bay.turns(nobody)[0].end is End.MADE
        assert bay.journal is not None
        (line,) = bay.journal.facts(Step.CHIP, "keys")
        serial = bay.journal.facts(Step.BIND, "card")[-1]
    found = dict(item.split("=") for item in line.split())
    order = replace(bound().chip, card_serial=serial)
    wanted = {
        f"{directory.fid:04X}/{spec.type:02X}/{spec.id:02X}": ClearKeys().check_value(
            order.key(spec)
        )
        for directory in order.profile
        for spec in directory.keys
        if spec.hsm_usage is not None
    }
    assert found == wanted
    assert len(found) == 13


def test_an_hsm_that_is_away_spoils_the_card_and_says_so(tmp_path: Path) -> None:
    class Away(ClearKeys):
        def check_value(self, key: CardKey) -> str:
            raise Unavailable("HSM-GONE", "no answer")

    with floor(tmp_path, people=1) as (bay,):
        bay.start(keys=lambda _inner: Away())
        assert bay.station is not None
        outcome = bay.station.run_once()
        assert (outcome.end, outcome.code) == (End.SPOILED, "HSM-GONE")
        assert spoils(bay) == [("CH3", "chip")]


def test_a_ribbon_that_ends_spoils_one_card_which_is_remade(tmp_path: Path) -> None:
    def operator(bay: Bay, outcome: object) -> None:
        bay.simulator.replace_ribbon("ymckok")

    with floor(tmp_path) as (bay,):
        bay.start()
        bay.simulator.inject("F7 during(m, 300)")
        outcomes = bay.turns(operator)
        assert [o.end for o in outcomes] == [
            End.SPOILED, End.NEEDS_PERSON, End.MADE, End.MADE, End.IDLE,
        ]  # fmt: skip
        assert outcomes[1].code == "P-R01"
        assert "ribbon" in outcomes[1].sentence
        assert spoils(bay) == [("PR1", "print")]
        assert sorted(places(bay)) == ["EJECTED", "EJECTED", "IN_REJECT"]
        assert len(bay.simulator.machine.reject_box) == 1


def test_a_blank_that_sticks_on_its_way_back_is_moved_once(tmp_path: Path) -> None:
    class Dies(Exception):
        pass

    class Journal:
        """Dies before it can note that the blank came."""

        def __init__(self, inner: StationJournal) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def result(self, step: Step, *key: Any, **facts: Any) -> None:
            if step is Step.FEED:
                raise Dies
            self._inner.result(step, *key, **facts)

    with floor(tmp_path, people=1) as (bay,):
        station = bay.start(journal=Journal)
        with pytest.raises(Dies):
            station.run_once()
        assert bay.printer is not None
        bay.printer._move("Si", Position.PRINT)  # the blank has left the contacts meanwhile
        bay.die()
        bay.simulator.inject("F4 on(Sis)")
        station = bay.start()
        outcome = station.run_once()
        assert (outcome.end, outcome.code, station.state) == (
            End.NEEDS_PERSON, "P-M03", State.JAMMED,
        )  # fmt: skip
        assert station.run_once().end is End.NEEDS_PERSON
        (given_up,) = [line for line in bay.journal.open_card() if line.step is Step.SPOIL]
        assert given_up.facts["reason"] == "PR4"
