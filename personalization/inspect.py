"""Read a freshly written chip back, everything of it, before a drop of ink is spent (purse-card.md 12.3, 4 and 6).

What can be read is compared byte by byte with the order; what cannot be read is made to show itself: keys
by what they open and prove, the closed PIN and the missing rights by being refused.
"""

from cardos.client import A, CardSession, ChipError, Request
from cardos.purse_requests import GetBalance, InitializeForLoad, InitializeForPurchase
from cardos.records import ApplicationFile
from cardos.requests import (
    Fci,
    InternalAuthenticate,
    ReadBinary,
    ReadRecord,
    SelectFile,
    UpdateBinary,
    VerifyPin,
    authenticate,
    read_file,
)
from cardos.spec import (
    FID_APPLICATION,
    FID_MF,
    FID_PURSE_ADF,
    FID_RESIDENCE_ADF,
    FID_STATUS,
    KIND_MASK,
    STATUS_LENGTH,
    SW,
    DirectorySpec,
    FileKind,
    FileSpec,
    KeySpec,
    KeyType,
)
from core.apdu import CardChannel
from core.errors import EvidenceMismatch
from personalization.chip import (
    CLOSED_PIN,
    LINE_CHALLENGE,
    BadChip,
    CardKeys,
    ChipOrder,
    identify,
    line_key,
)

READER_KEY = 1
TRIAL_TERMINAL = bytes(6)  # INITIALIZE alone moves no money, whoever asks
PROOF_BLOCK = bytes.fromhex("A5C3960F7E81D24B")


def read_back(channel: CardChannel, order: ChipOrder, keys: CardKeys) -> int:
    """Compare the whole chip with the order; how many files had content.

    Raises BadChip CHIP-VERIFY (CH4), naming the place; CHIP-OTHER (CH6) when the chip was changed meanwhile.
    Leaves the chip authenticated for nothing that matters: reset it before going on.
    """
    if identify(channel) != order.chip_serial:
        raise BadChip("CHIP-OTHER", "CH6", "another chip lies at the contacts")
    card = CardSession(channel)
    files = 0
    try:
        for directory in order.profile:
            fci = _enter(card, directory)
            if fci.name != directory.name:
                raise _differs(directory.fid, "name")
            if directory.fid == FID_PURSE_ADF:
                _check_purse(card, fci, order)
            if directory.fid == FID_RESIDENCE_ADF:
                _check_residence(card, directory, order, keys)
            files += _check_files(card, directory, order)
    except (ChipError, EvidenceMismatch) as refusal:
        raise BadChip("CHIP-VERIFY", "CH4", str(refusal), place=str(refusal)) from refusal
    return files


def confirm(channel: CardChannel, order: ChipOrder) -> None:
    """A closed chip is still the one of this order: chip serial and card serial. BadChip CHIP-OTHER."""
    if identify(channel) != order.chip_serial:
        raise BadChip("CHIP-OTHER", "CH6", "another chip lies at the contacts")
    card = CardSession(channel)
    fci = _enter(card, order.profile[1])
    application = ApplicationFile.parse(fci.application_file)
    if application.asn.hex() != "000000" + order.card_serial:
        raise BadChip("CHIP-OTHER", "CH6", "the chip carries another card serial")


def _enter(card: CardSession, directory: DirectorySpec) -> Fci:
    fci = card.send(SelectFile(FID_MF))
    return fci if directory.fid == FID_MF else card.send(SelectFile(directory.fid))


def _differs(directory: int, place: str) -> BadChip:
    return BadChip(
        "CHIP-VERIFY", "CH4", f"{directory:04X}/{place}", place=f"{directory:04X}/{place}"
    )


def _check_files(card: CardSession, directory: DirectorySpec, order: ChipOrder) -> int:
    """Every file that got content, byte for byte; how many."""
    contents = order.contents(directory.fid)
    for file in directory.files:
        written = contents.get(file.fid, [])
        if written and _content(card, file, written) != written:
            raise _differs(directory.fid, f"{file.fid:04X}")
    return len(contents)


