"""A desk with a reader for the registers' tests: the HSM's part, PIN entry, a card that can be torn out."""

from dataclasses import replace
from datetime import date, datetime
from functools import cache
from typing import ClassVar

from cardos import spec
from cardos.client import CardSession
from cardos.requests import ReadBinary, ReadRecord, SelectName
from cardos.residence_records import (
    Basis,
    ServiceEntry,
    StatusLogRecord,
    StatusRecord,
    parse_services,
)  # fmt: skip
from cardos.slot import Slot
from core import crypto
from core.db import Tx, metadata
from core.errors import DeviceFault, EvidenceMismatch
from registry.dormancy import chip, status
from registry.dormancy.desk import Scope
from registry.identifiers import DIVISION
from registry.points.counter import Counter, PinEntry
from registry.points.places import by_code
from registry.residence import cards
from registry.residence.gate import purse_gate
from registry.services.manifest import shipped
from registry.services.tables import EnrolmentRow, ServiceRow
from tests import chip_bench
from tests.registry_bench import SERIALS, acceptance_of, city, restored, snapshot

SERIAL = SERIALS[0]
CHIP = b"CHIP0001".hex().upper()
PIN = "123456"
SERVICES = (ServiceEntry(101, 1, True, False), ServiceEntry(102, 1, True, True))  # labour, rental


class BenchDesk:
    """The HSM's part with the bench's card keys: the same results, computed here."""

    KEYS: ClassVar[dict[Scope, bytes]] = {
        Scope.PURSE: chip_bench.key("line"),
        Scope.RESIDENCE: chip_bench.key("line"),
        Scope.CARD: chip_bench.key("mf line"),
    }

    def status_mac(self, record: bytes, card_serial: str) -> bytes:
        key = chip_bench.key("status")
        return crypto.des_cbc(key, crypto.pad80(record + bytes.fromhex(card_serial)))[-8:]

    def authenticate_reader(self, card_serial: str, random: bytes) -> bytes:
        return crypto.des_encrypt(chip_bench.key("reader"), random)

    def protect(
        self, scope: Scope, card_serial: str, random: bytes, header: bytes, data: bytes
    ) -> bytes:
        message = header + bytes((len(data) + 4,)) + data
        return data + crypto.sm_mac(self.KEYS[scope], crypto.sm_iv(random), message)

    def check_answer(
        self, scope: Scope, card_serial: str, random: bytes, data: bytes, mac: bytes
    ) -> None:
        if crypto.sm_mac(self.KEYS[scope], crypto.sm_iv(random), data) != mac:
            raise EvidenceMismatch("HSM-01", "the answer is not the card's")

    def unblock_pin(self, card_serial: str, random: bytes, pin_key: str, pin_block: bytes) -> bytes:
        account = bytes.fromhex("0000" + card_serial[-12:])
        field = crypto.xor(pin_block, account).hex()
        pin = bytes.fromhex(field[2 : 2 + int(field[1])])
        key = chip_bench.key("unblock")
        cipher = crypto.sm_encrypt(key, pin)
        message = bytes.fromhex("84240000") + bytes((len(cipher) + 4,)) + cipher
        return cipher + crypto.sm_mac(key, crypto.sm_iv(random), message)


def pin_entry(pin: str = PIN, card: str = SERIAL) -> PinEntry:
    """What a PIN pad gives: format 0 over the last 12 digits of the card serial."""
    field = bytes.fromhex(f"0{len(pin)}{pin}".ljust(16, "f"))
    return PinEntry("tpk", crypto.xor(field, bytes.fromhex("0000" + card[-12:])))


class Tearing:
    """A card that is pulled after so many commands; whole again afterwards."""

    def __init__(self, card, after: int) -> None:
        self.card, self.left = card, after
        self.atr = card.atr

    def transmit(self, apdu: bytes) -> bytes:
        self.left -= 1
        answer = self.card.transmit(apdu)
        if self.left < 0:
            raise DeviceFault("CARD-GONE", "the card was pulled")
        return answer

    def reset(self) -> bytes:
        return self.card.reset()

    def close(self) -> None:
        pass


