"""A chip behind a real pcscd: what a reader, a torn card and a dead daemon look like to the host."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from echo_card import EchoCard

from cardos.pcsc import PcscReader, list_readers
from cardos.vpcd import TearPoint, VirtualSlot
from core.clock import SystemClock
from core.errors import DeviceFault, Unavailable
from runtime.pcscd import PrivatePcscd

SERIAL = bytes.fromhex("00B0000001")
WRITE = bytes.fromhex("00D600000311223300")
SEEN = 5.0  # pcscd looks every 0.4 s


@pytest.fixture
def reader(reader_name: str) -> Iterator[PcscReader]:
    made = PcscReader(reader_name)
    yield made
    made.close()


def insert(slot: VirtualSlot, reader: PcscReader, card: EchoCard) -> None:
    slot.insert(card)
    assert reader.wait(True, SEEN)


def test_every_slot_is_listed_by_its_name(daemon: PrivatePcscd) -> None:
    assert set(list_readers()) == set(daemon.slots)
    assert "Perso 00 00 00" in daemon.slots


def test_a_card_is_seen_when_it_comes_and_when_it_goes(
    slot: VirtualSlot, reader: PcscReader
) -> None:
    assert reader.wait(False, SEEN)
    assert not reader.wait(True, 0.05)
    insert(slot, reader, EchoCard())
    assert reader.present()
    slot.remove()
    assert reader.wait(False, SEEN)


def test_the_answer_comes_back_and_a_reset_gives_the_atr(
    slot: VirtualSlot, reader: PcscReader
) -> None:
    card = EchoCard(7)
    insert(slot, reader, card)
    channel = reader.connect()
    assert channel.atr == card.atr
    assert channel.transmit(SERIAL) == bytes.fromhex("079000")
    before = card.powered
    assert channel.reset() == card.atr
    assert card.powered > before
    channel.close()
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        channel.transmit(SERIAL)


def test_an_empty_reader_says_so(slot: VirtualSlot, reader: PcscReader) -> None:
    assert reader.wait(False, SEEN)
    with pytest.raises(DeviceFault, match="CARD-ABSENT"):
        reader.connect()


def test_a_job_owns_its_reader(slot: VirtualSlot, reader: PcscReader, reader_name: str) -> None:
    insert(slot, reader, EchoCard())
    channel = reader.connect()
    other = PcscReader(reader_name)
    with pytest.raises(Unavailable, match="CARD-BUSY"):
        other.connect()
    channel.close()
    other.connect().close()
    other.close()


@pytest.mark.parametrize(
    ("point", "written"),
    [
        (TearPoint.BEFORE_COMMAND, 0),
        (TearPoint.BEFORE_REPLY, 1),
        (TearPoint.AFTER_LENGTH, 1),
    ],
)
def test_a_torn_card_is_an_unknown_outcome_not_an_answer(
    slot: VirtualSlot, reader: PcscReader, point: TearPoint, written: int
) -> None:
    card = EchoCard()
    insert(slot, reader, card)
    channel = reader.connect()
    slot.tear(point)
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        channel.transmit(WRITE)
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        channel.transmit(WRITE)  # a dead channel stays dead, whatever card is in now
    assert slot.join(SEEN)
    assert card.writes == written


def test_a_truncated_answer_passes_pcsc_and_only_a_check_of_the_content_finds_it(
    slot: VirtualSlot, reader: PcscReader
) -> None:
    insert(slot, reader, EchoCard())
    channel = reader.connect()
    slot.tear(TearPoint.IN_BODY)
    echo = bytes.fromhex("00CB0000081122334455667788")
    assert channel.transmit(echo) == bytes.fromhex("1122334455")
    channel.close()


def test_a_chip_that_loses_power_inside_a_command_leaves_the_reader_usable(
    slot: VirtualSlot, reader: PcscReader
) -> None:
    insert(slot, reader, EchoCard(1))
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        reader.connect().transmit(bytes.fromhex("00EE0000"))
    assert slot.join(SEEN)
    insert_again = EchoCard(2)
    assert reader.wait(False, SEEN)
    insert(slot, reader, insert_again)
    channel = reader.connect()
    assert channel.transmit(SERIAL) == bytes.fromhex("029000")
    channel.close()


def test_a_swapped_card_never_answers_on_the_old_channel(
    slot: VirtualSlot, reader: PcscReader
) -> None:
    insert(slot, reader, EchoCard(1))
    channel = reader.connect()
    slot.remove()
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        channel.transmit(SERIAL)
    second = EchoCard(2)
    insert(slot, reader, second)
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        channel.transmit(SERIAL)
    assert second.seen == []


def test_no_two_slots_answer_for_each_other(slots: dict[str, VirtualSlot]) -> None:
    readers = [PcscReader(name) for name in slots]
    for serial, (slot, reader) in enumerate(zip(slots.values(), readers, strict=True)):
        insert(slot, reader, EchoCard(serial))
    channels = [reader.connect() for reader in readers]
    answers = [channel.transmit(SERIAL)[0] for channel in channels]
    for closing in (*channels, *readers):
        closing.close()
    for slot in slots.values():
        slot.remove()
    assert answers == list(range(len(slots)))


def test_a_command_does_not_wait_for_a_delayed_acknowledgement(
    slot: VirtualSlot, reader: PcscReader
) -> None:
    insert(slot, reader, EchoCard())
    channel = reader.connect()
    channel.transmit(SERIAL)
    best = min(_seconds(channel.transmit, SERIAL) for _ in range(20))
    channel.close()
    assert best < 0.02  # without TCP_QUICKACK every single one takes 44 ms


def _seconds(call, apdu: bytes) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    call(apdu)
    return time.perf_counter() - start


def test_an_apdu_after_another_programs_power_off_powers_the_chip_on() -> None:
    """The host's side of vpcd is played here: off, then an APDU, then the reader goes away."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        slot = VirtualSlot(("127.0.0.1", listener.getsockname()[1]))
        card = EchoCard()
        slot.insert(card)
        link, _ = listener.accept()
        with link:
            link.sendall(b"\x00\x01\x00" + b"\x00\x05" + SERIAL)
            assert link.recv(16) == b"\x00\x03\x00\x90\x00"
        assert slot.join(SEEN)
        slot.remove()
    assert card.powered == 1


def test_a_slot_without_a_reader_behind_it_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    class Impatient(SystemClock):
        """Each look at the clock is ten seconds later."""

        looks = 0

        def monotonic(self) -> float:
            self.looks += 1
            return self.looks * 10.0

    with pytest.raises(Unavailable, match="CARD-NO-VPCD"):
        VirtualSlot(("127.0.0.1", port), Impatient()).insert(EchoCard())


def test_pcscd_killed_and_restarted_comes_back_on_the_same_socket() -> None:
    """In a process of its own: libpcsclite keeps one socket per process."""
    script = Path(__file__).with_name("killed_daemon.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.splitlines()[-1:] == ["recovered"], done.stderr


def test_a_second_private_daemon_in_one_process_is_refused(daemon: PrivatePcscd) -> None:
    with pytest.raises(Unavailable, match="CARD-PCSCD-TWICE"):
        PrivatePcscd().start()
    assert set(list_readers()) == set(daemon.slots)
