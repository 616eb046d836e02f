"""The simulated machine as a product: physical truth, pictures, time, old command streams (printer.md 4)."""

import hashlib
import json
import random
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import serial
from PIL import Image

from cardos.slot import Slot
from core.errors import CityError, Rejected
from printer import raster
from printer.frame import encode
from printer.port import Destination, Panel, PrinterFault, Side, Situation
from printer.raster import printed
from printer.sim.control import PrinterSimulator
from printer.sim.machine import Machine
from printer.sim.render import white_stock
from printer.timing import CLASSIC, INSTANT
from tests.printer_bench import Bench, bench, blanks, picture

PANELS = tuple(Panel)


def test_the_picture_is_what_the_ribbon_left(tmp_path: Path) -> None:
    """The file equals the proof computed from the layers, inside the card's outline and beside the plate."""
    face = picture()
    with bench(out=tmp_path) as b:
        b.make(face)
    seen = np.asarray(Image.open(tmp_path / "B0001" / "front.png"))
    proof = printed(face, white_stock()[Side.FRONT])
    inside = seen[:, :, 3] == 255
    inside[200:380, 100:280] = False  # the chip's contacts are drawn there
    assert inside.mean() > 0.9
    assert (seen[inside][:, :3] == proof[inside]).all()


def test_files_of_a_card_and_its_story(tmp_path: Path) -> None:
    with bench(out=tmp_path) as b:
        b.make()
    files = sorted(path.name for path in (tmp_path / "B0001").iterdir())
    assert files == ["back.png", "card.json", "front-overlay.png", "front.png"]
    story = json.loads((tmp_path / "B0001" / "card.json").read_text("utf-8"))
    assert story["destination"] == "good hopper"
    assert story["chip_serial"] == "0000000000000001"
    assert story["panels"] == {"front": "ymcko", "back": ""}
    assert [what for _when, what in story["events"]] == [
        "taken from the feeder",
        "at the contacts",
        "at the print head",
        *(f"panel {panel.value} printed" for panel in Panel),
        "good hopper",
    ]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for run in ("a", "b"):
        with bench(out=tmp_path / run) as b:
            b.make()
        files = sorted((tmp_path / run / "B0001").iterdir())
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1]


def test_a_torn_card_shows_where_the_ribbon_ended(tmp_path: Path) -> None:
    """Magenta lies on the right part of the card, where the head began, and not on the left."""
    with bench(out=tmp_path) as b:
        b.fed_and_loaded()
        b.simulator.inject("F7 during(k, 508)")
        with pytest.raises(PrinterFault):
            b.printer.print(PANELS)
        b.printer.eject(Destination.REJECT)
    seen = np.asarray(Image.open(tmp_path / "B0001" / "front.png").convert("L"))
    assert (seen[485:495, 520:890] == 0).all()
    assert (seen[485:495, 90:500] == 255).all()


def test_a_card_moved_while_its_chip_has_power_is_an_incident() -> None:
    slot = Slot("station 1")
    with bench(slot=slot, chip_powered=lambda: True) as b:
        b.printer.feed()
        b.printer.eject(Destination.REJECT)
        assert b.simulator.machine.incidents == ["contact damage: B0001 moved while powered"]


def test_the_operator_finds_the_jammed_card() -> None:
    with bench() as b:
        b.simulator.inject("F4 on(Sis)")
        with pytest.raises(PrinterFault) as fault:
            b.printer.feed()
        assert fault.value.situation is Situation.JAMMED
        with pytest.raises(PrinterFault):
            b.printer.eject(Destination.REJECT)
        card = b.simulator.remove_card()
        assert card.card_id == "B0001"
        with pytest.raises(Rejected):
            b.simulator.remove_card()
        b.make()


def test_the_cover_opened_in_the_middle_of_a_panel() -> None:
    """Time passes here, so the operator's hand can come between two lines."""
    with bench(timing=CLASSIC.scaled(0.05)) as b:
        b.fed_and_loaded()
        machine = b.simulator.machine
        failed: list[str] = []

        def work() -> None:
            try:
                b.printer.print(PANELS)
            except PrinterFault as fault:
                failed.append(fault.code)

        worker = Thread(target=work)
        worker.start()
        with machine.changed:
            assert machine.changed.wait_for(lambda: _lines(machine, Panel.MAGENTA) > 100, 10)
        b.simulator.open_cover()
        worker.join(10)
        assert failed == ["P-C02"]
        b.simulator.close_cover()
        b.printer.eject(Destination.REJECT)
        magenta = machine.reject_box[0].faces[Side.FRONT].planes[Panel.MAGENTA]
        assert magenta[120:].any()
        assert not magenta[900:].any()


