"""The permit card: a blank chip of a delivered lot becomes a card by commands alone (purse-card.md 12)."""

import pytest

from cardos import spec
from cardos.card import Card
from cardos.image import load
from cardos.memory import PowerCut
from core import crypto
from core.errors import EvidenceMismatch
from tests.chip_bench import MF_KEY, PURSE_AID, TERMINAL, key, permit, white


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("chip") / "permit.chip"
    permit().card.save(path)
    return path


@pytest.fixture
def host(image):
    from tests.chip_bench import Dice, Host

    dice = Dice()
    card = Card(load(image), dice)
    return Host(card, dice)


def enter_purse(host):
    return host.select(PURSE_AID)


def hand_over(host, pin="123456"):
    """PIN UNBLOCK with the holder's PIN, then VERIFY."""
    enter_purse(host)
    host.protected_ok("84240000", bytes.fromhex(pin), key("unblock"), cipher=True)
    host.ok("0020000003" + pin)


def test_the_atr_carries_the_chip_serial(host):
    assert spec.chip_serial(host.card.reset()) == b"CHIP0001"
    assert host.card.atr == host.card.reset()


def test_space_is_accounted_to_the_byte():
    assert spec.PURSE_PROFILE.cost == 1020
    assert spec.RESIDENCE_PROFILE.cost == 5236


def test_the_mf_answers_as_real_cards_do(host):
    answer = host.ok("00A40000023F00")
    assert answer.hex().upper() == "6F15840E315041592E5359532E4444463031A503880101"


def test_the_purse_shows_its_application_file(host):
    answer = enter_purse(host)
    assert answer.hex().upper().startswith("6F2E8409A00000000386980701A5219F0C1E")
    assert spec.APPLICATION_FIELDS["asn"].of(answer[-30:]).hex() == "00000007001000000102"


def test_read_back_of_a_card_before_hand_over(host):
    enter_purse(host)
    assert host.balance() == 0
    assert host.sw("805001020B0100000000" + TERMINAL.hex() + "0F") == 0x9000
    assert host.sw("805000020B0100000000" + TERMINAL.hex() + "10") == 0x6982  # load needs the PIN
    assert host.sw("0020000003000000") == 0x6983  # which is closed
    assert host.sw("00D695000100") == 0x6987
    assert host.create(0x20, bytes.fromhex("280010F0F0FFFF")) == 0x6982


def test_absent_purse_and_absent_keys(host):
    enter_purse(host)
    assert host.sw("805000010B0100000000" + TERMINAL.hex() + "10") == 0x6A82
    assert host.sw("805001020B0900000000" + TERMINAL.hex() + "0F") == 0x9403


def test_hand_over_load_and_pay(host):
    hand_over(host)
    host.load(5000)
    host.purchase(1200)
    assert host.balance() == 3800
    newest = host.ok("00B201C400")
    assert newest[:2] == b"\x00\x01"
    assert spec.LOG_FIELDS["amount"].of(newest) == (1200).to_bytes(4, "big")
    assert host.sw("00B203C400") == 0x6A83


def test_mf_control_key_replaced_the_transport_key(host):
    host.ok("00A4000000")
    assert host.authenticate(key("transport")) == 0x63C2
    assert host.authenticate(MF_KEY) == 0x9000


def test_after_issue_state_2_is_out_of_reach(host):
    enter_purse(host)
    record = bytes.fromhex("F9F0F00033") + key("control")
    host.protected_ok("84D43900", record, key("control"), cipher=True)
    assert host.authenticate(key("control")) == 0x9000
    assert host.create(0x20, bytes.fromhex("280010F0F0FFFF")) == 0x6982
    assert host.sw("800E000000") == 0x6982


def test_flagged_keys_change_only_under_protection(host):
    enter_purse(host)
    plain = bytes.fromhex("FFF1F00100") + key("new load")
    assert host.sw(b"\x80\xd4\x3f\x01\x15" + plain) == 0x6987
    host.protected_ok("84D4FF01", plain, key("control"), cipher=True)


def test_identity_opens_to_the_reader_key(host):
    host.select(spec.AID_RESIDENCE)
    assert host.sw("00B0810010") == 0x6982
    assert host.authenticate(key("reader"), 1) == 0x9000
    assert host.sw("00B0810010") == 0x6281  # never written


