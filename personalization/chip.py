"""Write a permit's chip: from a blank of a delivered lot to a closed card, in the order of purse-card.md 12.3.

The profile is data (`cardos.spec.PERMIT_PROFILE`: files, rights, keys and which master each comes from),
the contents are data groups from `personalization.records`. No key is seen here: the HSM turns each card
challenge into a cryptogram (commands 32, 14, 30). Three calls make a card::

    serial = identify(card)                    what lies at the contacts
    write(card, order, keys)                   steps 1 to 5
    inspect.read_back(card, order, keys)       step 6, first half
    close(card, order, keys)                   step 6, second half: no way back to production state
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from cardos.client import CardSession, ChipError, Protector
from cardos.records import asn_of, card_factor
from cardos.requests import (
    AppendRecord,
    CreateFile,
    ExternalAuthenticate,
    ReadBinary,
    SelectFile,
    UpdateBinary,
    WriteKey,
    authenticate,
    write_file,
)
from cardos.spec import (
    ALWAYS,
    ATR_OS_VERSION,
    ATR_VENDOR,
    COUNTER_ISSUED,
    FID_CARD,
    FID_MF,
    KIND_MASK,
    MF_PROFILE,
    NEXT_STATE_ISSUED,
    PERMIT_PROFILE,
    PROFILE_VERSION,
    SW,
    DirectorySpec,
    FileKind,
    FileSpec,
    KeySpec,
    KeyType,
    chip_serial,
)
from core.apdu import CardChannel
from core.errors import DeviceFault

CONTROL_CHALLENGE = 4  # control keys answer 4-byte challenges only (README decision 23)
LINE_CHALLENGE = 8
CLOSED_PIN = bytes(3)
TRANSPORT_USAGE = 19
SHORT_WRITE = 0xE0  # more than that goes in pieces
PROBE = FileSpec(0xE0E0, FileKind.BINARY, b"\x00\x01", ALWAYS, ALWAYS)  # a file nobody may create


class BadChip(DeviceFault):
    """The chip cannot become this card. `reason` is the spoilage code of production.md 5 (CH1 to CH6)."""

    def __init__(self, code: str, reason: str, detail: str = "", **facts: str | int) -> None:
        super().__init__(code, detail, reason=reason, **facts)
        self.reason = reason


@dataclass(frozen=True)
class CardKey:
    """Names a key on a card: the master (usage, scope, version) and the factor that makes it the card's own."""

    usage: int
    scope: str
    version: int
    factor: bytes


class CardKeys(Protocol):
    """What the HSM does for one card; cryptograms go out, never a key.

    Challenges are the card's, 4 bytes for control keys, else 8. All raise what the HSM answers
    (`core.errors`); the `check_` methods raise EvidenceMismatch.
    """

    def answer(self, key: CardKey) -> Callable[[bytes], bytes]:
        """Answers an external authentication challenge (HSM 32)."""
        ...

    def load(self, key: CardKey, under: CardKey) -> Protector:
        """The data field of WRITE KEY: `key`, encrypted and with MAC under `under` (HSM 14).

        The protector gets the record's prefix (type, use, change, third, fourth) as data.
        """
        ...

    def protect(self, key: CardKey) -> Protector:
        """Appends the MAC of a line-protected command (HSM 30)."""
        ...

    def check_answer(self, key: CardKey, challenge: bytes, data: bytes, mac: bytes) -> None:
        """The MAC of a protected answer (HSM 38)."""
        ...

    def check_proof(self, key: CardKey, data: bytes, answer: bytes) -> None:
        """The answer to INTERNAL AUTHENTICATE (HSM 3A)."""
        ...

    def check_value(self, key: CardKey) -> str:
        """Six hex digits that tell the card's key from others (HSM 10); for the personalization log."""
        ...


@dataclass(frozen=True)
class DataGroup:
    """Content of one file: directory and file id, and the bytes; a record for record files."""

    directory: int
    file: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class ChipOrder:
    """One card to write. `lot` names the delivered lot whose master made the transport key."""

    card_serial: str
    chip_serial: bytes
    lot: str
    groups: tuple[DataGroup, ...]
    profile: tuple[DirectorySpec, ...] = PERMIT_PROFILE
    profile_version: int = PROFILE_VERSION

    @cached_property
    def factor(self) -> bytes:
        """Factor of every key of the card but the transport key (purse-card.md 12.4)."""
        return card_factor(asn_of(self.card_serial))

    @cached_property
    def transport(self) -> CardKey:
        """The key the chip was delivered with."""
        return CardKey(TRANSPORT_USAGE, f"lot-{self.lot}", 1, self.chip_serial)

    def key(self, spec: KeySpec) -> CardKey:
        """The card's key for a place in the profile. ValueError for the PIN, which has none."""
        if spec.hsm_usage is None:
            raise ValueError("a PIN comes from no master")
        return CardKey(spec.hsm_usage, spec.scope, spec.master_version, self.factor)

    def contents(self, directory: int) -> Mapping[int, list[bytes]]:
        """File id to what goes into it, in order."""
        found: dict[int, list[bytes]] = {}
        for group in self.groups:
            if group.directory == directory:
                found.setdefault(group.file, []).append(group.data)
        return found


