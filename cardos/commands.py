"""The table of commands: which handler, which P1 P2, which lengths (purse-card.md 6 to 9, 17)."""

from collections.abc import Callable
from dataclasses import dataclass

from cardos import files, lifecycle, psam, purse
from cardos.spec import (
    KIND_MASK,
    MAX_DATA,
    MAX_NAME,
    MIN_NAME,
    RECORD_BY_NUMBER,
    RECORD_BY_TAG,
    Ins,
    Transaction,
)
from cardos.state import Apdu, Chip

ISO, BANK = (0x00, 0x04), (0x80, 0x84)
EXEMPT_FROM_LOCK = frozenset({Ins.SELECT, Ins.GET_CHALLENGE, Ins.APPLICATION_UNBLOCK})
LINE_KEY_FREE = frozenset({Ins.WRITE_KEY, Ins.PIN_UNBLOCK})  # protected, but not by key 36
GREY_LOCK_CLASS, GREY_LOCK = 0xE0, frozenset({0x7A, 0x7C, 0x7E})  # fuel cards, not built (8.12)
PURSE_COMMANDS = frozenset({Ins.INITIALIZE, Ins.CREDIT, Ins.DEBIT, Ins.UPDATE_LIMIT})

Handler = Callable[[Chip, Apdu], bytes]


@dataclass(frozen=True)
class Rule:
    """One command. `answer` gives the length of a fixed answer (0: none); without it any Le will do."""

    handler: Handler
    p1p2: Callable[[int, int], bool]
    lc: Callable[[Apdu], bool]
    answer: Callable[[Apdu], int] | None = None


def _p(*allowed: tuple[int, int]) -> Callable[[int, int], bool]:
    return lambda p1, p2: (p1, p2) in allowed


def _lc(low: int, high: int | None = None) -> Callable[[Apdu], bool]:
    top = low if high is None else high
    return lambda command: low <= len(command.data) <= top


def _le(length: int) -> Callable[[Apdu], int]:
    return lambda _command: length


def _mode(_p1: int, p2: int) -> bool:
    return p2 & 7 in (RECORD_BY_NUMBER, RECORD_BY_TAG)


def _select_lc(command: Apdu) -> bool:
    size = len(command.data)
    return MIN_NAME <= size <= MAX_NAME if command.p1 == 0x04 else size in (0, 2)


def _read_lc(command: Apdu) -> bool:
    return len(command.data) in ((0, 4) if command.protected else (0,))


_NOTHING = _le(0)
_SOME = _lc(1, MAX_DATA)
_ZERO = _p((0, 0))
_READ_BINARY = Rule(files.read_binary, files.binary_p1p2, _read_lc)
_UPDATE_BINARY = Rule(files.update_binary, files.binary_p1p2, _SOME, _NOTHING)
_READ_RECORD = Rule(files.read_record, _mode, _read_lc)
_UPDATE_RECORD = Rule(files.update_record, files.update_record_p1p2, _SOME, _NOTHING)
_APPEND = Rule(files.append_record, lambda p1, p2: p1 == 0 and p2 & 7 == 0, _SOME, _NOTHING)


def _write_key_p1p2(p1: int, p2: int) -> bool:
    return (p1 == 0x01 or p1 & KIND_MASK in lifecycle.KEY_TYPES) and p2 != 0xFF


def _write_psam_key_p1p2(p1: int, p2: int) -> bool:
    return (p1, p2) == (0, 0) or _write_key_p1p2(p1, p2)


def _write_psam_key(chip: Chip, command: Apdu) -> bytes:
    """P1 00 is the usage form; P1 01 may be one too, which only the decrypted type byte tells (9.2)."""
    if command.p1 in (0x00, psam.ADD):
        return psam.write_usage_key(chip, command)
    return lifecycle.write_key(chip, command)


def _change_pin_lc(command: Apdu) -> bool:
    return 6 <= len(command.data) <= 10 if command.p1 == 0 else 5 <= len(command.data) <= 13


