"""Every fault of printer.md 4.2, by script, against the driver (the document shows the same runs)."""

from collections.abc import Iterator

import pytest

from core.errors import CityError, Rejected
from printer.port import Destination, Panel, PrinterFault, Side, Situation
from printer.sim.faults import TITLES, parse
from printer.timing import CLASSIC
from tests.printer_bench import bench, blanks, picture
from tests.printer_scenarios import DOCUMENT, document, play, scenarios


def ids() -> Iterator[str]:
    for scenario in scenarios():
        yield f"F{scenario.number}{' ' + scenario.name if scenario.name else ''}"


@pytest.mark.parametrize("place", range(len(scenarios())), ids=list(ids()))
def test_fault(place: int) -> None:
    outcome, _wire, _sentence = play(place)
    assert outcome == scenarios()[place].end


def test_all_28_faults_are_played() -> None:
    assert {scenario.number for scenario in scenarios()} == set(TITLES) == set(range(1, 29))


@pytest.mark.slow
def test_the_document_shows_these_runs() -> None:
    assert DOCUMENT.read_text("utf-8") == document()


def test_ribbon_end_spoils_one_card_and_costs_no_second() -> None:
    """The whole operator's path: fault, reject, new ribbon, remake on the next blank."""
    with bench() as b:
        face = b.fed_and_loaded()
        b.simulator.inject("F7 during(m, 300)")
        done: list[Panel] = []
        with pytest.raises(PrinterFault) as fault:
            b.printer.print(face.panels(), done.append)
        assert (fault.value.situation, done) == (Situation.SPOILED, [Panel.YELLOW])
        b.printer.eject(Destination.REJECT)
        assert b.printer.state().warnings == ("P-R01",)
        b.simulator.replace_ribbon()
        b.make()
        assert [card.card_id for card in b.simulator.machine.reject_box] == ["B0001"]
        assert [card.card_id for card in b.simulator.machine.hopper] == ["B0002"]


def test_a_full_hopper_is_the_only_eject_that_is_repeated() -> None:
    with bench() as b:
        face = b.fed_and_loaded()
        b.printer.print(face.panels())
        b.simulator.inject("F11")
        with pytest.raises(PrinterFault) as fault:
            b.printer.eject(Destination.HOPPER)
        assert fault.value.situation is Situation.FULL
        b.simulator.empty_hopper()
        b.printer.eject(Destination.HOPPER)
        assert len(b.simulator.machine.hopper) == 1


def test_power_lost_in_a_panel_leaves_a_torn_card_and_a_witness() -> None:
    """The panel counter moves with the first line, so an equal counter proves that no ink is on the card."""
    with bench() as b:
        face = b.fed_and_loaded()
        b.simulator.inject("F14 during(y, 400)")
        with pytest.raises(PrinterFault):
            b.printer.print(face.panels())
        b.simulator.power_on()
        b.printer.identify()
        state = b.printer.state()
        assert (state.just_reset, state.panels) == (True, 1)
        b.printer.eject(Destination.REJECT)
        yellow = b.simulator.machine.reject_box[0].faces[Side.FRONT].planes[Panel.YELLOW]
        assert yellow[:400].any()
        assert not yellow[400:].any()


def test_a_lost_acknowledgement_never_prints_a_panel_twice() -> None:
    with bench() as b:
        b.simulator.inject("F18 on(Sis)\nF18 on(Sp)\nF18 on(Sp, 4)\nF18 on(Se)")
        b.make()
        card = b.simulator.machine.hopper[0]
        assert card.panels_used == 5
        assert b.printer.state().panels == 5


def test_a_command_lost_on_the_line_is_not_carried_out_late() -> None:
    """Noise in a movement: the card is given up rather than moved on a guess (6.4, 6.5)."""
    with bench() as b:
        face = b.fed_and_loaded()
        b.printer.print(face.panels()[:1])
        b.printer._session.wire.exchange("Sp", "x")  # what noise makes of Sp;m
        assert b.printer.state().panels == 1
        assert b.printer.state().last_answer == "ERR PARAM"


@pytest.mark.slow
def test_corrupted_pictures_pass_the_driver_and_are_seen_by_eye() -> None:
    """A download has no checksum (2.5): a flipped bit in a literal is printed; quality control finds it (8)."""
    silent = 0
    for seed in range(1, 9):
        with bench(seed=seed) as b:
            b.printer.feed()
            face = picture()
            sizes = b.printer.encode(face)
            before_black = sum(len(sizes[panel].data) for panel in list(Panel)[:3])
            b.simulator.inject(f"F17 after({before_black + len(sizes[Panel.BLACK].data) // 2})")
            b.printer.load(face, Side.FRONT)
            b.printer.print(face.panels())
            b.printer.eject(Destination.HOPPER)
            resent = sum(line.startswith("> Db") for line in b.wire()) - 4
            printed = b.simulator.machine.hopper[0].faces[Side.FRONT].planes[Panel.BLACK]
            wrong = int((printed != _clean_black()).sum())
            assert bool(resent) != bool(wrong)
            silent += bool(wrong)
    assert silent > 0


def _clean_black() -> object:
    with bench() as b:
        b.make()
        return b.simulator.machine.hopper[0].faces[Side.FRONT].planes[Panel.BLACK]


@pytest.mark.slow
def test_noise_all_day_long_never_makes_a_wrong_card() -> None:
    """One reply in twenty-five is damaged. Cards end good or rejected with a reason; none is lost or doubled."""
    with bench(cards=6, seed=3) as b:
        b.simulator.inject("F16 with_probability(0.04, 11)")
        reasons = []
        for _ in range(6):
            try:
                b.make()
            except CityError as fault:
                reasons.append(fault.code)
                _clear(b)
        machine = b.simulator.machine
        assert len(machine.hopper) + len(machine.reject_box) + len(machine.feeder) == 6
        assert all(card.panels_used == 5 for card in machine.hopper)
        assert len(machine.hopper) + len(reasons) >= 6 - len(machine.feeder)


def _clear(b: object) -> None:
    """What a station does after a fault: attach until it answers, and reject what is inside."""
    for _ in range(20):
        try:
            b.printer.identify()
            b.printer.eject(Destination.REJECT)
        except Rejected:
            return
        except CityError:
            continue
        return


def test_a_slow_machine_is_waited_for() -> None:
    """Five times slower than its profile, at a fiftieth of the real time: late acknowledgements, no false alarm."""
    pace = CLASSIC.scaled(0.01)
    with bench(timing=pace) as b:
        b.simulator.inject("F23")
        b.make()
        assert b.simulator.machine.hopper[0].panels_used == 5


@pytest.mark.parametrize(
    "line",
    ["F0", "F29", "F7 during(m)", "F7 sometimes(3)", "F14 on()", "G1", "F16 with_probability(x)"],
)
def test_a_script_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(line)
    assert refused.value.code == "P-X06"


def test_a_fault_waits_for_its_moment() -> None:
    with bench(cards=3) as b:
        b.simulator.inject("F4 on(Sis, 3)")
        b.make()
        b.make()
        with pytest.raises(PrinterFault):
            b.printer.feed()
        card = b.simulator.remove_card()
        assert (card.card_id, card.blank) == ("B0003", True)
        b.simulator.load_cards(blanks(1, first=4))
        b.make()