def _content(card: CardSession, file: FileSpec, written: list[bytes]) -> list[bytes]:
    kind = file.type & KIND_MASK
    if kind == FileKind.BINARY:
        return [read_file(card, file.fid, len(written[0]))]
    records = [card.send(ReadRecord(number + 1, sfi=file.fid)) for number in range(len(written))]
    return records[::-1] if kind == FileKind.CYCLIC else records


def _refused(card: CardSession, request: Request[A], sw: SW, directory: int, place: str) -> None:
    """The chip must say no, and say it in this word."""
    found = card.exchange(request.command()).sw
    if found != sw:
        raise _differs(directory, f"{place} {found:04X}")


def _check_purse(card: CardSession, fci: Fci, order: ChipOrder) -> None:
    """Step 4: empty, payable in both key versions, not loadable before the PIN opens, not writable in clear."""
    here = FID_PURSE_ADF
    if [fci.application_file] != order.contents(here).get(FID_APPLICATION):
        raise _differs(here, "FCI")
    if card.send(GetBalance()) != 0:
        raise _differs(here, "balance")
    for spec in _of_type(order.profile[1], KeyType.PURCHASE):
        init = card.send(InitializeForPurchase(spec.id, 0, TRIAL_TERMINAL))
        if (init.balance, init.key_version) != (0, spec.third):
            raise _differs(here, f"purchase key {spec.id}")
    for spec in _of_type(order.profile[1], KeyType.LOAD):
        load = InitializeForLoad(spec.id, 0, TRIAL_TERMINAL)
        _refused(card, load, SW.RIGHT_NOT_MET, here, "load")
    _refused(card, VerifyPin(CLOSED_PIN), SW.LOCKED, here, "PIN")
    write = UpdateBinary(b"\x00", sfi=FID_APPLICATION)
    _refused(card, write, SW.PROTECTION_MISSING, here, "0015")


def _check_residence(
    card: CardSession, directory: DirectorySpec, order: ChipOrder, keys: CardKeys
) -> None:
    """Status under the card's MAC, the card's own proof, identity shut until the reader key opens it."""
    here = directory.fid
    line = order.key(line_key(directory))
    status = ReadBinary(STATUS_LENGTH, sfi=FID_STATUS)
    shown = card.send_protected(status, keys.protect(line), LINE_CHALLENGE)
    keys.check_answer(line, shown.challenge, shown.data, shown.mac)
    for file in directory.files:
        if file.fid in order.contents(here) and file.read == READ_AFTER_READER:
            _refused(card, _first_bytes(file), SW.RIGHT_NOT_MET, here, f"{file.fid:04X} open")
    for spec in _of_type(directory, KeyType.ENCRYPT):
        proof = card.send(InternalAuthenticate(spec.id, PROOF_BLOCK))
        keys.check_proof(order.key(spec), PROOF_BLOCK, proof)
    reader = next(s for s in _of_type(directory, KeyType.CONTROL) if s.id == READER_KEY)
    authenticate(card, reader.id, keys.answer(order.key(reader)), LINE_CHALLENGE)


READ_AFTER_READER = 0xF1


def _first_bytes(file: FileSpec) -> Request[bytes]:
    if file.type & KIND_MASK == FileKind.BINARY:
        return ReadBinary(1, sfi=file.fid)
    return ReadRecord(1, sfi=file.fid)


def _of_type(directory: DirectorySpec, kind: KeyType) -> list[KeySpec]:
    return [spec for spec in directory.keys if spec.type & KIND_MASK == kind]


def check_values(order: ChipOrder, keys: CardKeys) -> dict[str, str]:
    """What tells each key of the order from others, for the log (purse-card.md 12.3, 6): no secret in it.

    ``directory/type/id`` to the six hex digits of command 10. The chip is not asked.
    """
    return {
        f"{directory.fid:04X}/{spec.type:02X}/{spec.id:02X}": keys.check_value(order.key(spec))
        for directory in order.profile
        for spec in directory.keys
        if spec.hsm_usage is not None
    }