def _lines(machine: Machine, panel: Panel) -> int:
    """How far the panel under the head has come, by the ink on the card."""
    card = machine.inside
    plane = card.faces[Side.FRONT].planes.get(panel) if card else None
    return 0 if plane is None else int(np.flatnonzero(plane.any(axis=1)).max(initial=0))


def test_virtual_time_is_the_sum_of_movements_and_line() -> None:
    """Within 5 % of the tables of printer.md 2.4 and 2.7 (4.3, test 5)."""
    face = picture()
    with bench() as b:
        sent = sum(len(panel.data) for panel in b.printer.encode(face).values())
        begin = b.simulator.machine.now
        b.make(face)
        spent = b.simulator.machine.now - begin
    movements = (
        CLASSIC.to_contact + CLASSIC.to_print + CLASSIC.ribbon_sync + CLASSIC.eject
        + sum(CLASSIC.panel(panel.value) for panel in Panel)
    )  # fmt: skip
    assert spent == pytest.approx(movements + sent * 10 / 115_200, rel=0.05)


def test_the_layout_of_the_captured_driver_prints_a_card() -> None:
    """A sequence as public drivers send it: download prints what was downloaded before, the end prints the last.

    Settings the guide does not explain are taken; NULs fill up behind the payload (printer.md 2.1, 2.6).
    """
    face = picture()
    black = raster.encode_panel(face, Panel.BLACK)
    yellow = raster.encode_panel(face, Panel.YELLOW, 128)
    stream = b"".join(
        (
            encode("Pr", "ymcko"),
            encode("Pmi", "F", "s"),
            encode("Pc", "k", "=", 10),
            encode("Pdt", "DU"),
            encode("Mr", "s"),
            encode("Ppws", 1281732635),
            encode("Ss"),
            encode("Sr"),
            encode("Dbc", "y", 128, len(yellow.data), payload=yellow.data),
            encode("Dbc", "k", 2, len(black.data), payload=black.data),
            bytes(25),
            encode("Se"),
            bytes(32),
        )
    )
    with PrinterSimulator() as simulator:
        simulator.load_cards(blanks(1))
        with serial.Serial(simulator.url, 115_200, timeout=10, exclusive=True) as line:
            line.write(stream)
            replies = line.read(11)
        assert replies == b"\x06" * 11
        (card,) = simulator.empty_hopper()
    front = card.faces[Side.FRONT]
    assert front.inked() == (Panel.YELLOW, Panel.BLACK)
    assert (raster.turn_back(front.planes[Panel.BLACK]) == face.k).all()


def raw(b: Bench, command: bytes, length: int = 1) -> bytes:
    """One frame and the `length` bytes of its reply, past the driver."""
    link = b.printer._link
    link.write(command)
    answer = b""
    while len(answer) < length and (data := link.read(link.monotonic() + 5)):
        answer += data
    return answer


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"\x1bSc\r", b"\x151"),  # would print the last person again: refused on purpose
        (b"\x1bPsc;1\r", b"\x151"),  # remapping characters
        (b"\x1bXyz\r", b"\x151"),
        (b"\x1bRco;z\r", b"\x151"),
        (b"\x1bSp\r", b"\x152"),
        (b"\x1bSp;q\r", b"\x152"),
        (b"\x1bPr;rainbow\r", b"\x152"),
        (b"\x1bWcb;a;255\r", b"\x152"),
        (b"\x1bDbc;k;2;3;\x53\x00\x00\r", b"\x152"),  # a line of 83 bytes
        (b"\x1bDbc;y;32;2;\xff\x88\r", b"\x152"),  # one line instead of 1016
        (b"\x1bDbc;y;2;1;\xff\r", b"\x152"),  # dye in two levels
        (b"\x1bSe\r", b"\x15T"),  # nothing inside
        (b"\x1bRse;o\r", b"5,00 Volts\x06"),
        (b"\x1bRok\r", b"OK\x06"),
        (b"\x1bScp\r", b"\x15R"),  # the ribbon must be out for cleaning
    ],
)
def test_single_commands(command: bytes, answer: bytes) -> None:
    with bench(cards=0) as b:
        assert raw(b, command, len(answer)) == answer


def test_cleaning_with_the_ribbon_out() -> None:
    with bench() as b:
        b.simulator.inject("F24")
        b.simulator.take_ribbon_out()
        assert raw(b, b"\x1bScp\r") == b"\x06"
        b.simulator.replace_ribbon()
        b.make()
        assert b.simulator.machine.counters.cleanings == 1


