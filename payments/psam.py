"""Issue a PSAM by commands: the terminal's security module with the city's purchase master (purse-card.md 9, 12.4).

A blank from a delivered lot carries a transport key. The desk replaces it by the PSAM's own control key,
writes number and terminal, makes the purse application and loads the purchase masters: one of the
few keys that leave the HSM underived, encrypted for this one chip (hsm-and-ceremony.md 5.3, R-44). The
control key keeps its next state, so that a new master version can be loaded later by the HSM alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cardos.client import CardSession, Protector
from cardos.psam_requests import InitSamForPurchase
from cardos.records import FACTOR_LENGTH, PsamApplication, PsamInfo
from cardos.requests import (
    CreateFile,
    SelectFile,
    UpdateBinary,
    WriteKey,
    authenticate,
)
from cardos.spec import (
    AID_PURSE,
    ALGORITHM_TDES,
    ALWAYS,
    COUNTER_ISSUED,
    FID_MF,
    FID_PSAM_APPLICATION,
    FID_PSAM_INFO,
    FID_PSAM_SERIAL,
    FID_PSAM_TERMINAL,
    ISSUER_ID,
    KEY_PROTECTED,
    NEVER,
    NEXT_STATE_PRODUCTION,
    PSAM_APPLICATION_LENGTH,
    PSAM_INFO_LENGTH,
    PSAM_PURCHASE_USAGE,
    STATE_2,
    DirectorySpec,
    FileKind,
    FileSpec,
    KeyFileSpec,
    KeyType,
    Transaction,
    chip_serial,
)
from core.apdu import CardChannel
from core.errors import DeviceFault, EvidenceMismatch
from payments.purse import Psam, open_psam

FID_PSAM_ADF = 0xDF01
NUMBER_LENGTH = 10
TERMINAL_LENGTH = 6
CONTROL_TYPE = KeyType.CONTROL | KEY_PROTECTED
CONTROL_PREFIX = bytes((CONTROL_TYPE, ALWAYS, ALWAYS, NEXT_STATE_PRODUCTION, COUNTER_ISSUED))
USAGE_FORM = 0x00  # P1 of WRITE KEY for a record in usage form
IN_MF_STATE_2 = 0x02


def _binary(fid: int, size: int, write: int) -> FileSpec:
    return FileSpec(fid, FileKind.BINARY, size.to_bytes(2, "big"), ALWAYS, write)


MF_FILES = (
    _binary(FID_PSAM_INFO, PSAM_INFO_LENGTH, IN_MF_STATE_2),
    _binary(FID_PSAM_TERMINAL, TERMINAL_LENGTH, IN_MF_STATE_2),
)
PSAM_ADF = DirectorySpec(
    fid=FID_PSAM_ADF,
    name=AID_PURSE,
    space=0x0140,
    create=NEVER,
    erase=NEVER,
    app_file=0x00,
    key_file=KeyFileSpec(0x0090, 0x80, STATE_2),
    files=(
        _binary(FID_PSAM_APPLICATION, PSAM_APPLICATION_LENGTH, STATE_2),
        _binary(FID_PSAM_SERIAL, 4, NEVER),
    ),
)


@dataclass(frozen=True)
class PsamOrder:
    """What a new PSAM gets. `number` 10 bytes BCD, `terminal` 6 bytes, dates 4 bytes BCD.

    `key_index` is the key id terminals send in 8050, `versions` the purchase master versions to load.
    """

    number: bytes
    terminal: bytes
    acceptor: bytes
    start: bytes
    end: bytes
    issuer: bytes = ISSUER_ID
    key_index: int = 1
    versions: tuple[int, ...] = (1,)

    @property
    def factor(self) -> bytes:
        """Factor of the PSAM's control key: the last 8 bytes of its number."""
        return self.number[-FACTOR_LENGTH:]


