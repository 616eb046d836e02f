"""What every command of the chip works on: the memory, the session in RAM, the random source.

A command ends by returning data, or by raising `Sw`; nothing else leaves a handler but `PowerCut`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from cardos.memory import Eeprom
from cardos.spec import SW

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


@dataclass(frozen=True)
class Apdu:
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
