"""What personalization and counters ask: card keys as cryptograms, secure channels, protected commands (5.1).

`master` is the key field of a resident master, `factors` its diversification (8 bytes each, one level in the
pilot). A card's challenge has 8 bytes here; one of 4 bytes gets four zero bytes behind (`challenge`).
Nothing in this module ever holds a key.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from hsm_sim.client import R_co, Request, Role
from hsm_sim.codec import Layout

CHALLENGE_LENGTHS = (4, 8)
_CARD = "master:KEY factors:DIV "


def challenge(random: bytes) -> bytes:
    """A card's random as the commands want it: 8 bytes; ValueError unless it has 4 or 8."""
    if len(random) not in CHALLENGE_LENGTHS:
        raise ValueError("a challenge has 4 or 8 bytes")
    return random.ljust(8, b"\x00")


@dataclass(frozen=True)
class _OnCard(Request[R_co]):
    """A master and the diversification of the card key."""

    roles: ClassVar[tuple[Role, ...]] = (Role.ISSUE,)

    master: str
    factors: tuple[bytes, ...]


@dataclass(frozen=True)
class _AtCounter(_OnCard[R_co]):
    """What counters ask too; `random` is the card's challenge."""

    roles: ClassVar[tuple[Role, ...]] = (Role.DESK, Role.ISSUE)

    random: bytes


@dataclass(frozen=True)
class _OnChannel(Request[R_co]):
    """A command of an open secure channel, which lives on its connection."""

    roles: ClassVar[tuple[Role, ...]] = (Role.ISSUE,)
    on_one_connection: ClassVar[bool] = True

    handle: bytes


@dataclass(frozen=True)
class CardKeyCheckValue(_OnCard[bytes]):
    """`10`: check value (3 bytes) of a derived card key."""

    code = "10"
    layout = Layout(_CARD.strip())
    answer = Layout("kcv:6H")


@dataclass(frozen=True)
class ExportCardKey(_OnCard[tuple[bytes, bytes]]):
    """`12` method R: a card key as a key block under a K1 key. Answer: block, check value (3 bytes)."""

    code = "12"
    layout = Layout(f"=R {_CARD} wrapping:KEY")
    answer = Layout("data:4L kcv:6H")

    wrapping: str


@dataclass(frozen=True)
class ExportCardKeyToChannel(_OnCard[tuple[bytes, bytes]]):
    """`12` method C: a card key under the data key of an open secure channel. Answer: cipher, check value."""

    code = "12"
    on_one_connection: ClassVar[bool] = True
    layout = Layout(f"=C {_CARD} handle:8H")
    answer = Layout("data:4L kcv:6H")

    handle: bytes


@dataclass(frozen=True)
class ExportCardKeyBare(_OnCard[tuple[bytes, bytes]]):
    """`12` method D: TDES-ECB under a transport key of mode E, where the master allows it (old bureaux)."""

    code = "12"
    layout = Layout(f"=D {_CARD} wrapping:KEY")
    answer = Layout("data:4L kcv:6H")

    wrapping: str


@dataclass(frozen=True)
class ProtectCardKey(_OnCard[bytes]):
    """`14`: a card key as the data of WRITE KEY under the card's present line key.

    `header` is CLA INS P1 P2 Lc (Lc counts the MAC), `prefix` the record's bytes before the key. The answer is
    cipher || MAC: the whole data field (purse-card.md 4.2 and 5). Metered by the issuance batch (R-10).
    """

    code = "14"
    layout = Layout(f"{_CARD} line:KEY line_factors:DIV random:16H header:10H prefix:2L")
    answer = Layout("data:4L")

    line: str
    line_factors: tuple[bytes, ...]
    random: bytes
    header: bytes
    prefix: bytes


@dataclass(frozen=True)
class BeginChannel(Request[tuple[bytes, bytes]]):
    """`20`: begin a GlobalPlatform secure channel. Answer: handle (4 bytes), host challenge (8 bytes).

    `protocol` "02" or "03", `option` the "i" byte, `diversification` 0 none, 1 EMV CPS, 2 VISA2, `level` the
    security level 0, 1 or 3 (nothing, MAC, MAC and encryption).
    """

    code = "20"
    roles = (Role.ISSUE,)
    on_one_connection: ClassVar[bool] = True
    layout = Layout("protocol:2N option:2H master:KEY diversification:[012] level:[013]")
    answer = Layout("handle:8H challenge:16H")

    protocol: str
    option: bytes
    master: str
    diversification: str
    level: str


