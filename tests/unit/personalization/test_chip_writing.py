"""From a blank to a closed card, and every kind of chip that must not become one (purse-card.md 12.3, 12.6)."""

import pytest

from cardos import spec
from cardos.card import Card
from cardos.client import CardSession
from cardos.records import ApplicationFile, CardFile
from cardos.requests import ReadBinary, SelectFile, SelectName, authenticate
from cardos.residence_records import Identity, StatusRecord
from core.errors import DeviceFault
from personalization import chip, inspect
from personalization.chip import BadChip, CardKey
from tests.station_bench import ClearKeys, blank, bound, card_data, dice, value

KEYS = ClearKeys()


class Wire:
    """A channel that counts APDUs, and can lose the card or change an answer at one of them."""

    def __init__(self, card: Card, gone_at: int | None = None) -> None:
        self.card = card
        self.count = 0
        self.gone_at = gone_at
        self.sent: list[bytes] = []

    @property
    def atr(self) -> bytes:
        return self.card.atr

    def transmit(self, apdu: bytes) -> bytes:
        self.count += 1
        self.sent.append(apdu)
        if self.count == self.gone_at:
            raise DeviceFault("CARD-GONE", "torn")
        return self.card.transmit(apdu)

    def reset(self) -> bytes:
        return self.card.reset()

    def close(self) -> None:
        self.card.close()


def made(card: Card, order: chip.ChipOrder) -> int:
    chip.write(card, order, KEYS)
    found = inspect.read_back(card, order, KEYS)
    chip.close(card, order, KEYS)
    return found


def test_a_blank_becomes_the_ordered_card() -> None:
    card, order = blank(), bound().chip
    steps: list[str] = []
    chip.write(card, order, KEYS, steps.append)
    found = inspect.read_back(card, order, KEYS)
    chip.close(card, order, KEYS)
    assert steps == ["3F00", "3F01", "DF02"]
    assert found == 11  # 12 groups: the directory file has two records
    session = CardSession(card)
    card.reset()
    session.send(SelectFile(spec.FID_MF))
    assert CardFile.parse(session.send(ReadBinary(64, sfi=5))).card_serial == order.card_serial
    fci = session.send(SelectName(spec.AID_PURSE))
    assert ApplicationFile.parse(fci.application_file).asn.hex() == "000000" + order.card_serial
    session.send(SelectName(spec.AID_RESIDENCE))
    status = StatusRecord.parse(session.send(ReadBinary(32, sfi=3)))
    assert (status.status, status.ssn) == (1, 1)
    assert status.mac == KEYS.status_mac(status.body, order.card_serial)
    reader = CardKey(22, "residence", 1, order.factor)
    authenticate(session, 1, KEYS.answer(reader), 8)
    assert Identity.parse(session.send(ReadBinary(128, sfi=1))).name == card_data().name


def test_no_key_or_secret_leaves_in_clear() -> None:
    wire, order = Wire(blank()), bound().chip
    made(wire, order)  # type: ignore[arg-type]
    sent = b"".join(wire.sent)
    for directory in order.profile:
        for key in directory.keys:
            if key.hsm_usage is not None:
                assert value(order.key(key)) not in sent
    assert value(order.transport) not in sent


def test_a_closed_card_opens_to_nobody() -> None:
    card, order = blank(), bound().chip
    made(card, order)
    session = CardSession(card)
    for directory in order.profile:
        card.reset()
        session.send(SelectFile(spec.FID_MF))
        if directory.fid != spec.FID_MF:
            session.send(SelectFile(directory.fid))
        control = chip.control_key(directory)
        authenticate(session, 0, KEYS.answer(order.key(control)))
        body = spec.FileSpec(0x77, spec.FileKind.BINARY, b"\x00\x01", 0xF0, 0xF0).create_body()
        answer = session.exchange(chip.CreateFile(0x77, body).command())
        assert answer.sw == 0x6982
    with pytest.raises(BadChip) as refused:
        chip.write(card, order, KEYS)
    assert (refused.value.code, refused.value.reason) == ("CHIP-USED", "CH2")


