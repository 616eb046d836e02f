"""Purse cards, PSAMs and fitted-out PIN pads on a real HSM's keys, made in moments: for training and tests.

The ceremonies are the city's own, with a password hash that costs nothing, so never for real keys. A card has the
MF and the purse of the permit profile; what a purse does is the same. Its PIN is opened as at hand-over: a PIN
block from a pad, command 34, PIN UNBLOCK.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cardos.card import Card
from cardos.chipmaker import ChipMaker
from cardos.client import CardSession
from cardos.records import ApplicationFile, CardFile, IssuerData, asn_of, card_factor
from cardos.requests import PinUnblock, SelectName, VerifyPin
from cardos.spec import (
    AID_PURSE,
    FID_APPLICATION,
    FID_CARD,
    FID_HOLDER,
    FID_ISSUER_DATA,
    FID_MF,
    FID_PURSE_ADF,
    ISSUER_ID,
    MF_PROFILE,
    PROFILE_VERSION,
    PURSE_PROFILE,
)
from core.clock import Clock, SystemClock
from hsm_sim.ceremony.city import PIN_PAD_KEY, hold_city_ceremonies
from hsm_sim.client import KeySlots
from hsm_sim.device import Hsm
from hsm_sim.engine import Engine
from hsm_sim.generic_requests import GenerateAndExport
from hsm_sim.issue_requests import UnblockPin, challenge
from hsm_sim.lmkfile import Argon2
from hsm_sim.local import LocalHsm
from hsm_sim.pinpad import SimPinPad
from hsm_sim.terminal_requests import MASK_TAK, MASK_TPK, MakeWorkKeys, field_62
from payments.psam import PsamOrder, issue_psam
from payments.psam_keys import HsmPsamKeys
from personalization import chip
from personalization.chip import ChipOrder, DataGroup
from personalization.hsm_keys import HsmCardKeys

LOT = "07001"
PIN = "123456"
CHEAP = Argon2(memory_kib=64, passes=1, lanes=1)
START, END = bytes.fromhex("20070101"), bytes.fromhex("20991231")
HOLDER = bytes((1,)).ljust(55, b"\x00")


def _cheap(**wanted: Any) -> Hsm:
    """`ceremony.city.MakeHsm` with a hash that costs nothing."""
    return Hsm.make(**wanted, kdf=CHEAP)


class PurseWorks:
    """One HSM with the city's keys, and everything that is made with them."""

    def __init__(
        self, folder: Path, clock: Clock | None = None, limits: Mapping[str, int] | None = None
    ) -> None:
        """`limits` of the HSM other than section 7's: weeks of faults within minutes must not lock a card."""
        home = folder / "hsm"
        city = hold_city_ceremonies(home, clock or SystemClock(), 7, _cheap, folder / "audit", LOT)
        device = city.hsm
        assert isinstance(device, Hsm)
        if limits:
            device.set_policy(device.policy.with_limits(**limits))
        self.hsm = LocalHsm(Engine(device))
        self.slots = KeySlots.load(home / "slots.json")
        room = city.room
        self.maker = ChipMaker(os.urandom)
        room.hand_over(f"lot-{LOT}-01", self.maker.install)
        self._transport = b""
        room.hand_over(PIN_PAD_KEY, self._keep_transport)
        self._card_keys = HsmCardKeys(self.hsm, self.slots)
        self._psam_keys = HsmPsamKeys(self.hsm, self.slots, f"lot-{LOT}")
        self._desk_pad, self._desk_master = self.pad()

    def _keep_transport(self, key: bytearray) -> None:
        self._transport = bytes(key)

    def pad(self) -> tuple[SimPinPad, str]:
        """A pad with transport and master key, and the master key's token for the host."""
        pad = SimPinPad()
        part = os.urandom(16)
        other = bytes(a ^ b for a, b in zip(part, self._transport, strict=True))
        check = next(key.kcv for key in self.slots.keys_known if key.kid == PIN_PAD_KEY)
        pad.load_transport_key((part, other), check)
        made = self.hsm.call(GenerateAndExport(self.slots[PIN_PAD_KEY], "K0"))
        pad.load_master_key(made.exported, made.check_value.hex())
        return pad, made.token

    def psam(self, number: int) -> Card:
        """A PSAM with this number; its terminal number is the same, 6 bytes."""
        order = PsamOrder(
            number=bytes.fromhex(f"{number:020d}"), terminal=number.to_bytes(6, "big"),
            acceptor=bytes(8), start=START, end=END, versions=(1, 2),
        )  # fmt: skip
        card = self.maker.blank("psam")
        issue_psam(card, order, self._psam_keys)
        card.reset()
        return card

    def card(self, card_serial: str, open_pin: bool = True) -> Card:
        """A purse card with this serial, handed over."""
        card = self.maker.blank()
        serial = chip.identify(card)
        order = ChipOrder(
            card_serial, serial, LOT, _groups(card_serial), (MF_PROFILE, PURSE_PROFILE)
        )
        chip.write(card, order, self._card_keys)
        chip.close(card, order, self._card_keys)
        if open_pin:
            self._open_pin(card, card_serial)
        card.reset()
        return card

    def _open_pin(self, card: Card, card_serial: str) -> None:
        keys = self.hsm.call(MakeWorkKeys(self._desk_master, str(MASK_TPK + MASK_TAK)))
        self._desk_pad.load_work_keys(field_62(keys))
        self._desk_pad.type_pin(PIN)
        block = self._desk_pad.pin_block(card_serial[-12:])
        factor = (card_factor(asn_of(card_serial)),)
        master = self.slots.find("16", "purse")

        def protect(random: bytes, _header: bytes, _data: bytes) -> bytes:
            request = UnblockPin(
                master, factor, challenge(random), keys[0].token, card_serial[-12:], block
            )
            return b"".join(self.hsm.call(request))

        card.reset()
        session = CardSession(card)
        session.send(SelectName(AID_PURSE))
        session.send_protected(PinUnblock(), protect)


def verify_pin(card: CardSession) -> None:
    """The holder's PIN."""
    card.send(VerifyPin(bytes.fromhex(PIN)))


def _groups(card_serial: str) -> tuple[DataGroup, ...]:
    card_file = CardFile(
        card_serial,
        LOT.encode().rjust(8, b"\x00"),
        START,
        bytes(3),
        profile_version=PROFILE_VERSION,
    )
    application = ApplicationFile(ISSUER_ID, asn_of(card_serial), START, END)
    account = IssuerData(card_serial.rjust(16, "0"), 0, PROFILE_VERSION)
    return (
        DataGroup(FID_MF, FID_CARD, bytes(card_file)),
        DataGroup(FID_PURSE_ADF, FID_APPLICATION, bytes(application)),
        DataGroup(FID_PURSE_ADF, FID_HOLDER, HOLDER),
        DataGroup(FID_PURSE_ADF, FID_ISSUER_DATA, bytes(account)),
    )