def control_key(directory: DirectorySpec) -> KeySpec:
    """Key 39/00: protects the directory's key file."""
    return next(k for k in directory.keys if k.type & KIND_MASK == KeyType.CONTROL and k.id == 0)


def line_key(directory: DirectorySpec) -> KeySpec:
    """Key 36/00: protects writing into its files."""
    return next(k for k in directory.keys if k.type & KIND_MASK == KeyType.LINE)


# -- what lies at the contacts ---------------------------------------------------------------------------


def identify(channel: CardChannel) -> bytes:
    """Reset; the chip's serial from its ATR. BadChip CHIP-ATR (CH5) for another make or version."""
    atr = channel.reset()
    try:
        serial = chip_serial(atr)
    except ValueError as reason:
        raise BadChip("CHIP-ATR", "CH5", atr.hex().upper()) from reason
    history = atr[atr.index(serial) - 4 : atr.index(serial)]
    if history[0] != ATR_OS_VERSION or history[2:] != ATR_VENDOR:
        raise BadChip("CHIP-ATR", "CH5", atr.hex().upper())
    return serial


def card_serial_on(card: CardSession) -> str | None:
    """The card serial in file 0005, or None on a chip that has none yet. Selects the MF."""
    card.send(SelectFile(FID_MF))
    try:
        data = card.send(ReadBinary(16, sfi=FID_CARD))
    except ChipError as refusal:
        if refusal.sw in (SW.FILE_NOT_FOUND, SW.WRONG_KIND):
            return None
        raise
    return data[1:8].hex()


def is_blank(card: CardSession, order: ChipOrder, keys: CardKeys) -> bool:
    """Whether the chip still takes its transport key and holds no card: writing may begin, or begin again.

    Costs a try of the control key when it does not. Leaves the MF selected and authenticated.
    """
    return card_serial_on(card) is None and _opened(card, order, keys) == SW.OK


def _opened(card: CardSession, order: ChipOrder, keys: CardKeys) -> int:
    """Authenticate under the transport key; the status word."""
    challenge = card.challenge(CONTROL_CHALLENGE)
    cryptogram = keys.answer(order.transport)(challenge)
    return card.exchange(ExternalAuthenticate(0, cryptogram).command()).sw


# -- steps 1 to 5 ----------------------------------------------------------------------------------------


def write(
    channel: CardChannel,
    order: ChipOrder,
    keys: CardKeys,
    on_step: Callable[[str], None] = lambda _step: None,
) -> None:
    """Personalize the chip up to EF.STATUS = PENDING; `on_step` hears the name of each directory begun.

    Raises BadChip: CHIP-USED (CH2: it is a card already), CHIP-LOT (CH5: it refuses the lot's transport
    key), CHIP-LOCKED (CH2), CHIP-OTHER (CH6: another chip than the one bound), CHIP-WRITE (CH3, with
    status word and command). DeviceFault CARD-GONE passes through: what the chip did must be asked.
    """
    if identify(channel) != order.chip_serial:
        raise BadChip("CHIP-OTHER", "CH6", "another chip than the one bound lies at the contacts")
    card = CardSession(channel)
    _open_blank(card, order, keys)
    try:
        for directory in order.profile:
            on_step(f"{directory.fid:04X}")
            _write_directory(card, directory, order, keys)
    except ChipError as refusal:
        raise _write_fault(refusal) from refusal


def _write_fault(refusal: ChipError) -> BadChip:
    words = f"{refusal.sw:04X}"
    return BadChip(
        "CHIP-WRITE", "CH3", str(refusal), sw=words, command=refusal.command.hex().upper()
    )


def _open_blank(card: CardSession, order: ChipOrder, keys: CardKeys) -> None:
    """Transport key, tried once: another key set is never tried on a chip that refused (production.md 2.2)."""
    try:
        found = card_serial_on(card)
    except ChipError as refusal:  # no MF, or a blocked card
        raise BadChip("CHIP-LOCKED", "CH2", str(refusal)) from refusal
    if found is not None:
        raise BadChip("CHIP-USED", "CH2", "the chip carries a card serial", card=found)
    sw = _opened(card, order, keys)
    if sw == SW.LOCKED:
        raise BadChip("CHIP-LOCKED", "CH2", "the transport key is locked")
    if sw != SW.OK:
        raise BadChip("CHIP-LOT", "CH5", f"{sw:04X}", lot=order.lot)


