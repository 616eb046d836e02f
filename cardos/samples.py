"""Chips with published test keys, for trying readers, terminals and programs (purse-card.md 12.6).

Made as silicon is: a blank chip, and from then on commands only. Every key comes from a master that is
the hash of its name (`master`), so anybody can compute it and none may guard real money. The permit
carries the whole profile, its PIN is 123456, it holds 87.50 CNY and a log of one load and one purchase.
`SampleKeys` gives a PSAM the same purchase master, so that the two can pay each other.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from cardos.card import Card
from cardos.client import CardSession, Protector
from cardos.purse_requests import (
    CreditForLoad,
    DebitForPurchase,
    InitializeForLoad,
    InitializeForPurchase,
)
from cardos.records import ApplicationFile, CardFile, IssuerData, asn_of, card_factor
from cardos.requests import (
    AppendRecord,
    CreateFile,
    PinUnblock,
    SelectFile,
    SelectName,
    UpdateBinary,
    VerifyPin,
    WriteKey,
    authenticate,
)
from cardos.residence_records import StatusRecord
from cardos.spec import (
    AID_PURSE,
    AID_RESIDENCE,
    FID_APPLICATION,
    FID_CARD,
    FID_DIR,
    FID_ISSUER_DATA,
    FID_MF,
    FID_STATUS,
    ISSUER_ID,
    MF_PROFILE,
    PURSE_PROFILE,
    RESIDENCE_PROFILE,
    DirectorySpec,
    KeySpec,
    KeyType,
    Transaction,
)
from cardos.state import Rng
from core import crypto
from core.tlv import Tlv

CARD_SERIAL = "00001000000147"
CHIP_SERIAL = bytes.fromhex("53414D504C453031")
PIN = bytes.fromhex("123456")
FIRST_DAY, LAST_DAY = bytes.fromhex("20070801"), bytes.fromhex("20170731")
TERMINAL = bytes.fromhex("000000000001")
LOADED, SPENT = 10_000, 1_250  # fen
DIRECTORY = ((AID_PURSE, b"PURSE"), (AID_RESIDENCE, b"PERMIT"))
STATUS_ACTIVE = 2  # residence.md 6.6
CONTROL_CHALLENGE = 4


def master(name: str) -> bytes:
    """A published master key: the first 16 bytes of SHA-256 over its name."""
    return hashlib.sha256(f"citycard sample {name}".encode("ascii")).digest()[:16]


def card_key(spec: KeySpec, asn: bytes) -> bytes:
    """The key of one card for a record of the profile: its master by scope, type and version."""
    name = f"{spec.scope} {spec.type & 0x3F:02X}/{spec.id} version {spec.master_version}"
    return crypto.diversify(master(name), card_factor(asn))


def transport_key(chip: bytes) -> bytes:
    """Transport key of a sample chip."""
    return crypto.diversify(master("lot"), chip)


def with_mac(key: bytes) -> Protector:
    """Plain data and MAC."""

    def protect(challenge: bytes, header: bytes, data: bytes) -> bytes:
        message = header + bytes((len(data) + 4,)) + data
        return data + crypto.sm_mac(key, crypto.sm_iv(challenge), message)

    return protect


def enciphered(key: bytes, secret: bytes) -> Protector:
    """`data` is the prefix of a key record, `secret` its key: encrypted, then the MAC."""

    def protect(challenge: bytes, header: bytes, data: bytes) -> bytes:
        return with_mac(key)(challenge, header, crypto.sm_encrypt(key, data + secret))

    return protect


def answer(key: bytes) -> Callable[[bytes], bytes]:
    """What EXTERNAL AUTHENTICATE wants for a challenge."""
    return lambda challenge: crypto.des_encrypt(key, challenge.ljust(8, b"\x00"))


class SampleKeys:
    """The keys of a sample PSAM, in the form `payments.psam.issue_psam` asks an HSM for them."""

    def transport_answer(self, chip: bytes) -> Callable[[bytes], bytes]:
        """Answers the challenge of a delivered chip."""
        return answer(transport_key(chip))

    def control_under_transport(self, chip: bytes, factor: bytes) -> Protector:
        """The PSAM's control key under the transport key."""
        return enciphered(transport_key(chip), self._control(factor))

    def control_under_control(self, factor: bytes) -> Protector:
        """The PSAM's control key under itself."""
        return enciphered(self._control(factor), self._control(factor))

    def purchase_master(self, version: int, factor: bytes) -> Protector:
        """The purchase master of the sample permits."""
        return enciphered(self._control(factor), master(f"purse 3E/{version} version {version}"))

    @staticmethod
    def _control(factor: bytes) -> bytes:
        return crypto.diversify(master("psam control"), factor)


def psam_blank(rng: Rng, t0: bool = False) -> Card:
    """A PSAM chip of the sample lot, for `issue_psam`."""
    return Card.blank("psam", rng, CHIP_SERIAL, transport_key(CHIP_SERIAL), t0)


def permit(rng: Rng, t0: bool = False) -> Card:
    """A whole permit: MF, purse and residence application, handed over, with some money and history."""
    card = Card.blank("permit", rng, CHIP_SERIAL, transport_key(CHIP_SERIAL), t0)
    session, asn = CardSession(card), asn_of(CARD_SERIAL)
    _write_mf(session, asn)
    for profile in (PURSE_PROFILE, RESIDENCE_PROFILE):
        session.send(SelectFile(FID_MF))
        _write_application(session, profile, asn)
    _write_contents(session, asn)
    _hand_over(session, asn)
    _load(session, asn)
    _pay(session, asn)
    card.reset()
    return card


