"""A card through the driver, and the rules it never breaks (printer.md 3, 6)."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from core.clock import FixedClock
from core.errors import Rejected, Unavailable
from core.faults import catalogue, explain
from printer.commands import EvolisPrinter
from printer.port import (
    Destination,
    Layers,
    Panel,
    Position,
    PrinterFault,
    Side,
    Situation,
)
from printer.timing import CLASSIC, INSTANT
from tests.printer_bench import LAUNCH, bench, picture

YMCKO = tuple(Panel)


@pytest.mark.parametrize("tcp", [False, True], ids=["pseudo-terminal", "tcp"])
def test_one_card_from_blank_to_hopper(tcp: bool) -> None:
    with bench(tcp=tcp) as b:
        state = b.printer.feed()
        assert (state.position, state.cards, b.slot.present()) == (Position.CONTACT, 1, True)
        face = picture()
        b.printer.load(face, Side.FRONT)
        printed: list[Panel] = []
        b.printer.print(face.panels(), printed.append)
        assert printed == list(YMCKO)
        assert not b.slot.present()
        b.printer.eject(Destination.HOPPER)
        state = b.printer.state()
        assert (state.position, state.cards, state.panels) == (Position.NONE, 1, 5)
        assert state.ribbon_left == 199
        (card,) = b.simulator.empty_hopper()
        assert card.card_id == "B0001"


def test_the_order_of_commands_is_the_default_cycle() -> None:
    """Clear, feed, download, to the head, one acknowledged panel after the other, out (printer.md 3.2)."""
    with bench() as b:
        b.make()
        sent = [line[2:].split(";")[0:2] for line in b.wire() if line.startswith("> ")]
        names = [";".join(part for part in item if "[" not in part) for item in sent]
        steps = [name for name in names if not name.startswith("R")]
    assert steps == [
        "Pem;2", "Pem;4", "Pr;ymcko", "Pmi;F", "Wcb;a", "Sis", "Sr", "Dbc;y", "Dbc;m", "Dbc;c", "Dbc;k",
        "Wcb;o", "Si", "Sp;y", "Sp;m", "Sp;c", "Sp;k", "Sp;o", "Se",
    ]  # fmt: skip


def test_attach_says_who_the_machine_is() -> None:
    with bench(serial="CCS300-0042", attach=False) as b:
        identity = b.printer.identify()
        assert (identity.model, identity.serial, identity.firmware) == (
            "CityCard Sim 300",
            "CCS300-0042",
            "1.0",
        )


def test_attach_takes_error_management_over() -> None:
    """In mode 0 the firmware prints a person on a second blank by itself (printer.md 6.1)."""
    with bench(error_mode="0") as b:
        assert "< 2;2 ACK" in b.wire()
        b.simulator.inject("F13 during(c, 10)")
        b.fed_and_loaded()
        with pytest.raises(PrinterFault):
            b.printer.print(YMCKO)
        assert b.printer.state().cards == 1


def test_a_machine_left_in_mode_0_does_what_we_fear() -> None:
    """The simulator is that clever on purpose: without the host's mode the jam costs a second blank."""
    with bench(error_mode="0") as b:
        b.printer._session.configure("Pem", "0")
        b.fed_and_loaded()
        b.simulator.inject("F4 during(c, 10)")
        with pytest.raises(PrinterFault) as fault:
            b.printer.print(YMCKO)
        assert fault.value.situation is Situation.UNCERTAIN
        assert b.printer.state().cards == 2
        assert len(b.simulator.machine.reject_box) == 1


def test_another_machine_on_the_port_is_refused() -> None:
    with (
        bench(serial="CCS300-0009", attach=False, driver={"paired_serial": "CCS300-0001"}) as b,
        pytest.raises(PrinterFault) as fault,
    ):
        b.printer.identify()
    assert fault.value.code == "P-U06"


def test_a_second_host_is_refused() -> None:
    """Exclusive open: interleaved bytes of two hosts would print one person's face on another's card (F26)."""
    with bench() as b:
        second = EvolisPrinter(b.simulator.url, FixedClock(LAUNCH), timing=INSTANT)
        with pytest.raises(Unavailable) as refused:
            second.identify()
        assert refused.value.code == "P-L06"
        b.make()


