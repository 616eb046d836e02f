"""A station over real PC/SC: the printer carries blanks to a reader that pcscd owns (architecture.md 10)."""

from pathlib import Path

from cardos.client import CardSession
from cardos.pcsc import PcscReader
from cardos.vpcd import VirtualSlot
from personalization import chip
from personalization.station_outcome import End
from tests.station_floor import chip_of, floor, nobody


def test_cards_are_made_over_pcscd(
    tmp_path: Path, slots: dict[str, VirtualSlot], slot: VirtualSlot
) -> None:
    names = list(slots)[:2]
    places = [(slots[name], PcscReader(name)) for name in names]
    try:
        with floor(tmp_path, stations=2, people=3, tray=3, places=places) as bays:
            for bay in bays:
                bay.start()
            assert bays[0].station is not None
            first = [bays[0].station.run_once()]
            second = bays[1].turns(nobody)
            ends = [outcome.end for outcome in (*first, *second)]
            assert ends == [End.MADE, End.MADE, End.MADE, End.IDLE]
            for bay, outcomes in zip(bays, (first, second), strict=True):
                made = [outcome for outcome in outcomes if outcome.end is End.MADE]
                for plastic, outcome in zip(bay.simulator.machine.hopper, made, strict=True):
                    assert plastic.chip_serial == outcome.chip_serial
                    chip_of(plastic).reset()
                    serial = chip.card_serial_on(CardSession(chip_of(plastic)))
                    assert serial == outcome.card_serial
    finally:
        for _slot, reader in places:
            reader.close()