def test_status_refuses_to_go_back(host):
    host.select(spec.AID_RESIDENCE)

    def write(ssn, rest="00" * 25):
        body = bytes.fromhex("010200") + ssn.to_bytes(4, "big") + bytes.fromhex(rest)
        return host.protected("04D68300", body, key("line"))[1]

    assert write(7) == 0x9000
    assert write(7) == 0x9000  # the same content again: a retry
    assert write(7, "01" + "00" * 24) == 0x6985
    assert write(6) == 0x6985
    assert write(8, "01" + "00" * 24) == 0x9000
    assert host.ok("00B0830000")[3:7] == b"\x00\x00\x00\x08"


def test_card_proves_itself(host):
    host.select(spec.AID_RESIDENCE)
    block = bytes(range(8))
    assert host.ok(b"\x00\x88\x00\x00\x08" + block) == crypto.des_encrypt(key("intern"), block)


def test_cyclic_address_file_keeps_the_newest_four(host):
    host.select(spec.AID_RESIDENCE)
    for number in range(6):
        host.protected_ok("04E20010", bytes((number,)) * 87, key("line"))
    assert host.authenticate(key("reader"), 1) == 0x9000
    assert [host.ok(bytes((0, 0xB2, n, 0x14, 0)))[0] for n in (1, 2, 3, 4)] == [5, 4, 3, 2]
    assert host.sw("00B2051400") == 0x6A83


def test_loss_blocks_until_reversed_and_replacement_for_good(host):
    hand_over(host)
    host.protected_ok("841E0000", b"", key("line"))
    assert host.sw("805C000204") == 0x6A81
    host.ok("00A40000023F00")
    assert host.sw(bytes((0, 0xA4, 4, 0, 9)) + PURSE_AID) == 0x6A81
    host.protected_ok("84180000", b"", key("line"))  # the ADF became current all the same
    assert host.balance() == 0
    host.protected_ok("841E0001", b"", key("line"))
    assert host.protected("84180000", b"", key("line"))[1] == 0x9303


def test_image_survives_and_damage_is_refused(host, tmp_path):
    hand_over(host)
    host.load(100)
    path = tmp_path / "card.chip"
    host.card.save(path)
    card = Card.load(path)
    assert card.atr == host.card.atr
    raw = bytearray(path.read_bytes())
    for at in (0, 9, 12, 5000, len(raw) - 1):
        bad = bytearray(raw)
        bad[at] ^= 1
        path.write_bytes(bad)
        with pytest.raises(EvidenceMismatch) as refused:
            Card.load(path)
        assert refused.value.code == "CHIP-IMAGE"
    path.write_bytes(raw[:100])
    with pytest.raises(EvidenceMismatch):
        Card.load(path)


def test_image_file_follows_every_change(tmp_path):
    path = tmp_path / "live.chip"
    card = Card.blank(serial=bytes(8), image=path)
    card.transmit(bytes.fromhex("80E000150728000AF0F0FFFF"))
    card.transmit(bytes.fromhex("00D695000411223344"))
    again = Card.load(path)
    assert again.transmit(bytes.fromhex("00B0950004")).hex() == "112233449000"


def test_a_card_without_power_is_silent_until_reset(host):
    host.card.close()
    with pytest.raises(PowerCut) as gone:
        host.send("0084000004")
    assert gone.value.code == "CARD-GONE"
    host.card.reset()
    assert len(host.challenge()) == 4


def test_white_card_takes_a_new_mf_once():
    host = white()
    body = "80E03F000D38FFFFF0F001FFFFFFFFFFFFFF"
    assert host.sw(body) == 0x9000
    assert host.sw(body) == 0x6A86
    host.create(0, bytes.fromhex("3F008001F0FFFF"))
    host.ok("80D401000D39F0F02233" + "FF" * 8)
    assert host.authenticate(b"\xff" * 8) == 0x9000


def test_a_key_never_shows_in_a_repr(host):
    from cardos.filesystem import Node
    from cardos.security import find_key

    enter_purse(host)
    found = find_key(Node(host.card._memory, host.card._chip.session.df), 0x3E, 1)
    assert key("purchase").hex() not in repr(found).lower()
