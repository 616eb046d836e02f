"""Secrets in several hands: XOR components of keys, and M-of-N word shares of the unlock secret.

Keys are split n of n into full-length XOR components, as payment HSMs do. The unlock secret and the LMK's
backup are split M of N with SLIP-0039, so that one absent person does not stop issuing
(hsm-and-ceremony.md 10.3; vectors `slip39`, `components`). Share words are for people: whoever holds M of
them holds the secret, and this code is a simulator's, not hardened for real secrets.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from core.errors import Rejected

MAX_SHARES = 16
MIN_SECRET = 16
MAX_SECRET = 64
ITERATIONS = 10_000
ROUNDS = 4
DIGEST_LENGTH = 4
SECRET_AT, DIGEST_AT = 255, 254
WORD_BITS = 10
HEAD_WORDS, CHECKSUM_WORDS, MIN_WORDS = 4, 3, 20
CHECKSUM_GENERATOR = (
    0xE0E040, 0x1C1C080, 0x3838100, 0x7070200, 0xE0E0009, 0x1C0C2412, 0x38086C24, 0x3090FC48, 0x21B1F890, 0x3F3F120,
)  # fmt: skip


class BadShares(Rejected):
    """Components or shares that do not make a secret."""


# -- XOR components -------------------------------------------------------------------------------


def combine_components(parts: Sequence[bytes | bytearray]) -> bytearray:
    """XOR of full-length components, in a buffer of the caller's.

    Raises BadShares (SHARES): unequal lengths, fewer than two, an all-zero component, a component
    that equals another or the result (R-24).
    """
    if len(parts) < 2 or len({len(part) for part in parts}) != 1:
        raise BadShares("SHARES", "two or more components of one length")
    result = bytearray(len(parts[0]))
    for part in parts:
        for place, byte in enumerate(part):
            result[place] ^= byte
    for number, part in enumerate(parts):
        twin = any(hmac.compare_digest(part, other) for other in parts[:number])
        if twin or not any(part) or hmac.compare_digest(part, result):
            result[:] = bytes(len(result))
            raise BadShares("SHARES", f"component {number + 1} must not be used")
    return result


# -- arithmetic of GF(256) with x^8 + x^4 + x^3 + x + 1 -------------------------------------------


@cache
def _tables() -> tuple[list[int], list[int]]:
    powers, logs, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logs[value] = value, exponent
        value ^= value << 1
        value ^= 0x11B if value & 0x100 else 0
    return powers, logs


def _interpolate(points: Mapping[int, bytes], x: int) -> bytes:
    """The value at `x` of the polynomial through `points` (Lagrange), byte by byte."""
    if x in points:
        return points[x]
    powers, logs = _tables()
    product = sum(logs[other ^ x] for other in points)
    result = bytearray(len(next(iter(points.values()))))
    for at, value in points.items():
        below = sum(logs[at ^ other] for other in points if other != at)
        weight = (product - logs[at ^ x] - below) % 255
        for place, byte in enumerate(value):
            if byte:
                result[place] ^= powers[(logs[byte] + weight) % 255]
    return bytes(result)


# -- a share in words -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """One share, as SLIP-0039 packs it; indices count from 0, thresholds and counts from 1."""

    identifier: int
    extendable: bool
    exponent: int
    group: int
    group_threshold: int
    group_count: int
    member: int
    threshold: int
    value: bytes

    def __repr__(self) -> str:
        return f"Share(group={self.group}, member={self.member})"

    @property
    def common(self) -> tuple[int, bool, int, int, int, int]:
        """What all shares of one secret have in common."""
        return (
            self.identifier, self.extendable, self.exponent, self.group_threshold, self.group_count,
            len(self.value),
        )  # fmt: skip

    def words(self) -> str:
        """The mnemonic."""
        head = (self.identifier << 1 | self.extendable) << 4 | self.exponent
        for part in (
            self.group, self.group_threshold - 1, self.group_count - 1, self.member, self.threshold - 1
        ):  # fmt: skip
            head = head << 4 | part
        count = -(-8 * len(self.value) // WORD_BITS)
        number = head << WORD_BITS * count | int.from_bytes(self.value)
        data = _digits(number, HEAD_WORDS + count)
        check = _polymod(self.extendable, [*data, 0, 0, 0]) ^ 1
        return " ".join(_words()[digit] for digit in [*data, *_digits(check, CHECKSUM_WORDS)])

    @classmethod
    def parse(cls, mnemonic: str) -> "Share":
        """Read a mnemonic; raises BadShares (SHARES) for a wrong word, checksum, length or padding."""
        places = {word: place for place, word in enumerate(_words())}
        try:
            data = [places[word] for word in mnemonic.lower().split()]
        except KeyError:
            raise BadShares("SHARES", "a word is not in the list") from None
        count = len(data) - HEAD_WORDS - CHECKSUM_WORDS
        padding = WORD_BITS * count % 16
        if len(data) < MIN_WORDS or padding > 8:
            raise BadShares("SHARES", "a share has another number of words")
        head = _number(data[:HEAD_WORDS])
        extendable = bool(head >> 24 & 1)
        if _polymod(extendable, data) != 1:
            raise BadShares("SHARES", "the checksum of a share is wrong")
        value, length = (
            _number(data[HEAD_WORDS:-CHECKSUM_WORDS]),
            (WORD_BITS * count - padding) // 8,
        )
        if value >> 8 * length:
            raise BadShares("SHARES", "the padding of a share is not zero")
        group, group_threshold, group_count, member, threshold = (
            head >> shift & 15 for shift in (16, 12, 8, 4, 0)
        )
        if group_threshold > group_count:
            raise BadShares("SHARES", "more groups needed than there are")
        return cls(
            head >> 25, extendable, head >> 20 & 15, group, group_threshold + 1, group_count + 1, member,
            threshold + 1, value.to_bytes(length),
        )  # fmt: skip


@cache
def _words() -> list[str]:
    return resources.files("hsm_sim").joinpath("slip39_words.txt").read_text("ascii").split()


def _digits(number: int, count: int) -> list[int]:
    return [number >> WORD_BITS * place & 1023 for place in reversed(range(count))]


def _number(digits: Sequence[int]) -> int:
    number = 0
    for digit in digits:
        number = number << WORD_BITS | digit
    return number


def _polymod(extendable: bool, data: Sequence[int]) -> int:
    """Reed-Solomon checksum over GF(1024), RS1024 of SLIP-0039."""
    check = 1
    for digit in [*(b"shamir_extendable" if extendable else b"shamir"), *data]:
        top = check >> 20
        check = (check & 0xFFFFF) << WORD_BITS ^ digit
        for place, generator in enumerate(CHECKSUM_GENERATOR):
            check ^= generator if top >> place & 1 else 0
    return check


# -- splitting and joining ------------------------------------------------------------------------


def split(
    secret: bytes, threshold: int, count: int, passphrase: bytes = b"", exponent: int = 1
) -> list[str]:
    """`count` mnemonics, any `threshold` of which give the secret (16 to 64 bytes, an even number) back.

    `exponent` makes guessing the passphrase slower, 2,500 times four rounds doubled each time.
    Raises BadShares (SHARES) for parameters that make no sense.
    """
    even = MIN_SECRET <= len(secret) <= MAX_SECRET and len(secret) % 2 == 0
    if not even or not 1 <= threshold <= count <= MAX_SHARES or (threshold == 1 < count):
        raise BadShares("SHARES", "length of the secret, threshold or number of shares")
    identifier = secrets.randbits(15)
    sealed = _feistel(secret, passphrase, exponent, b"", range(ROUNDS))
    points = _split_points(sealed, threshold, count)
    return [
        Share(identifier, True, exponent, 0, 1, 1, member, threshold, points[member]).words()
        for member in range(count)
    ]


def _split_points(secret: bytes, threshold: int, count: int) -> dict[int, bytes]:
    if threshold == 1:
        return dict.fromkeys(range(count), secret)
    fixed = {member: secrets.token_bytes(len(secret)) for member in range(threshold - 2)}
    salt = secrets.token_bytes(len(secret) - DIGEST_LENGTH)
    basis = {**fixed, DIGEST_AT: _digest(salt, secret) + salt, SECRET_AT: secret}
    return {member: _interpolate(basis, member) for member in range(count)}


def _join_points(points: Mapping[int, bytes], threshold: int) -> bytes:
    if len(points) != threshold:
        raise BadShares("SHARES", f"exactly {threshold} shares of each group are needed")
    if threshold == 1:
        return next(iter(points.values()))
    secret, proof = _interpolate(points, SECRET_AT), _interpolate(points, DIGEST_AT)
    digest, salt = proof[:DIGEST_LENGTH], proof[DIGEST_LENGTH:]
    if not hmac.compare_digest(digest, _digest(salt, secret)):
        raise BadShares("SHARES", "the shares do not belong together")
    return secret


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")[:DIGEST_LENGTH]


def join(mnemonics: Sequence[str], passphrase: bytes = b"") -> bytes:
    """The secret of a complete set of shares; raises BadShares (SHARES) for any other set."""
    shares = [Share.parse(mnemonic) for mnemonic in mnemonics]
    if not shares or len({share.common for share in shares}) != 1:
        raise BadShares("SHARES", "shares of different secrets, or none")
    first = shares[0]
    groups: dict[int, dict[int, Share]] = {}
    for share in shares:
        members = groups.setdefault(share.group, {})
        if share.member in members or any(m.threshold != share.threshold for m in members.values()):
            raise BadShares("SHARES", "a share twice, or with another threshold")
        members[share.member] = share
    secrets_of_groups = {
        group: _join_points(
            {member: share.value for member, share in members.items()},
            next(iter(members.values())).threshold,
        )
        for group, members in groups.items()
    }
    sealed = _join_points(secrets_of_groups, first.group_threshold)
    salt = b"" if first.extendable else b"shamir" + first.identifier.to_bytes(2)
    return _feistel(sealed, passphrase, first.exponent, salt, reversed(range(ROUNDS)))


def _feistel(
    data: bytes, passphrase: bytes, exponent: int, salt: bytes, rounds: Iterable[int]
) -> bytes:
    """Four rounds with PBKDF2 under the passphrase; the reverse order of rounds undoes it."""
    half = len(data) // 2
    left, right = data[:half], data[half:]
    for number in rounds:
        key = hashlib.pbkdf2_hmac(
            "sha256",
            bytes([number]) + passphrase,
            salt + right,
            (ITERATIONS << exponent) // ROUNDS,
            half,
        )
        left, right = right, bytes(a ^ b for a, b in zip(left, key, strict=True))
    return right + left