def test_confirm_tells_this_card_from_another() -> None:
    card, order = blank(), bound().chip
    made(card, order)
    inspect.confirm(card, order)
    with pytest.raises(BadChip, match="CHIP-OTHER"):
        inspect.confirm(card, bound(2).chip)


def test_another_make_is_refused_before_any_command() -> None:
    class Foreign(Wire):
        def reset(self) -> bytes:
            self.card.reset()
            return bytes.fromhex("3B6D00008065080D4904865300")

    wire = Foreign(blank())
    with pytest.raises(BadChip) as refused:
        chip.write(wire, bound().chip, KEYS)
    assert (refused.value.code, refused.value.reason, wire.count) == ("CHIP-ATR", "CH5", 0)


def test_a_chip_of_another_lot_loses_one_try_and_no_more() -> None:
    wire = Wire(blank(lot="07002"))
    with pytest.raises(BadChip) as refused:
        chip.write(wire, bound().chip, KEYS)
    assert (refused.value.code, refused.value.reason) == ("CHIP-LOT", "CH5")
    assert sum(apdu[1] == 0x82 for apdu in wire.sent) == 1


def test_changed_keys_without_a_card_serial_are_recognised() -> None:
    """Torn right after the transport key was replaced: nothing is guessed, the chip is refused."""
    card, order = blank(), bound().chip
    cut = Wire(card)
    chip._open_blank(CardSession(cut), order, KEYS)
    chip._replace_transport_key(CardSession(cut), order.profile[0], order, KEYS)
    card.reset()
    with pytest.raises(BadChip, match="CHIP-LOT"):
        chip.write(card, order, KEYS)


def test_a_locked_transport_key() -> None:
    card, order = blank(lot="07002"), bound().chip
    for _ in range(3):
        with pytest.raises(BadChip, match="CHIP-LOT"):
            chip.write(card, order, KEYS)
    with pytest.raises(BadChip) as refused:
        chip.write(card, order, KEYS)
    assert (refused.value.code, refused.value.reason) == ("CHIP-LOCKED", "CH2")


def test_another_chip_than_the_bound_one() -> None:
    with pytest.raises(BadChip) as refused:
        chip.write(blank(b"CHIP0002"), bound().chip, KEYS)
    assert (refused.value.code, refused.value.reason) == ("CHIP-OTHER", "CH6")


def test_memory_that_fails_is_a_write_fault() -> None:
    class Failing(Wire):
        def transmit(self, apdu: bytes) -> bytes:
            answer = super().transmit(apdu)
            return b"\x65\x81" if apdu[1] == 0xE0 and self.count > 40 else answer

    with pytest.raises(BadChip) as refused:
        chip.write(Failing(blank()), bound().chip, KEYS)
    assert (refused.value.code, refused.value.reason, refused.value.facts["sw"]) == (
        "CHIP-WRITE", "CH3", "6581",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fid", "directory"), [(0x0015, 0x3F01), (0x0005, 0x3F00), (0x0007, 0xDF02), (0x0002, 0xDF02)]
)
def test_one_wrong_byte_anywhere_is_seen(fid: int, directory: int) -> None:
    card, order = blank(), bound().chip
    wrong = tuple(
        chip.DataGroup(g.directory, g.file, g.data[:-1] + bytes((g.data[-1] ^ 1,)))
        if (g.directory, g.file) == (directory, fid)
        else g
        for g in order.groups
    )
    chip.write(card, chip.ChipOrder(order.card_serial, order.chip_serial, order.lot, wrong), KEYS)
    with pytest.raises(BadChip) as refused:
        inspect.read_back(card, order, KEYS)
    assert (refused.value.code, refused.value.reason) == ("CHIP-VERIFY", "CH4")


def test_a_torn_card_passes_the_fault_on() -> None:
    with pytest.raises(DeviceFault) as torn:
        chip.write(Wire(blank(), gone_at=60), bound().chip, KEYS)
    assert torn.value.code == "CARD-GONE"


def test_t0_cards_are_written_too() -> None:
    made(blank(t0=True), bound().chip)


def test_dice_of_the_card_do_not_matter() -> None:
    order = bound().chip
    for seed in range(3):
        transport = value(CardKey(19, "lot-07001", 1, b"CHIP0001"))
        made(Card.blank("permit", dice(seed), b"CHIP0001", transport), order)
