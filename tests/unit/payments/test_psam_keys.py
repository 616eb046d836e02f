"""PSAMs issued by the real HSM: commands 14, 32 and 52 on a blank of the delivered lot."""

import os
from dataclasses import replace

import pytest

from cardos.chipmaker import ChipMaker
from cardos.client import CardSession, ChipError
from core.errors import CityError, NotFound
from hsm_sim.client import Role
from hsm_sim.engine import Engine
from hsm_sim.local import LocalHsm
from payments.psam import issue_psam
from payments.psam_keys import HsmPsamKeys
from payments.purse import open_psam
from tests.hsm_bench import LOT, HsmCity, hold
from tests.unit.payments.purse_bench import psam_order

DESK = (Role.ISSUE, Role.TERMS)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> HsmCity:
    return hold(tmp_path_factory.mktemp("city"))


@pytest.fixture(scope="module")
def maker(city: HsmCity) -> ChipMaker:
    made = ChipMaker(os.urandom)
    city.city.room.hand_over(f"lot-{LOT}-01", made.install)
    return made


def keys(city: HsmCity, roles: tuple[Role, ...] = DESK) -> HsmPsamKeys:
    return HsmPsamKeys(LocalHsm(Engine(city.hsm), roles), city.slots, f"lot-{LOT}")


def test_a_blank_of_the_lot_becomes_a_psam(city: HsmCity, maker: ChipMaker) -> None:
    chip = maker.blank("psam")
    psam = issue_psam(chip, replace(psam_order(7), versions=(1, 2)), keys(city))
    assert psam.terminal == (7).to_bytes(6, "big")
    chip.reset()
    again = open_psam(CardSession(chip))
    assert (again.serial, again.application.key_index) == (bytes.fromhex(f"{7:020d}"), 1)


def test_a_chip_of_another_maker_is_not_taken(city: HsmCity) -> None:
    stranger = ChipMaker(os.urandom, prefix=b"FAKE")
    stranger.install(bytearray(range(16)))
    with pytest.raises(ChipError):
        issue_psam(stranger.blank("psam"), psam_order(8), keys(city))


def test_a_version_that_was_never_born_is_no_key(city: HsmCity, maker: ChipMaker) -> None:
    with pytest.raises(NotFound, match="HSM-NO-KEY"):
        issue_psam(maker.blank("psam"), replace(psam_order(9), versions=(3,)), keys(city))


def test_an_unknown_lot_is_no_lot(city: HsmCity) -> None:
    with pytest.raises(NotFound, match="HSM-NO-KEY"):
        HsmPsamKeys(LocalHsm(Engine(city.hsm), DESK), city.slots, "lot-99999")


def test_the_purse_host_may_issue_none(city: HsmCity, maker: ChipMaker) -> None:
    with pytest.raises(CityError, match="HSM-"):
        issue_psam(maker.blank("psam"), psam_order(10), keys(city, (Role.PURSE,)))
