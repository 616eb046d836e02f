"""A counter with test keys: permits and PSAMs made by commands, a host that loads, cards that get torn.

The only place in these tests that computes with keys; the procedures under test never see one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from cardos.card import Card
from cardos.client import CardSession, Protector
from cardos.records import ApplicationFile, asn_of, card_factor
from cardos.requests import (
    CreateFile,
    PinUnblock,
    SelectFile,
    SelectName,
    UpdateBinary,
    VerifyPin,
    WriteKey,
    authenticate,
)
from cardos.spec import (
    AID_PURSE,
    FID_MF,
    ISSUER_ID,
    PURSE_PROFILE,
    WITH_MAC,
    KeySpec,
    KeyType,
)
from core import crypto
from core.errors import DeviceFault
from payments.psam import PsamOrder, issue_psam
from payments.purse import Psam, open_purse
from payments.purse_load import begin_load, finish_load
from payments.purse_records import LoadRecord, LoadRequest, PurchaseRecord

MASTERS = {int(kind): bytes(range(16 * n, 16 * n + 16)) for n, kind in enumerate(KeyType)}
LOT_MASTER = bytes.fromhex("2712017A16D9AC0C0566A8967B367BC5")
PSAM_MASTER = bytes.fromhex("4604880CC1C40282C2446777A8199290")
CHIP = bytes.fromhex("1122334455667788")
PIN = bytes.fromhex("123456")
START, END = bytes.fromhex("20070101"), bytes.fromhex("20171231")
WHITE = b"\xff" * 8


def card_key(asn: bytes, kind: int) -> bytes:
    return crypto.diversify(MASTERS[kind & 0x3F], card_factor(asn))


def mac_only(key: bytes) -> Protector:
    def protect(challenge: bytes, header: bytes, data: bytes) -> bytes:
        message = header + bytes((len(data) + 4,)) + data
        return data + crypto.sm_mac(key, crypto.sm_iv(challenge), message)

    return protect


def cipher(key: bytes, secret: bytes) -> Protector:
    """Encrypted with MAC: `data` is the prefix, `secret` what the business side never sees."""

    def protect(challenge: bytes, header: bytes, data: bytes) -> bytes:
        return mac_only(key)(challenge, header, crypto.sm_encrypt(key, data + secret))

    return protect


class TestKeys:
    """`payments.psam.PsamKeys` with keys in the open: for tests only."""

    __test__ = False

    def transport_answer(self, chip: bytes) -> Callable[[bytes], bytes]:
        key = crypto.diversify(LOT_MASTER, chip)
        return lambda challenge: crypto.des_encrypt(key, challenge.ljust(8, b"\x00"))

    def control_under_transport(self, chip: bytes, factor: bytes) -> Protector:
        return cipher(crypto.diversify(LOT_MASTER, chip), crypto.diversify(PSAM_MASTER, factor))

    def control_under_control(self, factor: bytes) -> Protector:
        key = crypto.diversify(PSAM_MASTER, factor)
        return cipher(key, key)

    def purchase_master(self, version: int, factor: bytes) -> Protector:
        return cipher(crypto.diversify(PSAM_MASTER, factor), MASTERS[KeyType.PURCHASE])


def psam_order(number: int = 1) -> PsamOrder:
    return PsamOrder(
        number=bytes.fromhex(f"{number:020d}"),
        terminal=number.to_bytes(6, "big"),
        acceptor=bytes(8),
        start=START,
        end=END,
    )


def make_psam(number: int = 1) -> tuple[Card, Psam]:
    transport = crypto.diversify(LOT_MASTER, CHIP)
    chip = Card.blank(kind="psam", serial=CHIP, transport_key=transport)
    return chip, issue_psam(chip, psam_order(number), TestKeys())


def _write_key(card: CardSession, spec: KeySpec, asn: bytes, under: bytes) -> None:
    if spec.type == KeyType.PIN:
        card.send(WriteKey(spec.id, spec.prefix + bytes(3)))
        return
    secret = card_key(asn, spec.type)
    card.send_protected(WriteKey(spec.id, spec.prefix), cipher(under, secret), challenge_length=4)


def make_permit(card_serial: str = "00001000000147", pin_open: bool = True) -> Card:
    """A white card with the purse application of the permit profile, the PIN handed over."""
    chip = Card.blank(serial=CHIP)
    card, asn = CardSession(chip), asn_of(card_serial)
    card.send(SelectFile(FID_MF))
    authenticate(card, 0, lambda c: crypto.des_encrypt(WHITE, c.ljust(8, b"\x00")))
    card.send(CreateFile(PURSE_PROFILE.fid, PURSE_PROFILE.create_body()))
    card.send(SelectFile(PURSE_PROFILE.fid))
    card.send(CreateFile(PURSE_PROFILE.key_file.fid, PURSE_PROFILE.key_file.create_body()))
    under = WHITE
    for spec in PURSE_PROFILE.keys:
        _write_key(card, spec, asn, under)
        under = card_key(asn, KeyType.CONTROL)
    for file in PURSE_PROFILE.files:
        card.send(CreateFile(file.fid, file.create_body()))
    content = bytes(ApplicationFile(ISSUER_ID, asn, START, END))
    line = mac_only(card_key(asn, KeyType.LINE))
    assert PURSE_PROFILE.files[0].type & WITH_MAC
    card.send_protected(UpdateBinary(content, sfi=0x15), line)
    if pin_open:
        unblock = cipher(card_key(asn, KeyType.PIN_UNBLOCK), PIN)
        card.send(SelectName(AID_PURSE))
        card.send_protected(PinUnblock(), unblock)
    chip.reset()
    return chip


def verify_pin(card: CardSession) -> None:
    card.send(VerifyPin(PIN))


@dataclass
class Book:
    """A journal in memory; `lines` are what a terminal would find after a power loss."""

    lines: list[PurchaseRecord] = field(default_factory=list)
    loads: list[LoadRecord] = field(default_factory=list)

    def purchase(self, record: PurchaseRecord) -> None:
        self.lines.append(record)

    def load(self, record: LoadRecord) -> None:
        self.loads.append(record)

    @property
    def statuses(self) -> list[str]:
        return [str(line.status) for line in self.lines]

    @property
    def load_statuses(self) -> list[str]:
        return [str(line.status) for line in self.loads]


def host_mac2(request: LoadRequest, date: bytes, time: bytes) -> bytes:
    """The purse host: MAC1 must be right, then it gives MAC2 (purse-card.md 8.1)."""
    key = card_key(request.asn, KeyType.LOAD)
    counter = request.counter.to_bytes(2, "big")
    session = crypto.purse_session_key(key, request.random, counter, bytes.fromhex("8000"))
    amount, kind = request.amount.to_bytes(4, "big"), bytes((request.type,))
    balance = request.balance.to_bytes(4, "big")
    assert request.mac1 == crypto.purse_mac(session, balance + amount + kind + request.psam)
    return crypto.purse_mac(session, amount + kind + request.psam + date + time)


def tac_of_purchase(record: PurchaseRecord) -> bytes:
    message = record.amount.to_bytes(4, "big") + bytes((record.type,)) + record.psam
    message += record.terminal_counter.to_bytes(4, "big") + record.date + record.time
    return crypto.tac(card_key(record.asn, KeyType.TAC), message)


def tac_of_load(record: LoadRecord) -> bytes:
    asked = record.request
    message = (asked.balance + asked.amount).to_bytes(4, "big") + asked.counter.to_bytes(2, "big")
    message += asked.amount.to_bytes(4, "big") + bytes((asked.type,)) + asked.psam
    return crypto.tac(card_key(asked.asn, KeyType.TAC), message + record.date + record.time)


def load(chip: Card, amount: int, book: Book | None = None) -> LoadRecord:
    """A whole load at a terminal, from an unpowered card."""
    chip.reset()
    card = CardSession(chip)
    purse = open_purse(card)
    verify_pin(card)
    request = begin_load(card, purse, 1, amount, bytes(6))
    date, time = bytes.fromhex("20070618"), bytes.fromhex("103000")
    journal = (book or Book()).load
    return finish_load(card, request, date, time, host_mac2(request, date, time), journal)


class Torn:
    """A channel on which the card is pulled around its `at`-th command.

    `executed`: the chip did the command and only the answer is lost; else it never saw it.
    """

    def __init__(self, chip: Card, at: int, executed: bool) -> None:
        self.chip, self.left, self.executed = chip, at, executed

    def transmit(self, apdu: bytes) -> bytes:
        if self.left == 0 and not self.executed:
            raise DeviceFault("CARD-GONE", "pulled before the command")
        answer = self.chip.transmit(apdu)
        if self.left == 0:
            raise DeviceFault("CARD-GONE", "pulled before the answer")
        self.left -= 1
        return answer


class Liar:
    """A relay that lets a command through and answers its own status word (purse-card.md 8.11)."""

    def __init__(self, chip: Card, ins: int, sw: bytes) -> None:
        self.chip, self.ins, self.sw = chip, ins, sw

    def transmit(self, apdu: bytes) -> bytes:
        answer = self.chip.transmit(apdu)
        if apdu[1] == self.ins:
            self.ins = -1
            return self.sw
        return answer