@dataclass(frozen=True)
class AuthenticateChannel(_OnChannel[bytes]):
    """`22`: check the card's answer to INITIALIZE UPDATE. Answer: the EXTERNAL AUTHENTICATE APDU."""

    code = "22"
    layout = Layout("handle:8H response:2L")
    answer = Layout("apdu:TAIL")

    response: bytes


@dataclass(frozen=True)
class WrapApdu(_OnChannel[bytes]):
    """`24`: an APDU under the channel's protection."""

    code = "24"
    layout = Layout("handle:8H apdu:4L")
    answer = Layout("apdu:4L")

    apdu: bytes


@dataclass(frozen=True)
class UnwrapAnswer(_OnChannel[tuple[bytes, bytes]]):
    """`26`: check and open an answer (data and status word). Answer: data, status word (2 bytes)."""

    code = "26"
    layout = Layout("handle:8H response:4L")
    answer = Layout("data:4L status:4H")

    response: bytes


@dataclass(frozen=True)
class ReencryptData(Request[bytes]):
    """`28`: personalization data from a transport key to the channel's data key."""

    code = "28"
    roles = (Role.ISSUE,)
    on_one_connection: ClassVar[bool] = True
    layout = Layout("transport:KEY handle:8H data:4L")
    answer = Layout("data:4L")

    transport: str
    handle: bytes
    data: bytes


@dataclass(frozen=True)
class EndChannel(_OnChannel[None]):
    """`2E`: end a secure channel; its keys are overwritten."""

    code = "2E"
    layout = Layout("handle:8H")


@dataclass(frozen=True)
class ProtectCommand(_AtCounter[tuple[bytes, bytes]]):
    """`30`: line protection of a command to an issued card (allow list R-13). Answer: data, MAC (4 bytes).

    `mode` "1" MAC only, "2" encrypt and MAC; `header` is CLA INS P1 P2 with the protected class.
    """

    code = "30"
    layout = Layout(f"{_CARD} random:16H mode:[12] header:8H data:4L")
    answer = Layout("data:4L mac:8H")

    mode: str
    header: bytes
    data: bytes


@dataclass(frozen=True)
class AuthenticateExternally(_AtCounter[bytes]):
    """`32`: the cryptogram of EXTERNAL AUTHENTICATE, 8 bytes.

    Reader keys (usage 22) take 8-byte challenges, control keys (18, 19) 4 bytes and four zeros only (R-12).
    """

    code = "32"
    layout = Layout(f"{_CARD} random:16H")
    answer = Layout("cryptogram:16H")


@dataclass(frozen=True)
class UnblockPin(_AtCounter[tuple[bytes, bytes]]):
    """`34`: data of PIN UNBLOCK. Answer: cipher, MAC (4 bytes).

    `pin_key` is the pad's TPK, `account` the last 12 digits of the card serial, `pin_block` ISO format 0.
    """

    code = "34"
    layout = Layout(f"{_CARD} random:16H pin_key:KEY account:12N pin_block:16H")
    answer = Layout("cipher:4L mac:8H")

    pin_key: str
    account: str
    pin_block: bytes = field(repr=False)


@dataclass(frozen=True)
class StatusMac(Request[bytes]):
    """`36` mode 0: MAC (8 bytes) of a permit status record (24 bytes) for a card serial (14 digits)."""

    code = "36"
    roles = (Role.DESK, Role.ISSUE)
    layout = Layout("key:KEY =0 record:48H card_serial:14N")
    answer = Layout("mac:16H")

    key: str
    record: bytes
    card_serial: str


@dataclass(frozen=True)
class CheckStatusMac(Request[None]):
    """`36` mode 1: check that MAC."""

    code = "36"
    roles = (Role.DESK, Role.ISSUE)
    layout = Layout("key:KEY =1 record:48H card_serial:14N mac:16H")

    key: str
    record: bytes
    card_serial: str
    mac: bytes


@dataclass(frozen=True)
class CheckCardAnswer(_AtCounter[None]):
    """`38`: did this card make this protected answer? `data` as it came, `mac` 4 bytes."""

    code = "38"
    layout = Layout(f"{_CARD} random:16H data:4L mac:8H")

    data: bytes
    mac: bytes


@dataclass(frozen=True)
class CheckInternalAuthentication(_OnCard[None]):
    """`3A`: is this the card's answer to INTERNAL AUTHENTICATE over 8 bytes?"""

    code = "3A"
    roles = (Role.DESK, Role.ISSUE)
    layout = Layout(f"{_CARD} data:16H response:16H")

    data: bytes
    response: bytes
