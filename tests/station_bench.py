"""A test bench for the station's own work: card data, clear-key stand-ins for the HSM, blank chips."""

import random
from collections.abc import Callable
from datetime import date
from functools import cache

from cardos.card import Card
from cardos.client import Protector
from core import crypto
from core.errors import EvidenceMismatch
from personalization import artwork, records
from personalization.chip import CardKey
from registry import identifiers, portrait
from registry.residence.cards import CardData
from registry.residence.domain import Basis, PermitType

LOT = "07001"
STATUS_KEY = bytes(range(16))


@cache
def master(usage: int, scope: str, version: int = 1) -> bytes:
    """A 16-byte test master, different for every name."""
    return random.Random(f"{usage}/{scope}/{version}").randbytes(16)


@cache
def value(key: CardKey) -> bytes:
    """The card's key."""
    return crypto.diversify(master(key.usage, key.scope, key.version), key.factor)


class ClearKeys:
    """`personalization.chip.CardKeys` with every key in the open: what an HSM does, for tests only."""

    def answer(self, key: CardKey) -> Callable[[bytes], bytes]:
        return lambda challenge: crypto.des_encrypt(value(key), challenge.ljust(8, b"\x00"))

    def load(self, key: CardKey, under: CardKey) -> Protector:
        def protect(challenge: bytes, header: bytes, prefix: bytes) -> bytes:
            data = crypto.sm_encrypt(value(under), prefix + value(key))
            return data + _mac(value(under), challenge, header, data)

        return protect

    def protect(self, key: CardKey) -> Protector:
        return lambda challenge, header, data: data + _mac(value(key), challenge, header, data)

    def check_answer(self, key: CardKey, challenge: bytes, data: bytes, mac: bytes) -> None:
        if crypto.sm_mac(value(key), crypto.sm_iv(challenge), data) != mac:
            raise EvidenceMismatch("HSM-MAC", "the card's answer has a wrong MAC")

    def check_proof(self, key: CardKey, data: bytes, answer: bytes) -> None:
        if crypto.des_encrypt(value(key), data) != answer:
            raise EvidenceMismatch("HSM-MAC", "the card's proof is wrong")

    def check_value(self, key: CardKey) -> str:
        return crypto.des_kcv(value(key)).hex().upper()

    def status_mac(self, body: bytes, card_serial: str) -> bytes:
        return crypto.aes_cmac(STATUS_KEY, body + bytes.fromhex(card_serial))[:8]


def _mac(key: bytes, challenge: bytes, header: bytes, data: bytes) -> bytes:
    head = header + bytes((len(data) + 4,))
    return crypto.sm_mac(key, crypto.sm_iv(challenge), head + data)


def dice(seed: object = 7) -> Callable[[int], bytes]:
    """Seeded bytes."""
    return random.Random(repr(seed)).randbytes


def blank(serial: bytes = b"CHIP0001", lot: str = LOT, **options: object) -> Card:
    """A blank chip of a delivered lot."""
    transport = value(CardKey(19, f"lot-{lot}", 1, serial))
    return Card.blank("permit", dice(serial), serial, transport, **options)  # type: ignore[arg-type]


@cache
def face(seed: str = "bench", sex: int = 2, age: int = 34) -> bytes:
    """A portrait."""
    return portrait.draw(seed, sex, age)


def card_data(number: int = 1, **changes: object) -> CardData:
    """A synthetic resident's card. `number` makes the permit, the account and the acceptance number."""
    values: dict[str, object] = {
        "acc_no": identifiers.make_acceptance_no("011", date(2007, 6, 1), number),
        "point": "011",
        "permit_no": identifiers.make_permit_no(2007, number),
        "permit_type": PermitType.RP,
        "name": "林晓月",
        "sex": 2,
        "ethnic": 1,
        "birth": date(1973, 5, 14),
        "citizen_id": "990101197305140024",
        "household_address": "湖南省示范市试验区样例路八号",
        "address_code": "4403080010010010001010101",
        "address_text": "盐田区沙头角街道金融路十二号三栋五〇二",
        "address_since": date(2007, 3, 2),
        "basis": Basis.EMPLOYMENT,
        "issuer": "深圳市公安局盐田分局",
        "issued_on": date(2007, 6, 18),
        "valid_until": date(2017, 6, 17),
        "ssn": 1,
        "policy": 1,
        "lease_until": date(2007, 9, 16),
        "effective_on": date(2007, 6, 18),
        "purse_account": identifiers.make_purse_account(number),
        "photo": face(),
    }
    return CardData(**{**values, **changes})  # type: ignore[arg-type]


def bound(
    number: int = 1, serial: bytes = b"CHIP0001", lot: str = LOT, **changes: object
) -> records.Bound:
    """Card data tied to a plastic."""
    prepared = records.prepare(card_data(number, **changes), artwork.released())
    card_serial = identifiers.make_card_serial(lot, number)
    return records.bind(prepared, card_serial, serial, lot, ClearKeys().status_mac)
