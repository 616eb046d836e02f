"""The chip card: power, ATR, the order of checks, the table of commands (purse-card.md 1, 16, 17).

`Card` is a `core.apdu.CardChannel`: `transmit` takes a command and gives data followed by SW1 SW2, and
raises nothing but `PowerCut`. It behaves as T=1; with `t0=True` commands that bring data and ask without
Le are answered ``61xx``, and a wrong Le gives ``6Cxx``.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from cardos import filesystem as fs
from cardos import image as images
from cardos.commands import (
    EXEMPT_FROM_LOCK,
    GREY_LOCK,
    GREY_LOCK_CLASS,
    LINE_KEY_FREE,
    PURSE_COMMANDS,
    Rule,
    commands_of,
)
from cardos.files import enter, locked_by
from cardos.filesystem import Node
from cardos.lifecycle import record_changes
from cardos.memory import (
    CARD_BLOCK_AT,
    KIND_AT,
    PROTOCOL_AT,
    SERIAL_AT,
    SET,
    SYSTEM_MAGIC,
    USER_AT,
    Eeprom,
    JournalFull,
    PowerCut,
)
from cardos.spec import (
    ALWAYS,
    CHIP_MEMORY,
    CHIP_SERIAL_LENGTH,
    COUNTER_ISSUED,
    EF_HEADER,
    FID_KEYS,
    KEY_PROTECTED,
    MAX_DATA,
    MF_NAME,
    MF_PROFILE,
    NEVER,
    NEXT_STATE_PRODUCTION,
    SW,
    Ins,
    KeyType,
    make_atr,
)
from cardos.state import Apdu, Chip, Rng, Session, Sw, wrong_length
from core.apdu import HEADER_LENGTH

Kind = Literal["permit", "psam"]
PERMIT, PSAM = 1, 2
WHITE_KEY = b"\xff" * 8
CLASSES = (0x00, 0x04, 0x80, 0x84)


@dataclass(frozen=True)
class _Answer:
    data: bytes
    sw: int


class Card:
    """One chip, in memory or in an image file that follows every change."""

    def __init__(self, memory: bytes, rng: Rng = os.urandom, image: Path | None = None) -> None:
        self._memory = Eeprom(memory)
        self._rng = rng
        self._image = image
        self._t0 = bool(memory[PROTOCOL_AT])
        self._commands = commands_of(memory[KIND_AT] == PSAM)
        self._known = {ins for _, ins in self._commands}
        self._chip: Chip | None = None
        self.reset()

    @classmethod
    def blank(
        cls,
        kind: Kind = "permit",
        rng: Rng = os.urandom,
        serial: bytes | None = None,
        transport_key: bytes | None = None,
        t0: bool = False,
        image: Path | None = None,
    ) -> Self:
        """An unpersonalized chip (purse-card.md 12.6).

        Without `transport_key` a white card: MF with rights F0, its control key eight FF, CREATE FILE
        3F00 allowed once. With one (16 bytes) a chip of a delivered lot: MF with the permit's rights.
        `rng(n)` gives n bytes for each challenge and each INITIALIZE, and nothing else. `serial` has 8
        bytes and stands in the ATR, a random one without. `image` keeps the chip in a file from now on.
        """
        if kind not in ("permit", "psam"):
            raise ValueError("a chip is a permit or a psam")
        if transport_key is not None and len(transport_key) != 16:
            raise ValueError("a transport key has 16 bytes")
        serial = os.urandom(CHIP_SERIAL_LENGTH) if serial is None else serial
        if len(serial) != CHIP_SERIAL_LENGTH:
            raise ValueError("a chip serial has 8 bytes")
        memory = _factory(PSAM if kind == "psam" else PERMIT, serial, transport_key, t0)
        card = cls(memory, rng, image)
        if image is not None:
            card.save(image)
        return card

    @classmethod
    def load(cls, path: Path, rng: Rng = os.urandom) -> Self:
        """A chip from its image file, which follows every change from now on.

        Raises `EvidenceMismatch` CHIP-IMAGE when the image is damaged or of another version.
        """
        return cls(images.load(path), rng, path)

    def save(self, path: Path) -> None:
        """Write the chip as it is to an image file."""
        images.save(path, self._memory.dump())

    # -- channel --

    @property
    def atr(self) -> bytes:
        """Answer to reset; the last 8 historical bytes are the chip serial."""
        return make_atr(self._memory.read(SERIAL_AT, CHIP_SERIAL_LENGTH), self._t0)

    def reset(self) -> bytes:
        """Power up or warm reset: the journal is settled, everything volatile is gone. Gives the ATR.

        Raises `PowerCut` when an armed cut strikes while the journal is being finished.
        """
        self._chip = None
        try:
            self._memory.recover()
        finally:
            self._persist()
        psam = self._memory.byte(KIND_AT) == PSAM
        chip = Chip(self._memory, self._rng, Session([USER_AT]), psam)
        enter(chip, [USER_AT])
        self._chip = chip
        return self.atr

    def transmit(self, apdu: bytes) -> bytes:
        """One command; data followed by SW1 SW2. Raises `PowerCut` when the power goes or is off."""
        if self._chip is None:
            raise PowerCut("the card has no power; reset it")
        try:
            answer = self._run(self._chip, bytes(apdu))
        except PowerCut:
            self._chip = None
            raise
        finally:
            self._persist()
        return answer.data + answer.sw.to_bytes(2, "big")

    def close(self) -> None:
        """Power down."""
        self._chip = None

    def power_cut_after(self, n_writes: int, torn: int | None = None) -> None:
        """Let `n_writes` more bytes be written to the EEPROM, then cut the power.

        The byte being written at that moment keeps its old value, or becomes `torn`.
        """
        self._memory.cut_after(n_writes, torn)

    def keep_power(self) -> None:
        """Take back `power_cut_after`."""
        self._memory.keep_power()

    @property
    def writes(self) -> int:
        """EEPROM bytes written since the card object was made."""
        return self._memory.writes

    def _persist(self) -> None:
        if self._image is not None and self._memory.dirty:
            self.save(self._image)
        self._memory.dirty = False

    # -- one command --

    def _run(self, chip: Chip, raw: bytes) -> _Answer:
        if len(raw) < HEADER_LENGTH:
            chip.session.challenge = None
            return _Answer(b"", SW.WRONG_LENGTH)
        cla, ins = raw[0], raw[1]
        if (cla, ins) == (0x00, Ins.GET_RESPONSE) and not self._memory.byte(CARD_BLOCK_AT):
            return _get_response(chip, raw)
        chip.session.waiting = b""
        try:
            answer = self._execute(chip, raw)
        except Sw as end:
            answer = _Answer(end.data, end.sw)
        except JournalFull:
            answer = _Answer(b"", SW.MEMORY_FAILURE)
        if answer.sw != SW.OK and cla == 0x80 and ins in PURSE_COMMANDS:
            chip.session.pending = None
        if ins != Ins.GET_CHALLENGE or answer.sw != SW.OK:
            chip.session.challenge = None
        return answer

    def _execute(self, chip: Chip, raw: bytes) -> _Answer:
        rule, command = self._admit(chip, raw)
        data = rule.handler(chip, command)
        if self._t0 and data and command.data and command.le is None:
            chip.session.waiting = data
            return _Answer(b"", 0x6100 | len(data))
        return _Answer(data, SW.OK)

    def _admit(self, chip: Chip, raw: bytes) -> tuple[Rule, Apdu]:
        """Checks 1 to 5 of purse-card.md 17: block, class and instruction, lock, P1 P2, lengths."""
        cla, ins, p1, p2 = raw[:HEADER_LENGTH]
        if chip.memory.byte(CARD_BLOCK_AT):
            raise Sw(SW.BLOCKED)
        if cla == GREY_LOCK_CLASS and ins in GREY_LOCK:
            raise Sw(SW.UNKNOWN_INS)
        if cla not in CLASSES:
            raise Sw(SW.UNKNOWN_CLA)
        if ins not in self._known:
            raise Sw(SW.UNKNOWN_INS)
        rule = self._commands.get((cla, ins))
        if rule is None:
            raise Sw(SW.UNKNOWN_CLA)
        lock = locked_by(chip)
        if lock and ins not in EXEMPT_FROM_LOCK:
            needs_line_key = cla & 0x0F == 0x04 and ins not in LINE_KEY_FREE
            raise Sw(
                SW.LOCKED_FOR_EVER if lock == fs.LOCKED_FOR_EVER and needs_line_key else SW.BLOCKED
            )
        if not rule.p1p2(p1, p2):
            raise Sw(SW.WRONG_P1P2)
        command = Apdu.parse(raw)
        if len(command.data) > MAX_DATA or not rule.lc(command):
            raise Sw(SW.WRONG_LENGTH)
        self._check_le(rule, command)
        return rule, command

    def _check_le(self, rule: Rule, command: Apdu) -> None:
        le = command.le or 0
        if le > MAX_DATA:
            raise Sw(SW.WRONG_LENGTH)
        if rule.answer is None or le == 0:
            return
        expected = rule.answer(command)
        if le != expected:
            raise wrong_length(expected) if self._t0 and expected else Sw(SW.WRONG_LENGTH)


def _get_response(chip: Chip, raw: bytes) -> _Answer:
    """00 C0: what waits; keeps the challenge and a pending purse transaction."""
    waiting = chip.session.waiting
    if raw[2:4] != b"\x00\x00":
        return _Answer(b"", SW.WRONG_P1P2)
    if len(raw) > HEADER_LENGTH + 1:
        return _Answer(b"", SW.WRONG_LENGTH)
    if not waiting:
        return _Answer(b"", SW.NOT_SATISFIED)
    wanted = raw[4] if len(raw) > HEADER_LENGTH else 0
    if wanted > len(waiting):
        return _Answer(b"", 0x6C00 | len(waiting))
    wanted = wanted or len(waiting)
    chip.session.waiting = waiting[wanted:]
    left = len(chip.session.waiting)
    return _Answer(waiting[:wanted], 0x6100 | left if left else SW.OK)


def _factory(kind: int, serial: bytes, transport_key: bytes | None, t0: bool) -> bytes:
    """What the chip maker delivers: system data, MF, key file with one control key."""
    memory = Eeprom(b"\xff" * (USER_AT + CHIP_MEMORY))
    white = transport_key is None
    system = SYSTEM_MAGIC + bytes((kind, t0, 0, SET if white else 0)) + serial
    memory.program(0, system + b"\x00")
    rights = (ALWAYS, ALWAYS) if white else (MF_PROFILE.create, NEVER)
    space = CHIP_MEMORY - EF_HEADER - len(MF_NAME)
    header = fs.directory_header(
        MF_PROFILE.fid, space, bytes((*rights, MF_PROFILE.app_file)), MF_NAME
    )
    memory.program(USER_AT, header)
    mf = Node(memory, USER_AT)
    key_file = MF_PROFILE.key_file
    add_right = ALWAYS if white else key_file.add
    room = key_file.space.to_bytes(2, "big")
    head = bytes((0x3F,)) + FID_KEYS.to_bytes(2, "big") + room
    memory.commit(
        fs.add_child(
            mf, head + bytes((key_file.short_id, add_right, 0xFF, 0, 0, 0)), key_file.space
        )
    )
    file = mf.key_file()
    if file is None:
        raise AssertionError("the key file was just created")
    stored = KeyType.CONTROL if white else KeyType.CONTROL | KEY_PROTECTED
    record = bytes((stored, 0, ALWAYS, ALWAYS, NEXT_STATE_PRODUCTION, COUNTER_ISSUED))
    memory.commit(record_changes(file, record, transport_key or WHITE_KEY))
    return memory.dump()