def test_a_reset_may_throw_out_the_card_inside() -> None:
    """Why the driver never sends one (printer.md 6.4)."""
    with bench() as b:
        b.printer.feed()
        assert raw(b, b"\x1bSrs\r") == b"\x06"
        assert len(b.simulator.machine.hopper) == 1


def test_a_ribbon_roll_runs_out_by_itself() -> None:
    with bench(ribbon_sets=1) as b:
        b.make()
        assert b.printer.state().warnings == ("P-R01",)
        with pytest.raises(PrinterFault) as fault:
            b.printer.feed()
        assert (fault.value.code, fault.value.situation) == ("P-R01", Situation.BLOCKED)


def test_low_ribbon_is_noticed_in_time() -> None:
    with bench(ribbon_sets=10) as b:
        assert b.printer.state().notices == ("P-R05",)


def test_full_boxes_keep_a_card_from_being_started() -> None:
    with bench() as b:
        b.simulator.inject("F11\nF12")
        assert b.printer.state().warnings == ("P-H03", "P-H04")
        b.simulator.empty_hopper()
        b.simulator.empty_reject_box()
        b.make()


def test_two_machines_side_by_side() -> None:
    with bench(serial="CCS300-0001") as one, bench(serial="CCS300-0002") as two:
        one.make()
        two.printer.feed()
        assert (one.slot.present(), two.slot.present()) == (False, True)
        assert two.printer.identify().serial == "CCS300-0002"


def test_what_fails_inside_the_machine_is_not_swallowed() -> None:
    class BrokenSlot:
        def insert(self, card: object) -> None:
            raise RuntimeError("the reader is on fire")

        def remove(self) -> None:
            """Never reached."""

    simulator = PrinterSimulator(slot=BrokenSlot())
    simulator.load_cards(blanks(1))
    with serial.Serial(simulator.url, 115_200, timeout=5) as line:
        line.write(b"\x1bSis\r")
        with pytest.raises(serial.SerialException):
            line.read(1)
    with pytest.raises(RuntimeError, match="on fire"):
        simulator.close()


SOAK_FAULTS = (
    "F2 on(Sis)", "F3 on(Sis)", "F4 on(Sis)", "F4 during(c, 200)", "F5 on(Sis)", "F7 during(m, 300)",
    "F8 during(k, 10)", "F10 during(y, 50)", "F11 on(Se)", "F13 during(o, 100)", "F14 on(Sis)",
    "F14 done(Sis)", "F14 during(c, 800)", "F14 done(Sp)", "F14 done(Se)", "F15", "F19 on(Sp)",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_soak_every_card_is_accounted_for(seed: int) -> None:
    """Random faults, an operator who clears them, and a balance with difference zero (4.3, test 3)."""
    dice = random.Random(seed)
    face = picture(varnish=False)
    good = 0
    with bench(cards=40, seed=seed) as b:
        machine = b.simulator.machine
        for _ in range(30):
            if dice.random() < 0.5:
                b.simulator.inject(dice.choice(SOAK_FAULTS))
            before = len(machine.hopper)
            try:
                b.make(face)
                good += 1
            except CityError:
                _operator(b)
            with machine.changed:
                machine.check()
                assert machine.inside is None
            assert len(machine.hopper) >= before
        piles = {place.value: len(pile) for place, pile in machine.piles().items()}
        assert sum(piles.values()) == 40
        assert machine.counters.cards == 40 - piles["feeder"]
        whole = [card for card in machine.hopper if card.panels_used == 4]
        assert good <= len(whole)
        assert all(card.panels_used <= 4 for pile in machine.piles().values() for card in pile)


def _operator(b: Bench) -> None:
    """Clears whatever is wrong, and takes a card out by hand when it cannot leave by itself."""
    simulator = b.simulator
    simulator.power_on()
    simulator.close_cover()
    simulator.cool_head()
    simulator.replace_ribbon()
    simulator.machine.switches.hopper_full = False
    b.printer.identify()
    try:
        b.printer.eject(Destination.REJECT)
    except Rejected:
        return
    except PrinterFault:
        simulator.remove_card()


def test_time_scale_stretches_only_real_time() -> None:
    """The same card costs the same virtual seconds at any pace."""
    spent = []
    for pace in (INSTANT, CLASSIC.scaled(0.002)):
        with bench(timing=pace) as b:
            b.make()
            spent.append(round(b.simulator.machine.now, 6))
    assert spent[0] == spent[1]
