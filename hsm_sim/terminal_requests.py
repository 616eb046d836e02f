"""What terminals need: work keys at sign-on, and the purchase master inside a PSAM (section 5.3)."""

from dataclasses import dataclass
from typing import Any

from hsm_sim.client import Request, Role
from hsm_sim.codec import Layout

MASK_TPK, MASK_TAK, MASK_TEK = 1, 2, 4
TRANSPORT_HEX = {"D1": 16, "T2": 32}


@dataclass(frozen=True)
class WorkKey:
    """A new work key: token for the host, the same key wrapped for the terminal, check value.

    `wrapped` is the key under the TMK: raw bytes under wrap X, the text of a key block under wrap R.
    """

    token: str
    wrapped: bytes
    check_value: bytes


@dataclass(frozen=True)
class MakeWorkKeys(Request[tuple[WorkKey, ...]]):
    """`50`: work keys for a terminal, in the order TPK, TAK, TEK of those the mask names.

    `mask` adds 1 TPK, 2 TAK, 4 TEK; `algorithm` of TPK and TEK is T2, `mac_algorithm` T2 or D1; `wrap` is R
    (key block) or X (TDES-ECB, as field 62 wants it); `long_check` asks for 8-digit check values.
    """

    code = "50"
    roles = (Role.TERMS,)
    layout = Layout("master:KEY mask:[1-7] algorithm:2A mac_algorithm:2A wrap:[RX] long_check:[01]")
    answer = Layout("keys:TAIL")

    master: str
    mask: str
    algorithm: str = "T2"
    mac_algorithm: str = "T2"
    wrap: str = "X"
    long_check: str = "1"

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Algorithm of each key asked for, in order."""
        mask = int(self.mask)
        every = ((1, self.algorithm), (2, self.mac_algorithm), (4, self.algorithm))
        return tuple(algorithm for bit, algorithm in every if mask & bit)

    def parse(self, data: bytes) -> tuple[WorkKey, ...]:
        text, at, keys = data.decode("latin-1"), 0, []
        for algorithm in self.algorithms:
            wrapped = "BLOCK" if self.wrap == "R" else f"{TRANSPORT_HEX[algorithm]}H"
            check = "8H" if self.long_check == "1" else "6H"
            values, at = Layout(f"token:KEY wrapped:{wrapped} kcv:{check}").take(text, at)
            token, key, kcv = values
            keys.append(WorkKey(token, key if isinstance(key, bytes) else key.encode(), kcv))
        return tuple(keys)


@dataclass(frozen=True)
class ProtectPsamKey(Request[bytes]):
    """`52`: a purchase master for a PSAM, as data of WRITE KEY under the PSAM's control key (R-44).

    `line` is the PSAM control master, `line_factors` the last 8 bytes of the PSAM's number; `factors` is
    empty in the pilot, because a PSAM derives card keys itself. Other fields as in `14`.
    """

    code = "52"
    roles = (Role.TERMS,)
    layout = Layout(
        "master:KEY factors:DIV line:KEY line_factors:DIV random:16H header:10H prefix:2L"
    )
    answer = Layout("data:4L")

    master: str
    factors: tuple[bytes, ...]
    line: str
    line_factors: tuple[bytes, ...]
    random: bytes
    header: bytes
    prefix: bytes


def field_62(keys: tuple[WorkKey, ...]) -> bytes:
    """Field 62 of a sign-on answer from work keys wrapped X with 8-digit check values (iso8583-host.md 7.1).

    A single-length MAK is followed by 8 zero bytes; ValueError for keys in another form.
    """
    parts: list[Any] = []
    for key in keys:
        if len(key.wrapped) not in (8, 16) or len(key.check_value) != 4:
            raise ValueError("field 62 takes bare keys with 4-byte check values")
        parts += [key.wrapped.ljust(16, b"\x00"), key.check_value]
    return b"".join(parts)
