"""The chip behind a real pcscd: a whole purchase, both protocols, and programs nobody here wrote."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from foreign import find_program
from purse_bench import Book, load, make_permit, make_psam, tac_of_purchase

from cardos.card import Card
from cardos.client import CardSession
from cardos.pcsc import PcscReader
from cardos.purse_requests import GetBalance
from cardos.requests import SelectFile
from cardos.vpcd import TearPoint, VirtualSlot
from payments.purse import open_psam, open_purse, pay, recover
from payments.purse_records import OutcomeUnknown, PurchaseStatus
from runtime.pcscd import PrivatePcscd

NOON = datetime(2007, 6, 18, 4, 0, tzinfo=UTC)
SEEN = 5.0
FOREIGN_SECONDS = 60
ANSWERS_TO_STRANGERS = (
    tuple(  # no such file, length, P1 P2, instruction, class, kind, no current file
        bytes.fromhex(sw) for sw in ("6A82", "6700", "6A86", "6D00", "6E00", "6981", "6985")
    )
)


@pytest.fixture
def permit() -> Card:
    chip = make_permit()
    load(chip, 10_000)
    return chip


@pytest.fixture
def reader(reader_name: str) -> Iterator[PcscReader]:
    made = PcscReader(reader_name)
    yield made
    made.close()


def test_a_sale_with_card_and_psam_in_two_real_readers(
    slots: dict[str, VirtualSlot], permit: Card
) -> None:
    names = list(slots)[:2]
    readers = [PcscReader(name) for name in names]
    sam_chip, _ = make_psam(9)
    for chip, name, reader in zip((permit, sam_chip), names, readers, strict=True):
        slots[name].insert(chip)
        assert reader.wait(True, SEEN)
    card_channel, sam_channel = (reader.connect() for reader in readers)
    card, book = CardSession(card_channel), Book()
    psam = open_psam(CardSession(sam_channel))
    record = pay(card, open_purse(card), psam, 1250, NOON, book.purchase)
    assert record.mac2_checked
    assert record.tac == tac_of_purchase(record)
    assert card.send(GetBalance()) == 8750
    for closing in (card_channel, sam_channel, *readers):
        closing.close()
    for name in names:
        slots[name].remove()


@pytest.mark.parametrize("point", [TearPoint.BEFORE_COMMAND, TearPoint.BEFORE_REPLY])
def test_a_card_torn_out_of_a_real_reader_is_settled_when_it_comes_back(
    slot: VirtualSlot, reader: PcscReader, permit: Card, point: TearPoint
) -> None:
    _, psam = make_psam()
    book = Book()
    slot.insert(permit)
    assert reader.wait(True, SEEN)
    card = CardSession(reader.connect())
    purse = open_purse(card)

    def journal(record) -> None:  # type: ignore[no-untyped-def]
        book.purchase(record)
        if record.status is PurchaseStatus.PENDING:  # on disk: now the holder pulls the card
            slot.tear(point)

    with pytest.raises(OutcomeUnknown):
        pay(card, purse, psam, 1250, NOON, journal)
    assert slot.join(SEEN)
    assert reader.wait(False, SEEN)
    slot.insert(permit)
    assert reader.wait(True, SEEN)
    channel = reader.connect()
    record = recover(CardSession(channel), psam, book.lines[-1], book.purchase)
    executed = point is TearPoint.BEFORE_REPLY
    assert record.status is (PurchaseStatus.RECOVERED if executed else PurchaseStatus.VOID)
    channel.close()


def test_a_t0_chip_speaks_through_get_response(slot: VirtualSlot, reader_name: str) -> None:
    chip = Card.blank(serial=bytes(range(8)), t0=True)
    reader = PcscReader(reader_name, t0=True)
    slot.insert(chip)
    assert reader.wait(True, SEEN)
    channel = reader.connect()
    assert channel.atr == chip.atr
    assert CardSession(channel).send(SelectFile(0x3F00)).name == b"1PAY.SYS.DDF01"
    assert channel.transmit(bytes.fromhex("00A40000023F0000"))[0] == 0x61
    channel.close()
    reader.close()


def foreign(program: str, *arguments: str, daemon: PrivatePcscd, text: str | None = None) -> str:
    """Run a program of somebody else against our pcscd; its output."""
    done = subprocess.run(
        [find_program(program), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=FOREIGN_SECONDS,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PCSCLITE_CSOCK_NAME": str(daemon.socket_path)},
    )
    return done.stdout + done.stderr


@pytest.fixture
def plugged(slot: VirtualSlot, reader: PcscReader, permit: Card) -> Card:
    slot.insert(permit)
    assert reader.wait(True, SEEN)
    return permit


def test_opensc_tool_reads_the_atr_and_sends_apdus(
    daemon: PrivatePcscd, plugged: Card, reader_name: str
) -> None:
    atr = foreign("opensc-tool", "-r", reader_name, "-a", daemon=daemon)
    assert plugged.atr.hex(":") in atr.lower()
    apdu = "00:A4:00:00:02:3F:00:00"
    answer = foreign("opensc-tool", "-r", reader_name, "-c", "default", "-s", apdu, daemon=daemon)
    assert "SW1=0x90, SW2=0x00" in answer
    assert "6F 15 84 0E 31 50 41 59 2E 53 59 53" in answer


class Witness:
    """A card that writes down what it was asked and what it answered."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.seen: list[tuple[bytes, bytes]] = []

    @property
    def atr(self) -> bytes:
        return self.card.atr

    def transmit(self, apdu: bytes) -> bytes:
        answer = self.card.transmit(apdu)
        self.seen.append((apdu, answer))
        return answer

    def reset(self) -> bytes:
        return self.card.reset()

    def close(self) -> None:
        self.card.close()