COMMON: dict[tuple[int, int], Rule] = {
    (0x00, Ins.SELECT): Rule(files.select, _p((0, 0), (4, 0)), _select_lc),
    (0x00, Ins.GET_CHALLENGE): Rule(lifecycle.get_challenge, _ZERO, _lc(0)),
    (0x00, Ins.EXTERNAL_AUTHENTICATE): Rule(
        lifecycle.external_authenticate, lambda p1, _p2: p1 == 0, _lc(8), _NOTHING
    ),
    (0x00, Ins.INTERNAL_AUTHENTICATE): Rule(
        lifecycle.internal_authenticate, lambda p1, _p2: p1 <= 2, _SOME
    ),
    (0x00, Ins.VERIFY): Rule(lifecycle.verify, lambda p1, _p2: p1 == 0, _lc(1, 8), _NOTHING),
    **{(cla, Ins.READ_BINARY): _READ_BINARY for cla in ISO},
    **{(cla, Ins.UPDATE_BINARY): _UPDATE_BINARY for cla in ISO},
    **{(cla, Ins.UPDATE_BINARY_OLD): _UPDATE_BINARY for cla in ISO},
    **{(cla, Ins.READ_RECORD): _READ_RECORD for cla in ISO},
    **{(cla, Ins.UPDATE_RECORD): _UPDATE_RECORD for cla in ISO},
    **{(cla, Ins.APPEND_RECORD): _APPEND for cla in ISO},
    (0x80, Ins.CREATE_FILE): Rule(
        files.create_file, lambda _p1, _p2: True, _lc(7, 8 + MAX_NAME), _NOTHING
    ),
    (0x80, Ins.ERASE_DF): Rule(files.erase_df, _ZERO, _lc(0), _NOTHING),
    (0x80, Ins.CHANGE_PIN): Rule(
        lifecycle.change_pin, lambda p1, _p2: p1 <= 1, _change_pin_lc, _NOTHING
    ),
    (0x84, Ins.PIN_UNBLOCK): Rule(
        lifecycle.pin_unblock,
        lambda p1, p2: p2 == 0 or (p1, p2) == (0, 1),
        lambda command: len(command.data) in (0x0C, 0x14),
        _NOTHING,
    ),
    (0x84, Ins.APPLICATION_BLOCK): Rule(
        lifecycle.application_block, _p((0, 0), (0, 1)), _lc(4), _NOTHING
    ),
    (0x84, Ins.APPLICATION_UNBLOCK): Rule(lifecycle.application_unblock, _ZERO, _lc(4), _NOTHING),
    (0x84, Ins.CARD_BLOCK): Rule(lifecycle.card_block, _ZERO, _lc(4), _NOTHING),
}

PERMIT: dict[tuple[int, int], Rule] = {
    **{
        (cla, Ins.WRITE_KEY): Rule(lifecycle.write_key, _write_key_p1p2, _SOME, _NOTHING)
        for cla in BANK
    },
    (0x80, Ins.INITIALIZE): Rule(
        purse.initialize,
        lambda p1, p2: (p1, p2) in purse.INITIALIZE,
        lambda command: purse.initialize_length(command.p1, command.data),
        lambda command: purse.initialize_answer(command.p1),
    ),
    (0x80, Ins.CREDIT): Rule(purse.credit, _ZERO, _lc(0x0B), _le(4)),
    (0x80, Ins.DEBIT): Rule(
        purse.debit,
        _p((1, 0), (3, 0)),
        lambda command: purse.debit_length(command.p1, command.data),
        lambda command: 4 if command.p1 == 0x03 else 8,
    ),
    (0x80, Ins.UPDATE_LIMIT): Rule(purse.update_limit, _ZERO, _lc(0x0E), _le(4)),
    (0x80, Ins.GET_PROOF): Rule(
        purse.get_proof,
        lambda p1, p2: p1 == 0 and p2 in set(Transaction),
        _lc(2),
        _le(8),
    ),
    (0x80, Ins.GET_BALANCE): Rule(purse.get_balance, _p((0, 1), (0, 2)), _lc(0), _le(4)),
    (0x80, Ins.UPDATE_RECORD): Rule(
        purse.update_capp, lambda p1, p2: _mode(p1, p2) and p2 >> 3 != 0, _SOME, _NOTHING
    ),
}

PSAM: dict[tuple[int, int], Rule] = {
    **{
        (cla, Ins.WRITE_KEY): Rule(_write_psam_key, _write_psam_key_p1p2, _SOME, _NOTHING)
        for cla in BANK
    },
    (0x80, Ins.INIT_SAM): Rule(
        psam.init_sam, _ZERO, lambda command: psam.init_sam_length(command.p1, command.data), _le(8)
    ),
    (0x80, Ins.CREDIT_SAM): Rule(psam.credit_sam, _ZERO, _lc(4), _NOTHING),
    (0x80, Ins.DERIVE_KEY): Rule(
        psam.derive_key, lambda _p1, _p2: True, _lc(0, 8 * psam.MAX_LEVELS), _NOTHING
    ),
    (0x80, Ins.CRYPT): Rule(
        psam.crypt, lambda p1, p2: p1 in psam.CRYPT_MODES and p2 == 0, _lc(8, MAX_DATA)
    ),
}


def commands_of(is_psam: bool) -> dict[tuple[int, int], Rule]:
    """All commands of a permit chip, or of a PSAM."""
    return COMMON | (PSAM if is_psam else PERMIT)
