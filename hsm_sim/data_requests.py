"""What registers and the event log ask: field encryption, keyed index, seals over another log (section 5.5)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from hsm_sim.client import Request, Role
from hsm_sim.codec import Layout, end_of_body
from hsm_sim.errors import refusal

MAX_ENTRIES = 16
MAX_DATA = 0x400
NONCE_LENGTH, TAG_LENGTH, VERSION_LENGTH = 12, 16, 2
SEALED_EXTRA = VERSION_LENGTH + NONCE_LENGTH + TAG_LENGTH
MAX_PROOF = 64
_DATA = (Role.DATA,)
_ENTRY = Layout("context:2L data:4L")
_VALUE = Layout("context:2L value:2L")
_PIECE = Layout("data:4L")


@dataclass(frozen=True)
class Entry:
    """One field: `context` (table, column, row identifier) is bound to `data` (at most 1,024 bytes)."""

    context: bytes
    data: bytes = field(repr=False)


def _write(layout: Layout, entries: Sequence[Entry]) -> bytes:
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ValueError("1 to 16 entries")
    packed = b"".join(layout.write(entry.context, entry.data) for entry in entries)
    return f"{len(entries):02X}".encode("ascii") + packed


def _read(layout: Layout, text: str, at: int, max_data: int) -> tuple[tuple[Entry, ...], str]:
    (count,), at = _COUNT.take(text, at)
    if not 1 <= count <= MAX_ENTRIES:
        raise refusal("15", "1 to 16 entries")
    groups, at = layout.repeat(text, at, count)
    entries = [Entry(*values) for values in groups]
    if any(len(entry.data) > max_data for entry in entries):
        raise refusal("80", "an entry is too long")
    return tuple(entries), end_of_body(text, at)


_COUNT = Layout("count:2I")
_KEY = Layout("key:KEY")


def _pieces(data: bytes, count: int) -> tuple[bytes, ...]:
    return tuple(piece for (piece,) in _PIECE.repeat(data.decode("latin-1"), 0, count)[0])


@dataclass(frozen=True)
class EncryptFields(Request[tuple[bytes, ...]]):
    """`80`: AES-256-GCM under a data key. Each answer: version 2, nonce 12, ciphertext, tag 16."""

    code = "80"
    roles = _DATA
    layout = Layout("key:KEY entries:TAIL")
    answer = Layout("pieces:TAIL")
    extra = 0

    key: str
    entries: tuple[Entry, ...]

    def encode(self) -> bytes:
        return self.layout.write(self.key, _write(_ENTRY, self.entries))

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (key,), at = _KEY.take(text)
        entries, trailer = _read(_ENTRY, text, at, MAX_DATA + cls.extra)
        return cls(key, entries), trailer

    def parse(self, data: bytes) -> tuple[bytes, ...]:
        return _pieces(data, len(self.entries))


@dataclass(frozen=True)
class DecryptFields(EncryptFields):
    """`82`: the data of `80` back; HSM-01 when context or bytes are not those that were encrypted."""

    code = "82"
    extra = SEALED_EXTRA


@dataclass(frozen=True)
class ReencryptFields(DecryptFields):
    """`86`: the same data under the newest version of the key."""

    code = "86"


@dataclass(frozen=True)
class KeyedIndex(Request[tuple[bytes, ...]]):
    """`84`: 16 bytes a value, HMAC-SHA-256 under an index key; `partner` separates two receivers' lists.

    An entry's `context` and `data` (at most 255 bytes each) go into the HMAC together. Metered by day.
    """

    code = "84"
    roles = _DATA
    layout = Layout("key:KEY partner:2L entries:TAIL")
    answer = Layout("pieces:TAIL")

    key: str
    entries: tuple[Entry, ...]
    partner: bytes = b""

    def encode(self) -> bytes:
        return self.layout.write(self.key, self.partner, _write(_VALUE, self.entries))

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (key, partner), at = _INDEX_HEAD.take(text)
        entries, trailer = _read(_VALUE, text, at, 255)
        return cls(key, entries, partner), trailer

    def parse(self, data: bytes) -> tuple[bytes, ...]:
        digits = data.decode("ascii")
        return tuple(bytes.fromhex(digits[n : n + 32]) for n in range(0, len(digits), 32))


_INDEX_HEAD = Layout("key:KEY partner:2L")


@dataclass(frozen=True)
class SealLog(Request[str]):
    """`72`: a signed note over another log, as a witness (decision 4).

    The HSM remembers (size, root) of each log number and refuses a smaller size, a second root for one size,
    and growth without a valid consistency proof (HSM-01). `old_size` 0 and no proof for the first seal.
    """

    code = "72"
    roles = (Role.SEAL,)
    layout = Layout("log:2I old_size:16I new_size:16I root:64H count:2I proof:TAIL")
    answer = Layout("note:4L")

    log: int
    old_size: int
    new_size: int
    root: bytes
    proof: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        packed = b"".join(one.hex().upper().encode("ascii") for one in self.proof)
        head = (self.log, self.old_size, self.new_size, self.root, len(self.proof))
        return self.layout.write(*head, packed)

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (*head, count), at = _SEAL_HEAD.take(text)
        if count > MAX_PROOF:
            raise refusal("15", "a proof has at most 64 hashes")
        proof, at = _HASH.repeat(text, at, count)
        log, old_size, new_size, root = head
        hashes = tuple(one for (one,) in proof)
        return cls(log, old_size, new_size, root, hashes), end_of_body(text, at)

    def parse(self, data: bytes) -> str:
        return bytes(self.answer.read(data)[0]).decode("utf-8")


_SEAL_HEAD = Layout("log:2I old_size:16I new_size:16I root:64H count:2I")
_HASH = Layout("hash:64H")
