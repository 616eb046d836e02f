"""What a card shows to anybody: sample chips, blocked ones, T=0, and cards of another make."""

import random

import pytest

from cardos import samples
from cardos.spec import AID_PURSE, AID_RESIDENCE, MF_NAME
from cardos.survey import survey
from core.errors import DeviceFault
from tests.chip_bench import bank, key, psam, white


def dice(seed: int = 1):
    return random.Random(seed).randbytes


def by_name(view):
    return {directory.name: directory for directory in view.directories}


@pytest.mark.parametrize("t0", [False, True])
def test_a_permit(t0):
    card = samples.permit(dice(), t0)
    before = card.writes
    view = survey(card)
    assert card.writes == before
    assert view.chip_serial == samples.CHIP_SERIAL
    found = by_name(view)
    assert list(found) == [MF_NAME, AID_PURSE, AID_RESIDENCE]
    purse = found[AID_PURSE]
    assert [(p.name, p.balance) for p in purse.purses] == [("EP", samples.LOADED - samples.SPENT)]
    assert [(r.type, r.amount) for r in purse.log] == [(6, samples.SPENT), (2, samples.LOADED)]
    closed = {f.short_id for f in found[AID_RESIDENCE].files if f.sw == 0x6982}
    assert closed == {1, 2, 6, 7, 0x18}
    status = next(f for f in found[AID_RESIDENCE].files if f.short_id == 3)
    assert len(status.data) == 32


def test_a_white_card_and_a_psam():
    assert [d.files for d in survey(white().card).directories] == [()]
    names = list(by_name(survey(psam().card)))
    assert names == [MF_NAME, AID_PURSE]


def test_a_purse_that_wants_the_pin_says_so():
    host = bank()
    host.ok("00A4000000")
    assert (
        host.create(0x3F09, bytes.fromhex("380100F0F000FFFF") + bytes.fromhex("5041592E535A54"))
        == 0x9000
    )
    host.select(bytes.fromhex("5041592E535A54"))  # a name known in the field
    assert host.create(0, bytes.fromhex("3F004080F0FFFF")) == 0x9000
    assert host.create(1, bytes.fromhex("2F0208F100FF00")) == 0x9000
    purse = by_name(survey(host.card))[bytes.fromhex("5041592E535A54")].purses[0]
    assert (purse.name, purse.balance, purse.sw) == ("ED", None, 0x6982)


def test_a_long_file_is_read_to_its_end():
    host = white()
    assert host.create(0x15, bytes.fromhex("280400F0F0FFFF")) == 0x9000
    for at in range(0, 1024, 128):
        host.ok(b"\x00\xa4\x00\x00\x02\x00\x15")
        host.ok(bytes((0, 0xD6, at >> 8, at & 0xFF, 128)) + bytes((at // 128,)) * 128)
    (file,) = survey(host.card).directories[0].files
    assert file.data == b"".join(bytes((n,)) * 128 for n in range(8))


def test_a_blocked_application_keeps_its_name_and_a_blocked_card_nothing():
    host = bank()
    host.protected_ok("841E0000", b"", key("line"))
    purse = by_name(survey(host.card))[AID_PURSE]
    assert (purse.sw, purse.files, purse.purses) == (0x6A81, (), ())
    other = bank()
    other.protected_ok("84160000", b"", key("line"))
    (root,) = survey(other.card).directories
    assert root.sw == 0x6A81


class Foreign:
    """A card of another make: selects anything, with an answer that is no FCI, and refuses the rest."""

    atr = bytes.fromhex("3B00")

    def transmit(self, apdu: bytes) -> bytes:
        return b"hello\x90\x00" if apdu[1] == 0xA4 else b"\x6d\x00"

    def reset(self) -> bytes:
        return self.atr

    def close(self) -> None:
        pass


def test_a_foreign_card_does_not_confuse_the_survey():
    view = survey(Foreign())
    assert view.chip_serial is None
    assert all(not directory.purses for directory in view.directories)


class Leaving(Foreign):
    def transmit(self, apdu: bytes) -> bytes:
        raise DeviceFault("CARD-GONE", "pulled")


def test_a_card_that_leaves_is_a_device_fault():
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        survey(Leaving())


def test_random_answers_never_break_it():
    for seed in range(30):
        noise = random.Random(seed)

        class Noise(Foreign):
            def transmit(self, apdu: bytes, noise: random.Random = noise) -> bytes:
                good = noise.choice(
                    (b"\x90\x00", b"\x6a\x82", b"\x62\x81", b"\x69\x81", b"\x6c\x05")
                )
                return noise.randbytes(noise.randrange(12)) + good

        view = survey(Noise())
        assert view.atr == Noise.atr