def _key_of(profile: DirectorySpec, kind: int, asn: bytes, key_id: int = 0) -> bytes:
    spec = next(k for k in profile.keys if k.type & 0x3F == kind and k.id == key_id)
    return card_key(spec, asn)


def _write_mf(session: CardSession, asn: bytes) -> None:
    transport = transport_key(CHIP_SERIAL)
    authenticate(session, 0, answer(transport), CONTROL_CHALLENGE)
    control, line = MF_PROFILE.keys
    own = card_key(control, asn)
    session.send_protected(
        WriteKey(0, control.prefix, replaces=control.type), enciphered(transport, own)
    )
    session.send_protected(WriteKey(0, line.prefix), enciphered(own, card_key(line, asn)))
    for file in MF_PROFILE.files:
        session.send(CreateFile(file.fid, file.create_body()))
    for profile in (PURSE_PROFILE, RESIDENCE_PROFILE):
        session.send(CreateFile(profile.fid, profile.create_body()))
    protect = with_mac(card_key(line, asn))
    for aid, label in DIRECTORY:
        entry = bytes(Tlv(0x61, bytes(Tlv(0x4F, aid)) + bytes(Tlv(0x50, label))))
        session.send_protected(AppendRecord(entry, sfi=FID_DIR), protect)
    content = bytes(CardFile(CARD_SERIAL, CHIP_SERIAL, FIRST_DAY, b"\x00\x00\x01"))
    session.send_protected(UpdateBinary(content, sfi=FID_CARD), protect)


def _write_application(session: CardSession, profile: DirectorySpec, asn: bytes) -> None:
    session.send(SelectName(profile.name))  # empty: everything is allowed until it is left
    session.send(CreateFile(profile.key_file.fid, profile.key_file.create_body()))
    under = _key_of(MF_PROFILE, KeyType.CONTROL, asn)
    for spec in profile.keys:
        if spec.type == KeyType.PIN:
            session.send(WriteKey(spec.id, spec.prefix + bytes(len(PIN))))
            continue
        protect = enciphered(under, card_key(spec, asn))
        session.send_protected(WriteKey(spec.id, spec.prefix), protect)
        under = _key_of(profile, KeyType.CONTROL, asn)
    for file in profile.files:
        session.send(CreateFile(file.fid, file.create_body()))


def _write_contents(session: CardSession, asn: bytes) -> None:
    session.send(SelectName(AID_PURSE))
    protect = with_mac(_key_of(PURSE_PROFILE, KeyType.LINE, asn))
    application = bytes(ApplicationFile(ISSUER_ID, asn, FIRST_DAY, LAST_DAY))
    session.send_protected(UpdateBinary(application, sfi=FID_APPLICATION), protect)
    issuer = bytes(IssuerData("6200000000000147", limit=0))
    session.send_protected(UpdateBinary(issuer, sfi=FID_ISSUER_DATA), protect)
    session.send(SelectFile(FID_MF))
    session.send(SelectName(AID_RESIDENCE))
    status = StatusRecord(
        STATUS_ACTIVE, 0, 1, FIRST_DAY, LAST_DAY, LAST_DAY, policy=1, writer=b"\x00\x00\x01"
    )
    protect = with_mac(_key_of(RESIDENCE_PROFILE, KeyType.LINE, asn))
    session.send_protected(UpdateBinary(bytes(status), sfi=FID_STATUS), protect)
    session.send(SelectFile(FID_MF))


def _hand_over(session: CardSession, asn: bytes) -> None:
    """Open the PIN, then make state 2 unreachable: the control keys lead nowhere from now on (12.3)."""
    session.send(SelectName(AID_PURSE))
    unblock = _key_of(PURSE_PROFILE, KeyType.PIN_UNBLOCK, asn)
    session.send_protected(PinUnblock(), enciphered(unblock, PIN))
    for profile in (PURSE_PROFILE, RESIDENCE_PROFILE, MF_PROFILE):
        session.send(SelectFile(FID_MF))
        if profile is not MF_PROFILE:
            session.send(SelectName(profile.name))
        issued = replace(profile.keys[0], third=0)
        own = card_key(issued, asn)
        session.send_protected(
            WriteKey(0, issued.prefix, replaces=issued.type), enciphered(own, own)
        )


def _load(session: CardSession, asn: bytes) -> None:
    session.send(SelectName(AID_PURSE))
    session.send(VerifyPin(PIN))
    init = session.send(InitializeForLoad(1, LOADED, TERMINAL))
    key = _key_of(PURSE_PROFILE, KeyType.LOAD, asn, 1)
    counter = init.counter.to_bytes(2, "big")
    own = crypto.purse_session_key(key, init.random, counter, bytes.fromhex("8000"))
    time = bytes.fromhex("093000")
    text = LOADED.to_bytes(4, "big") + bytes((Transaction.LOAD_EP,)) + TERMINAL + FIRST_DAY + time
    session.send(CreditForLoad(FIRST_DAY, time, crypto.purse_mac(own, text)))


def _pay(session: CardSession, asn: bytes) -> None:
    init = session.send(InitializeForPurchase(1, SPENT, TERMINAL))
    key = _key_of(PURSE_PROFILE, KeyType.PURCHASE, asn, 1)
    counter, serial = init.counter.to_bytes(2, "big"), 0
    own = crypto.purse_session_key(key, init.random, counter, bytes(2))
    time = bytes.fromhex("121500")
    text = (
        SPENT.to_bytes(4, "big") + bytes((Transaction.PURCHASE_EP,)) + TERMINAL + FIRST_DAY + time
    )
    session.send(DebitForPurchase(serial, FIRST_DAY, time, crypto.purse_mac(own, text)))
