"""Tokens: work keys the HSM keeps nowhere, wrapped under the LMK and given to hosts (3.2).

Opening one costs four times a purse command, so the last ones stay open: a bounded cache by the block's text,
cleared when the HSM locks.
"""

from collections import OrderedDict

from hsm_sim import keyblock
from hsm_sim.errors import HsmMismatch, refusal
from hsm_sim.kcv import block_check, check_value
from hsm_sim.secret import KEY_BYTES, SecretKey
from hsm_sim.work import BARE_EXPORT, TERMINAL_SCOPE, Key

MAX_OPEN = 1024
OWN_BLOCKS = frozenset({"KC", "KP", "LB", "PB"})
OptionalBlocks = tuple[tuple[str, str], ...]


def letter_of(algorithm: str) -> str:
    """The key block's letter of one of our algorithms."""
    return keyblock.LETTERS[algorithm[0]]


def algorithm_of(letter: str, length: int) -> str:
    """Our name of an algorithm from a block's letter and the key's length; HSM-02 for none."""
    for name, size in KEY_BYTES.items():
        if letter_of(name) == letter and size == length:
            return name
    raise refusal("02")


def make(
    lmk: SecretKey,
    material: bytes,
    usage: str,
    algorithm: str,
    mode: str,
    version: str,
    export: str,
    partner: OptionalBlocks = (),
) -> str:
    """A token: the key as a block under the LMK, ``S`` in front. TMKs list bare export (scheme X).

    `partner` are the optional blocks it came with, which it keeps (`foreign`).
    """
    optional = (*block_check(algorithm, material), *partner)
    if usage == "K0" and algorithm == "T2":
        optional = (*optional, ("LB", BARE_EXPORT))
    header = keyblock.BlockHeader(usage, letter_of(algorithm), mode, version, export, optional)
    return "S" + keyblock.wrap(lmk.reveal(), header, material)


def foreign(optional: OptionalBlocks) -> OptionalBlocks:
    """The optional blocks of a partner that survive a round trip: all but those we write ourselves."""
    return tuple((name, text) for name, text in optional if name not in OWN_BLOCKS)


def may_go_bare(usage: str, algorithm: str, label: str, scope: str) -> bool:
    """Whether a key's attributes list scheme X: a TMK token so labelled, or a resident TMK by scope."""
    return usage == "K0" and algorithm == "T2" and (label == BARE_EXPORT or scope == TERMINAL_SCOPE)


class TokenCache:
    """Opened tokens, least recently used out first."""

    def __init__(self, lmk: SecretKey, old: SecretKey | None = None) -> None:
        self.lmk, self.old = lmk, old
        self._open: OrderedDict[str, Key] = OrderedDict()

    def key(self, token: str) -> Key:
        """The key of a token; raises HSM-83, A4 or 02."""
        found = self._open.get(token)
        if found is not None:
            self._open.move_to_end(token)
            return found
        opened = self._unwrap(token[1:])
        header = opened.header
        if header.version != "D":
            raise refusal("83", "a token is a version D block")
        algorithm = algorithm_of(header.algorithm, len(opened.material))
        label = dict(header.optional).get("LB", "")
        made = Key(
            "", algorithm, header.usage, header.mode, header.key_version, header.exportability, "",
            may_go_bare(header.usage, algorithm, label, ""),
            SecretKey(algorithm, opened.material, check_value(algorithm, opened.material)),
            foreign(header.optional),
        )  # fmt: skip
        self._open[token] = made
        if len(self._open) > MAX_OPEN:
            _, old = self._open.popitem(last=False)
            old.secret.clear()
        return made

    def _unwrap(self, block: str) -> keyblock.Unwrapped:
        """Under the LMK; tokens given out before it was changed open under the old one until that is destroyed."""
        if self.old is None:
            return keyblock.unwrap(self.lmk.reveal(), block)
        try:
            return keyblock.unwrap(self.lmk.reveal(), block)
        except HsmMismatch:
            return keyblock.unwrap(self.old.reveal(), block)

    def clear(self) -> None:
        """Overwrite all."""
        for key in self._open.values():
            key.secret.clear()
        self._open.clear()