def test_nobody_there() -> None:
    printer = EvolisPrinter("/dev/no-such-printer", FixedClock(LAUNCH), timing=INSTANT)
    with pytest.raises(PrinterFault) as fault:
        printer.identify()
    assert (fault.value.code, fault.value.situation) == ("P-L05", Situation.OFFLINE)
    with pytest.raises(PrinterFault):
        printer.state()


def test_feeding_twice_is_refused_and_costs_nothing() -> None:
    with bench() as b:
        b.printer.feed()
        with pytest.raises(Rejected) as refused:
            b.printer.feed()
        assert refused.value.code == "P-X02"
        assert b.printer.state().cards == 1


def test_reseating_moves_the_same_card() -> None:
    with bench() as b:
        b.simulator.inject("F5 on(Sis)")
        b.printer.feed()
        assert not b.slot.present()
        state = b.printer.feed(reseat=True)
        assert (state.cards, b.slot.present()) == (1, True)


def test_nothing_to_print_on_or_to_eject() -> None:
    with bench() as b:
        for act in (
            lambda: b.printer.print(YMCKO),
            lambda: b.printer.eject(Destination.HOPPER),
        ):
            with pytest.raises(Rejected) as refused:
                act()
            assert refused.value.code == "P-X03"


def test_both_faces_with_a_ribbon_that_has_a_second_black() -> None:
    with bench(ribbon="ymckok", driver={"ribbon": "ymckok"}) as b:
        back = Layers.separate(
            np.full((648, 1016, 3), 255, np.uint8), picture(3).k, np.zeros((648, 1016), np.uint8)
        )
        face = b.fed_and_loaded()
        b.printer.print(face.panels())
        b.printer.load(back, Side.BACK)
        b.printer.print(back.panels())
        b.printer.eject(Destination.HOPPER)
        (card,) = b.simulator.empty_hopper()
        assert card.faces[Side.FRONT].inked() == YMCKO
        assert card.faces[Side.BACK].inked() == (Panel.BLACK,)
        assert b.printer.state().ribbon_left == 199


def test_nothing_of_the_last_person_stays_in_memory() -> None:
    """A face without colour clears the dye panels of the one before."""
    with bench() as b:
        b.make()
        plain = Layers.separate(
            np.full((648, 1016, 3), 255, np.uint8), picture(3).k, np.zeros((648, 1016), np.uint8)
        )
        b.printer.feed()
        b.printer.load(plain, Side.FRONT)
        b.printer.print(YMCKO)
        b.printer.eject(Destination.HOPPER)
        assert b.simulator.empty_hopper()[1].faces[Side.FRONT].inked() == (Panel.BLACK,)


def test_older_firmware_without_status_words() -> None:
    """`Rst` is ours; without it cover, feeder and ribbon are asked one by one."""
    with bench(has_words=False) as b:
        b.make()
        b.simulator.open_cover()
        assert b.printer.state().warnings == ("P-C01",)
        b.simulator.close_cover()
        b.simulator.take_ribbon_out()
        assert b.printer.state().warnings == ("P-R01", "P-R04")


def test_later_firmware_that_answers_in_plain_texts() -> None:
    with bench(plain=True, driver={"plain": True}) as b:
        b.make()
        b.simulator.inject("F7 during(m, 300)")
        face = b.fed_and_loaded()
        with pytest.raises(PrinterFault) as fault:
            b.printer.print(face.panels())
        assert fault.value.code == "P-R02"


def test_full_bleed_colour_on_a_slow_line_is_refused() -> None:
    """Source: printer.md 2.4, consequence 4."""
    noise = np.random.default_rng(1).integers(0, 255, (648, 1016, 3), np.uint8)
    none = np.zeros((648, 1016), np.uint8)
    full = Layers.separate(noise, none, none)
    with bench() as b:
        b.printer.feed()
        with pytest.raises(Rejected) as refused:
            b.printer.load(full, Side.FRONT)
        assert refused.value.code == "P-W01"
        assert refused.value.facts["seconds"] == round(3 * 411_480 * 10 / 115_200)


