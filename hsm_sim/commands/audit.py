"""What an auditor may read over the port; nothing here touches a key (5.4)."""

from core import merkle
from hsm_sim import canonical, note
from hsm_sim.audit_requests import (
    MAX_LINES,
    AuditExport,
    ConsistencyProof,
    CosignCheckpoint,
    InclusionProof,
    KeyDirectory,
    LogLines,
    NewestCheckpoint,
)
from hsm_sim.codec import with_length
from hsm_sim.errors import refusal
from hsm_sim.frame import ANSWER_ROOM
from hsm_sim.work import Work, handles


@handles(NewestCheckpoint)
def newest_checkpoint(work: Work, request: NewestCheckpoint) -> bytes:
    """`60`."""
    assert request.code == "60"
    return with_length(work.hsm.log.newest_checkpoint().encode("utf-8"))


@handles(LogLines)
def log_lines(work: Work, request: LogLines) -> bytes:
    """`62`: as many of the lines as fit into a frame; HSM-80 when not even the first does."""
    if request.count > MAX_LINES:
        raise refusal("15", "at most 256 lines")
    room, taken = work.hsm.frame_limit - ANSWER_ROOM, []
    for line in work.hsm.log.lines(request.first, request.count):
        piece = with_length(line)
        if len(piece) > room:
            break
        room -= len(piece)
        taken.append(piece)
    if not taken and request.count and request.first < work.hsm.log.size:
        raise refusal("80", "the line is longer than a frame")
    return f"{len(taken):04X}".encode("ascii") + b"".join(taken)


def _proof(hashes: list[bytes]) -> bytes:
    return (f"{len(hashes):02X}" + b"".join(hashes).hex().upper()).encode("ascii")


@handles(InclusionProof)
def inclusion_proof(work: Work, request: InclusionProof) -> bytes:
    """`64`."""
    if not request.index < request.size <= work.hsm.log.size:
        raise refusal("15", "no such line or size")
    return _proof(work.hsm.log.inclusion(request.index, request.size))


@handles(ConsistencyProof)
def consistency_proof(work: Work, request: ConsistencyProof) -> bytes:
    """`66`."""
    if not 0 < request.old <= request.new <= work.hsm.log.size:
        raise refusal("15", "no such sizes")
    return _proof(work.hsm.log.consistency(request.old, request.new))


@handles(CosignCheckpoint)
def cosign_checkpoint(work: Work, request: CosignCheckpoint) -> bytes:
    """`68`: kept only with our own signature and those of auditors on the roster (HSM-01 else)."""
    try:
        work.hsm.log.cosign(request.note.decode("utf-8"), work.hsm.auditors())
    except (note.BadNote, UnicodeDecodeError):
        raise refusal("01", "not one of our checkpoints") from None
    return b""


@handles(AuditExport)
def audit_export(work: Work, request: AuditExport) -> bytes:
    """`6A`: the `audit.export` line over the key directory as it is now."""
    return f"{work.hsm.export_audit(request.nonce.lower()):08X}".encode("ascii")


@handles(KeyDirectory)
def key_directory(work: Work, request: KeyDirectory) -> bytes:
    """`70`: canonical JSON array, as many entries as fit."""
    room = work.hsm.frame_limit - ANSWER_ROOM
    rows: list[bytes] = []
    for entry in work.hsm.directory()[request.first : request.first + request.count]:
        row = canonical.encode({**entry, "uses": work.hsm.usage.uses(str(entry["kid"]))})
        if len(row) + 1 > room:
            break
        room -= len(row) + 1
        rows.append(row)
    return b"[" + b",".join(rows) + b"]"


def extends(old: tuple[int, bytes], new: tuple[int, bytes], proof: list[bytes]) -> bool:
    """Whether the tree `new` (size, root) is `old` only longer; an empty old tree is a prefix of all."""
    if old[0] == 0:
        return not proof
    if old[0] == new[0]:
        return old[1] == new[1] and not proof
    return merkle.verify_consistency(old[0], new[0], old[1], new[1], proof)