class Renumbered(Tearing):
    """The same kind of chip under another serial number in its ATR."""

    def __init__(self, card, serial: bytes) -> None:
        super().__init__(card, 1_000_000)
        self.atr = card.atr.replace(b"CHIP0001", serial)

    def reset(self) -> bytes:
        super().reset()
        return self.atr


def live_and_used(tx: Tx, now: datetime, code: str, permit_no: str) -> None:
    """A service that went live long ago, and a holder who uses it."""
    service = shipped()[code]
    tx.add(
        ServiceRow(
            code=code, number=service.id, version=service.version, state="LIVE", limited_to=None,
            changed_at=now,
        )
    )  # fmt: skip
    tx.flush()
    tx.add(
        EnrolmentRow(
            permit_no=permit_no, code=code, consent="form 17", enrolled_at=now, active=True
        )
    )


@cache
def _waiting(division: str, _tables: int) -> tuple[bytes, tuple[str, str, cards.CardData]]:
    """A city with one permit whose card waits at the point: the database, permit, job and card data."""
    town = city(division=division)
    with town.db.write() as tx:
        permit_no, job = town.hold_permit(tx, 0, date(2007, 4, 2))
        town.make_card(tx, permit_no, SERIAL, CHIP)
        for code in ("labour", "rental"):
            live_and_used(tx, town.clock.now(), code, permit_no)
        data = cards.card_data(tx, acceptance_of(tx, permit_no))
    return snapshot(town.db), (permit_no, job, data)


class Desk23:
    """A city with one permit whose card waits at point 001, and a counter there."""

    def __init__(self, division: str = DIVISION) -> None:
        kept, made = _waiting(division, len(metadata.tables))
        self.town = replace(city(division=division), db=restored(kept))
        self.permit_no, self.job, data = made
        self.slot = Slot("desk")
        self.chip = chip_bench.permit().card
        self.desk = BenchDesk()
        self.counter = Counter(self.town.db, self.town.clock, self.desk, self.slot, by_code("001"))
        self.slot.insert(self.chip)
        with_pending = status.pending_record(data, "001")
        self.look(
            lambda card: chip.write_status(
                card, self.desk, SERIAL, chip.ChipContent(with_pending, Basis(0))
            )
        )

    def another_card(self, serial: bytes, card_serial: str) -> Renumbered:
        """A finished card of the permit with another chip, status PENDING on it."""
        made = Renumbered(chip_bench.permit().card, serial)
        with self.town.db.read() as tx:
            data = cards.card_data(tx, cards.by_serial(tx, card_serial).acc_no)
        content = chip.ChipContent(status.pending_record(data, "001"), Basis(0))
        chip.write_status(CardSession(made), self.desk, card_serial, content)
        return made

    def look(self, act):
        """Do something with the card as any reader could."""
        channel = self.slot.connect()
        try:
            card = CardSession(channel)
            return act(card)
        finally:
            channel.close()

    def residence(self, act):
        def there(card: CardSession):
            card.send(SelectName(spec.AID_RESIDENCE))
            chip.open_reader_files(card, self.desk, SERIAL)
            return act(card)

        return self.look(there)

    def record(self) -> StatusRecord:
        return self.residence(
            lambda card: StatusRecord.parse(card.send(ReadBinary(32, sfi=spec.FID_STATUS)))
        )

    def services(self) -> tuple[ServiceEntry, ...]:
        read = ReadBinary(128, sfi=spec.FID_SERVICES)
        return self.residence(lambda card: parse_services(card.send(read)))

    def basis(self) -> Basis:
        return self.residence(
            lambda card: Basis.parse(card.send(ReadBinary(8, sfi=spec.FID_BASIS)))
        )

    def log(self, number: int) -> StatusLogRecord:
        read = ReadRecord(number, sfi=spec.FID_STATUS_LOG & 0x1F)
        return self.residence(lambda card: StatusLogRecord.parse(card.send(read)))

    def gate(self) -> str:
        with self.town.db.read() as tx:
            return purse_gate(tx, SERIAL).response_code
