"""Desks and shops: PIN pads with their keys, PSAMs from blank chips, the counters that hand cards over.

A PIN pad gets its TMK as a key block under its transport key; a counter asks the HSM for work keys at once, a
terminal gets its own when it signs on.
"""

from dataclasses import dataclass

from core.apdu import CardChannel, CardReader
from core.clock import purse_date_time
from hsm_sim.ceremony.city import PIN_PAD_KEY
from hsm_sim.client import Hsm
from hsm_sim.generic_requests import GenerateAndExport
from hsm_sim.pinpad import SimPinPad
from hsm_sim.terminal_requests import MASK_TAK, MASK_TPK, MakeWorkKeys, field_62
from payments.psam import PsamOrder, issue_psam
from payments.psam_keys import HsmPsamKeys
from registry.dormancy.hsm_desk import HsmDesk
from registry.points.counter import Counter, PinEntry
from registry.points.places import by_code
from registry.settlers import clerk_at
from runtime.demo.city import LOT, City
from runtime.demo.delivery import MadeCard
from runtime.demo.keys import KeyRoom
from runtime.demo.lanes import Lane

PIN_DIGITS = 6
PIN_ACCOUNT = 12
PSAM_YEARS = 10


@dataclass(frozen=True)
class PadKey:
    """A pad that holds its TMK; `token` is the same key for the host."""

    pad: SimPinPad
    token: str


def key_pad(hsm: Hsm, room: KeyRoom, pad: SimPinPad) -> PadKey:
    """A new TMK for one pad (`A0` mode 1 under the pads' transport key)."""
    made = hsm.call(GenerateAndExport(room.slots[PIN_PAD_KEY], "K0", mode="N"))
    pad.load_master_key(made.exported, made.check_value.hex().upper())
    return PadKey(pad, made.token)


@dataclass(frozen=True)
class CounterDesk:
    """What a lane needs to hand cards over: the counter's pad and the name of its PIN key."""

    pad: SimPinPad
    pin_key: str


def counter_desk(hsm: Hsm, keyed: PadKey) -> CounterDesk:
    """Work keys for a counter's pad (`50`)."""
    keys = hsm.call(MakeWorkKeys(keyed.token, str(MASK_TPK + MASK_TAK)))
    keyed.pad.load_work_keys(field_62(keys))
    return CounterDesk(keyed.pad, keys[0].token)


def hand_over(
    city: City, lane: Lane, desk: HsmDesk, counter: CounterDesk, card: MadeCard, pin: str
) -> None:
    """The holder types a PIN, the chip wakes, the application is closed; the card lies on the reader."""
    point = by_code(card.point)
    counter.pad.type_pin(pin)
    entry = PinEntry(counter.pin_key, counter.pad.pin_block(card.card_serial[-PIN_ACCOUNT:]))
    Counter(city.db, city.clock, desk, lane.reader, point).hand_over(
        card.card_serial, entry, clerk_at(point)
    )


def update_status(city: City, lane: Lane, desk: HsmDesk, card: MadeCard) -> str:
    """Bring the register's present status to a chip at its point; its name."""
    point = by_code(card.point)
    counter = Counter(city.db, city.clock, desk, lane.reader, point)
    return counter.update_status(card.card_serial, clerk_at(point)).name


def make_psam(
    city: City, room: KeyRoom, hsm: Hsm, reader: CardReader, number: int, terminal: bytes
) -> CardChannel:
    """Turn the blank in the slot into a terminal's PSAM; the channel stays open, as in a real terminal."""
    today, _ = purse_date_time(city.clock.now())
    until = f"{int(today.hex()[:4]) + PSAM_YEARS}{today.hex()[4:]}"
    order = PsamOrder(
        number=bytes.fromhex(f"{number:020d}"), terminal=terminal, acceptor=bytes(8), start=today,
        end=bytes.fromhex(until), versions=(1, 2),
    )  # fmt: skip
    channel = reader.connect()
    city.closing.callback(channel.close)
    issue_psam(channel, order, HsmPsamKeys(hsm, room.slots, f"lot-{LOT}"))
    return channel