def _write_directory(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    card.send(SelectFile(directory.fid))
    if directory.fid == FID_MF:
        _replace_transport_key(card, directory, order, keys)
    else:
        card.send(CreateFile(directory.key_file.fid, directory.key_file.create_body()))
        parent = order.key(control_key(MF_PROFILE))
        first = control_key(directory)
        _add_key(card, first, keys.load(order.key(first), parent))
    _add_keys(card, directory, order, keys)
    _add_files(card, directory, order, keys)
    if directory.fid == FID_MF:
        for child in order.profile[1:]:  # all of them: selecting the first ends the MF's turn
            card.send(CreateFile(child.fid, child.create_body()))
    else:
        card.send(SelectFile(FID_MF))  # leave: from now on the rights count


def _replace_transport_key(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    """The old key protects the new one, and the new one opens the MF from here on."""
    control = control_key(directory)
    protector = keys.load(order.key(control), order.transport)
    request = WriteKey(control.id, control.prefix, replaces=control.type & KIND_MASK)
    card.send_protected(request, protector, CONTROL_CHALLENGE)
    authenticate(card, control.id, keys.answer(order.key(control)))


def _add_keys(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    control = control_key(directory)
    for spec in directory.keys:
        if spec is control:
            continue
        if spec.hsm_usage is None:  # the PIN record is closed, so its value never counts
            card.send(WriteKey(spec.id, spec.prefix + CLOSED_PIN))
        else:
            _add_key(card, spec, keys.load(order.key(spec), order.key(control)))


def _add_key(card: CardSession, spec: KeySpec, protector: Protector) -> None:
    card.send_protected(WriteKey(spec.id, spec.prefix), protector, CONTROL_CHALLENGE)


def _add_files(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    """All files, then all contents; a purse comes last of all, so that a torn card holds none."""
    line = keys.protect(order.key(line_key(directory)))
    purses = [file for file in directory.files if file.type == FileKind.PURSE]
    plain = [file for file in directory.files if file not in purses]
    contents = order.contents(directory.fid)
    for file in plain:
        card.send(CreateFile(file.fid, file.create_body()))
    for file in plain:
        for data in contents.get(file.fid, ()):
            _fill(card, file, data, line)
    for file in purses:
        card.send(CreateFile(file.fid, file.create_body()))


def _fill(card: CardSession, file: FileSpec, data: bytes, line: Protector) -> None:
    if file.type & KIND_MASK != FileKind.BINARY:
        card.send_protected(AppendRecord(data, sfi=file.fid), line, LINE_CHALLENGE)
    elif file.fid <= 0x1F and len(data) <= SHORT_WRITE:
        card.send_protected(UpdateBinary(data, sfi=file.fid), line, LINE_CHALLENGE)
    else:
        write_file(card, file.fid, data, line, LINE_CHALLENGE)


# -- the end of step 6 --------------------------------------------------------------------------------------


def close(channel: CardChannel, order: ChipOrder, keys: CardKeys) -> None:
    """Tighten the line keys' counters, then take the production state out of reach, ADFs first, MF last.

    Afterwards it is tried: an authenticated control key opens nothing any more. Raises BadChip
    CHIP-WRITE (CH3) or CHIP-OPEN (CH4).
    """
    channel.reset()
    card = CardSession(channel)
    try:
        for directory in (*order.profile[1:], *order.profile[:1]):
            _close_directory(card, directory, order, keys)
    except ChipError as refusal:
        raise _write_fault(refusal) from refusal
    channel.reset()
    for directory in order.profile:
        _check_closed(card, directory, order, keys)


def _close_directory(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    _enter(card, directory)
    control = control_key(directory)
    line = replace(line_key(directory), fourth=COUNTER_ISSUED)
    done = replace(control, third=NEXT_STATE_ISSUED)
    for spec in (line, done):
        protector = keys.load(order.key(spec), order.key(control))
        request = WriteKey(spec.id, spec.prefix, replaces=spec.type & KIND_MASK)
        card.send_protected(request, protector, CONTROL_CHALLENGE)


def _enter(card: CardSession, directory: DirectorySpec) -> None:
    card.send(SelectFile(FID_MF))
    if directory.fid != FID_MF:
        card.send(SelectFile(directory.fid))


def _check_closed(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    _enter(card, directory)
    control = control_key(directory)
    authenticate(card, control.id, keys.answer(order.key(control)))
    sw = card.exchange(CreateFile(PROBE.fid, PROBE.create_body()).command()).sw
    if sw != SW.RIGHT_NOT_MET:
        raise BadChip("CHIP-OPEN", "CH4", f"{directory.fid:04X}: {sw:04X}", sw=f"{sw:04X}")
