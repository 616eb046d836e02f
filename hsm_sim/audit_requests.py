"""What an auditor reads: checkpoints, log lines, proofs, the key directory. Nothing here changes a key (5.4)."""

import json
from dataclasses import dataclass
from typing import Any

from hsm_sim.client import Request, Role
from hsm_sim.codec import Layout

_AUDIT = (Role.AUDIT,)
MAX_LINES = 256


@dataclass(frozen=True)
class NewestCheckpoint(Request[str]):
    """`60`: the newest signed note over the log, with all cosignatures."""

    code = "60"
    roles = _AUDIT
    layout = Layout()
    answer = Layout("note:4L")

    def parse(self, data: bytes) -> str:
        return bytes(self.answer.read(data)[0]).decode("utf-8")


_LINE = Layout("line:4L")
_COUNT = Layout("count:4I")
_HASHES = Layout("count:2I")
_HASH = Layout("hash:64H")


@dataclass(frozen=True)
class LogLines(Request[tuple[bytes, ...]]):
    """`62`: up to 256 lines from `first`, without line feeds; fewer when they do not fit into a frame."""

    code = "62"
    roles = _AUDIT
    layout = Layout("first:8I count:4I")
    answer = Layout("count:4I lines:TAIL")

    first: int
    count: int

    def parse(self, data: bytes) -> tuple[bytes, ...]:
        text = data.decode("latin-1")
        (count,), at = _COUNT.take(text)
        return tuple(line for (line,) in _LINE.repeat(text, at, count)[0])


class _Proof(Request[tuple[bytes, ...]]):
    """A proof's hashes, as many as its count says."""

    roles = _AUDIT
    answer = Layout("proof:TAIL")

    def parse(self, data: bytes) -> tuple[bytes, ...]:
        text = data.decode("latin-1")
        (count,), at = _HASHES.take(text)
        return tuple(one for (one,) in _HASH.repeat(text, at, count)[0])


@dataclass(frozen=True)
class InclusionProof(_Proof):
    """`64`: proof that line `index` is in the tree of `size` lines."""

    code = "64"
    layout = Layout("index:8I size:8I")

    index: int
    size: int


@dataclass(frozen=True)
class ConsistencyProof(_Proof):
    """`66`: proof that the tree of `new` lines extends the one of `old` lines."""

    code = "66"
    layout = Layout("old:8I new:8I")

    old: int
    new: int


@dataclass(frozen=True)
class CosignCheckpoint(Request[None]):
    """`68`: give back a checkpoint with the auditor's own signature line on it."""

    code = "68"
    roles = _AUDIT
    layout = Layout("note:4L")

    note: bytes


@dataclass(frozen=True)
class AuditExport(Request[int]):
    """`6A`: ask for an `audit.export` line with the auditor's nonce (20 to 64 hex digits); its number."""

    code = "6A"
    roles = _AUDIT
    layout = Layout("nonce:[0-9A-F]{20,64}")
    answer = Layout("index:8I")

    nonce: str


@dataclass(frozen=True)
class KeyDirectory(Request[list[dict[str, Any]]]):
    """`70`: directory entries from `first` on, never material; fewer than `count` when a frame is full."""

    code = "70"
    roles = _AUDIT
    layout = Layout("first:4I count:4I")
    answer = Layout("entries:TAIL")

    first: int
    count: int

    def parse(self, data: bytes) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(data)
        return found
