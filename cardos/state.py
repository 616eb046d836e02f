"""What every command of the chip works on: the memory, the session in RAM, the random source.

A command ends by returning data, or by raising `Sw`; nothing else leaves a handler but `PowerCut`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from cardos.memory import Eeprom
from cardos.spec import SW
from core.apdu import HEADER_LENGTH

Rng = Callable[[int], bytes]


class Sw(Exception):
    """A command ended with this status word; `data` goes before it (only for warnings)."""

    def __init__(self, sw: int, data: bytes = b"") -> None:
        super().__init__(f"{sw:04X}")
        self.sw = int(sw)
        self.data = data


def wrong_length(right: int) -> Sw:
    """6Cxx: send again with Le = `right`."""
    return Sw(0x6C00 | right)


class Apdu(NamedTuple):
    """One command as the handlers see it. `le` None: none was sent; 0: as much as there is."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None

    @property
    def protected(self) -> bool:
        """Class x4: line protection."""
        return self.cla & 0x0F == 0x04

    @property
    def head(self) -> bytes:
        """CLA INS P1 P2 Lc, as line protection's MAC takes them."""
        return bytes((self.cla, self.ins, self.p1, self.p2, len(self.data)))

    @classmethod
    def parse(cls, raw: bytes) -> "Apdu":
        """Split at least four bytes by the four cases of ISO/IEC 7816-3; 6700 when lengths do not add up."""
        cla, ins, p1, p2 = raw[:HEADER_LENGTH]
        size = len(raw) - HEADER_LENGTH - 1
        if size <= 0:
            return cls(cla, ins, p1, p2, b"", raw[HEADER_LENGTH] if size == 0 else None)
        lc = raw[HEADER_LENGTH]
        if lc == 0 or size not in (lc, lc + 1):
            raise Sw(SW.WRONG_LENGTH)
        body = raw[HEADER_LENGTH + 1 : HEADER_LENGTH + 1 + lc]
        return cls(cla, ins, p1, p2, body, raw[-1] if size > lc else None)


@dataclass
class Pending:
    """A purse transaction between INITIALIZE and its second command."""

    type: int
    purse: int  # address of the purse file
    session_key: bytes
    algorithm: int
    amount: int
    terminal: bytes
    key_at: int  # address of the key record
    random: bytes
    capp: dict[tuple[int, int], bytes] = field(default_factory=dict)  # (file, record number): bytes


@dataclass
class SamPending:
    """A PSAM's purchase between 8070 and the next one."""

    key: int  # address of the key record
    session_key: bytes
    algorithm: int
    amount: bytes


@dataclass
class SamTemporary:
    """The key of INIT FOR DESCRYPT and the chaining value of DES CRYPT."""

    kind: int
    key: bytes
    chain: bytes | None = None


@dataclass
class Session:
    """All that a reset clears (purse-card.md 1): states, challenge, pending transactions, selection."""

    path: list[int]  # header addresses from the MF to the current DF
    mf_state: int = 0
    state: int = 0
    free: bool = False  # the "empty directory" rule is in force
    file: int | None = None  # header address of the current EF
    challenge: bytes | None = None
    pending: Pending | None = None
    waiting: bytes = b""  # T=0: data for GET RESPONSE
    sam: SamPending | None = None
    temporary: SamTemporary | None = None

    @property
    def df(self) -> int:
        """Header address of the current directory."""
        return self.path[-1]


@dataclass
class Chip:
    """Memory, session and random source of one chip."""

    memory: Eeprom
    rng: Rng
    session: Session
    is_psam: bool

    def allowed(self, right: int) -> bool:
        """Whether a right byte XY is met now (purse-card.md 3); always in the free state."""
        if self.session.free:
            return True
        x, y = right >> 4, right & 0x0F
        if x == 0:
            return self.session.mf_state >= y
        return y <= self.session.state <= x

    def demand(self, right: int) -> None:
        """6982 unless the right is met."""
        if not self.allowed(right):
            raise Sw(SW.RIGHT_NOT_MET)