def test_line_seconds_follow_the_formula() -> None:
    """10 bits per byte at 115,200 baud. Source: printer.md 2.4."""
    with bench() as b:
        encoded = b.printer.encode(picture())
        total = sum(len(panel.data) for panel in encoded.values())
        assert b.printer.line_seconds(encoded) == pytest.approx(total / 11_520)


def test_the_transcript_holds_no_picture() -> None:
    with bench() as b:
        b.make()
        assert max(len(line) for line in b.wire()) < 120


def test_power_loss_between_two_cards() -> None:
    with bench() as b:
        b.make()
        b.simulator.power_off()
        with pytest.raises(PrinterFault) as fault:
            b.printer.state()
        assert fault.value.situation is Situation.OFFLINE
        b.simulator.power_on()
        b.printer.identify()
        state = b.printer.state()
        assert (state.just_reset, state.cards, state.panels) == (True, 1, 5)
        b.make()


def test_after_a_power_cut_pictures_must_be_loaded_again() -> None:
    with bench() as b:
        face = b.fed_and_loaded()
        b.simulator.power_off()
        b.simulator.power_on()
        b.printer.identify()
        with pytest.raises(Rejected) as refused:
            b.printer.print(face.panels())
        assert refused.value.code == "P-X05"
        b.printer.load(face, Side.FRONT)
        b.printer.print(face.panels())
        b.printer.eject(Destination.HOPPER)


def test_host_crash_with_a_card_at_the_contacts() -> None:
    """A new host attaches, moves nothing, and finds the card where it is (F15)."""
    with bench() as b:
        b.printer.feed()
        b.printer.close()
        heir = EvolisPrinter(b.simulator.url, FixedClock(LAUNCH), timing=INSTANT)
        heir.identify()
        state = heir.state()
        assert (state.position, state.cards, state.panels) == (Position.CONTACT, 1, 0)
        heir.eject(Destination.REJECT)
        heir.close()


def test_every_code_the_driver_raises_tells_a_person_what_to_do() -> None:
    """And the catalogue holds no code that nothing raises."""
    package = Path(__file__).parents[3] / "printer"
    text = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    raised = set(re.findall(r'"(P-[A-Z]\d\d)"', text))
    listed = {code for code in catalogue() if code.startswith("P-")}
    assert raised == listed


def test_a_fault_reads_as_a_sentence_in_both_languages() -> None:
    fault = PrinterFault("P-M03", Situation.JAMMED)
    assert explain(fault, "zh")[0].startswith("卡片卡在打印位")
    assert "Open the cover" in explain(fault, "en")[1]


def test_timing_profiles_are_those_published() -> None:
    """Bare YMCKO cycle 22.9 s, 157 cards an hour. Source: printer.md 2.7."""
    cycle = (
        CLASSIC.to_contact
        + CLASSIC.to_print
        + CLASSIC.ribbon_sync
        + sum(CLASSIC.panel(panel.value) for panel in Panel)
        + CLASSIC.eject
    )
    assert cycle == pytest.approx(22.9)
    assert int(3600 / cycle) == 157


def test_a_station_can_name_its_port_by_a_stable_path() -> None:
    """The path outlives a power cut although the terminal behind it is another."""
    with bench() as b:
        before = os.readlink(b.simulator.url)
        b.simulator.power_off()
        assert not os.path.lexists(b.simulator.url)
        b.simulator.power_on()
        b.printer.identify()
        assert os.readlink(b.simulator.url).startswith(os.path.dirname(before))


def test_counters_live_on_between_runs(tmp_path: Path) -> None:
    kept = tmp_path / "counters.json"
    with bench(state_file=kept) as b:
        b.make()
    assert json.loads(kept.read_text()) == {"cards": 1, "cleanings": 0, "panels": 5}
    with bench(state_file=kept) as b:
        assert b.printer.state().cards == 1