def test_opensc_probing_for_foreign_cards_finds_clean_errors_only(
    daemon: PrivatePcscd, slot: VirtualSlot, permit: Card, reader: PcscReader, reader_name: str
) -> None:
    witness = Witness(permit)
    writes = permit.writes
    slot.insert(witness)
    assert reader.wait(True, SEEN)
    output = foreign("opensc-tool", "-r", reader_name, "-a", "-n", daemon=daemon)
    assert permit.atr.hex(":") in output.lower()
    assert "Unsupported card" in output
    assert len(witness.seen) > 20  # it asks for some dozens of other cards' applications
    for apdu, answer in witness.seen:
        assert answer in ANSWERS_TO_STRANGERS or answer[-2:] == b"\x90\x00", (apdu, answer)
    assert permit.writes == writes
    channel = reader.connect()
    card = CardSession(channel)
    open_purse(card)
    assert card.send(GetBalance()) == 10_000
    channel.close()


def test_opensc_follows_61xx_of_a_t0_chip(
    daemon: PrivatePcscd, slot: VirtualSlot, reader_name: str
) -> None:
    """On T=0 OpenSC strips Le and fetches the answer with GET RESPONSE."""
    witness = Witness(Card.blank(serial=bytes(range(8)), t0=True))
    reader = PcscReader(reader_name, t0=True)
    slot.insert(witness)
    assert reader.wait(True, SEEN)
    reader.close()
    apdu = "00:A4:00:00:02:3F:00:00"
    answer = foreign("opensc-tool", "-r", reader_name, "-c", "default", "-s", apdu, daemon=daemon)
    assert "6F 15 84 0E 31 50 41 59 2E 53 59 53" in answer
    assert any(raw[:2] == b"\x00\xc0" for raw, _ in witness.seen)


def test_scriptor_runs_a_script_against_the_purse(
    daemon: PrivatePcscd, plugged: Card, reader_name: str, tmp_path: Path
) -> None:
    script = tmp_path / "balance.apdu"
    script.write_text("reset\n00A4040009A0000000038698070100\n805C000204\n", "ascii")
    output = foreign("scriptor", "-p", "T=1", "-r", reader_name, str(script), daemon=daemon)
    assert "00 00 27 10 90 00" in output


def test_pcsc_scan_sees_the_card(daemon: PrivatePcscd, plugged: Card, reader_name: str) -> None:
    output = foreign("pcsc_scan", "-c", "-n", daemon=daemon)
    assert reader_name in output
    assert plugged.atr.hex(" ").upper() in output