class PsamKeys(Protocol):
    """What the desk's HSM does for one PSAM; it gives cryptograms, never a key.

    The protectors take the card's 4-byte challenge, the header and the record's prefix.
    """

    def transport_answer(self, chip: bytes) -> Callable[[bytes], bytes]:
        """Answers a 4-byte challenge under the lot's transport key of this chip (HSM 32)."""
        ...

    def control_under_transport(self, chip: bytes, factor: bytes) -> Protector:
        """The PSAM's control key under the chip's transport key (HSM 14)."""
        ...

    def control_under_control(self, factor: bytes) -> Protector:
        """The PSAM's control key under itself, for the next directory (HSM 14)."""
        ...

    def purchase_master(self, version: int, factor: bytes) -> Protector:
        """A purchase master under the PSAM's control key (HSM 52)."""
        ...


def issue_psam(channel: CardChannel, order: PsamOrder, keys: PsamKeys) -> Psam:
    """Turn a blank PSAM chip into the PSAM of `order`; returns it opened and checked.

    Raises DeviceFault PSAM-CHIP (not a blank of ours), ChipError, EvidenceMismatch PSAM-CHECK. A chip on
    which it failed half-way is spoiled: it never becomes a second PSAM.
    """
    if len(order.number) != NUMBER_LENGTH or len(order.terminal) != TERMINAL_LENGTH:
        raise ValueError("a PSAM number has 10 bytes, a terminal number 6")
    try:
        chip = chip_serial(channel.reset())
    except ValueError as reason:
        raise DeviceFault("PSAM-CHIP", str(reason)) from reason
    card = CardSession(channel)
    _write_mf(card, chip, order, keys)
    _write_application(card, order, keys)
    channel.reset()
    return _read_back(card, order)


def _write_mf(card: CardSession, chip: bytes, order: PsamOrder, keys: PsamKeys) -> None:
    card.send(SelectFile(FID_MF))
    authenticate(card, 0, keys.transport_answer(chip))
    replace_control = WriteKey(0, CONTROL_PREFIX, replaces=CONTROL_TYPE)
    protector = keys.control_under_transport(chip, order.factor)
    card.send_protected(replace_control, protector, challenge_length=4)
    contents = (bytes(PsamInfo(order.number)), order.terminal)
    for file, content in zip(MF_FILES, contents, strict=True):
        card.send(CreateFile(file.fid, file.create_body()))
        card.send(UpdateBinary(content, sfi=file.fid))


def _write_application(card: CardSession, order: PsamOrder, keys: PsamKeys) -> None:
    card.send(CreateFile(PSAM_ADF.fid, PSAM_ADF.create_body()))
    card.send(SelectFile(PSAM_ADF.fid))  # empty: everything is allowed until it is left
    card.send(CreateFile(PSAM_ADF.key_file.fid, PSAM_ADF.key_file.create_body()))
    first = keys.control_under_control(order.factor)
    card.send_protected(WriteKey(0, CONTROL_PREFIX), first, challenge_length=4)
    for version in order.versions:
        prefix = bytes((PSAM_PURCHASE_USAGE, version, ALGORITHM_TDES))
        write = WriteKey(0, prefix, replaces=USAGE_FORM)
        card.send_protected(write, keys.purchase_master(version, order.factor), challenge_length=4)
    for file in PSAM_ADF.files:
        card.send(CreateFile(file.fid, file.create_body()))
    application = PsamApplication(
        order.key_index, order.issuer, order.acceptor, order.start, order.end
    )
    card.send(UpdateBinary(bytes(application), sfi=FID_PSAM_APPLICATION))


def _read_back(card: CardSession, order: PsamOrder) -> Psam:
    """Open it as a terminal does, and see that every purchase master answers (amount 0, number unused)."""
    psam = open_psam(card)
    expected = (order.number, order.terminal, order.key_index, order.issuer, order.acceptor)
    application = psam.application
    found = (
        psam.serial,
        psam.terminal,
        application.key_index,
        application.issuer,
        application.acceptor,
    )
    if found != expected:
        raise EvidenceMismatch("PSAM-CHECK", "the PSAM's files differ from the order")
    for version in order.versions:
        probe = InitSamForPurchase(
            random=bytes(4),
            counter=0,
            amount=0,
            kind=Transaction.PURCHASE_EP,
            date=order.start,
            time=bytes(3),
            key_version=version,
            algorithm=ALGORITHM_TDES,
            factors=(order.factor,),
        )
        card.send(probe)
    return psam
