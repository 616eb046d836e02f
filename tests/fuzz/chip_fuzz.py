"""Random scripts on the chip: nothing leaves it but a status word, and the file tree stays sound.

A script is bytes; `Player` reads them as commands. Some are raw garbage, most are shaped like commands, and
some are correctly signed, authenticated or whole transactions, because random bytes never pass a MAC and
what lies behind it must be reached too. Resets and power cuts come in between.

``python -m tests.fuzz.chip_fuzz --atheris [-max_total_time=600] [CORPUS]`` lets the coverage guide it;
``python -m tests.fuzz.chip_fuzz SECONDS [SEED]`` plays random scripts without atheris.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator

if sys.argv[1:2] == ["--atheris"]:
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["cardos"]):
        from cardos.card import Card
        from cardos.filesystem import Node
else:
    from cardos.card import Card
    from cardos.filesystem import Node

from cardos.memory import USER_AT, PowerCut
from cardos.spec import AID_RESIDENCE
from core import crypto
from tests.chip_bench import (
    PIN,
    PURSE_AID,
    TERMINAL,
    WHEN,
    Dice,
    Host,
    bank,
    key,
    permit,
    psam,
    white,
)

CLASSES = (0x00, 0x04, 0x80, 0x84)
INSTRUCTIONS = bytes.fromhex("0E16181A1E2024505254585A5C5E70728284 88A4B0B2C0D0D4D6DCE0E2FA")
SIZES = (0, 0, 2, 4, 7, 8, 9, 11, 13, 14, 15, 20, 21, 25)
PARAMETERS = (0, 0, 0, 1, 1, 2, 3, 4, 5, 0x0C, 0x95, 0x98, 0xC4, 0xC8, 0xCC, 0xD4)
KEY_TYPES = bytes.fromhex("F93936FE3EFF3FF4343A37F7")
SIGNED = tuple(  # header, key, whether enciphered, Le
    (bytes.fromhex(head), label, cipher, bytes.fromhex(le))
    for head, label, cipher, le in (
        ("04D69500", "line", False, ""), ("04D69500", "line", False, ""),
        ("04B09500", "line", False, "00"), ("04DC01D4", "line", False, ""),
        ("04E200D0", "line", False, ""), ("04B201C4", "line", False, "00"),
        ("84D40105", "control", True, ""), ("84D43900", "control", True, ""),
        ("84D43E01", "control", True, ""), ("84D40000", "psam control", True, ""),
        ("84240000", "unblock", True, ""), ("84180000", "line", False, ""),
        ("841E0000", "line", False, ""), ("84160000", "line", False, ""),
    )
)  # fmt: skip
FILES = (
    "A8001EF0F0FFFF", "280008F0F0FF7F", "E80020F0F0FF7F", "2E0310F0F0FFFF", "2A0210F0EFFFEF",
    "AC0040F0F0FFFF", "2F0208F000FF18", "3F006095F0FFFF", "380100F0F095FFFF4E414D4531",
)  # fmt: skip
KINDS = ((0, 2, 2), (1, 2, 6), (3, 2, 9), (1, 1, 5), (2, 1, 4), (0, 1, 1))
SCRIPT_BYTES = 3000


def images() -> list[bytes]:
    """Chips to begin with: white, bank, permit, PSAM."""
    return [host.card._memory.dump() for host in (white(), bank(), permit(), psam())]


def sound(card: Card) -> bool:
    """Every directory's files fill exactly the bytes it says are used, and none exceeds its space."""

    def walk(df: Node) -> Iterator[bool]:
        at = df.body
        for child in df.children():
            yield child.at == at and child.size > 0
            at += child.size
            if child.is_directory:
                yield from walk(child)
        yield at == df.body + df.used and df.used <= df.space

    return all(walk(Node(card._memory, USER_AT)))


class End(Exception):
    """The script is over."""


class Player:
    """Reads a script and plays it on a chip."""

    def __init__(self, card: Card, script: bytes) -> None:
        self.card, self.script, self.at = card, script, 0
        self.host = Host(card, Dice(1))
        self.host.send = self.send  # type: ignore[method-assign]
        self.answered = 0
        self.ops: tuple[Callable[[], object], ...] = (
            self._garbage, self._shaped, self._shaped, self._shaped, self._read, self._read,
            self._select, self._power, self._authenticate, self._verify, self._signed,
            self._signed, self._pay, self._pay, self._challenge, self._create,
        )  # fmt: skip

    def byte(self) -> int:
        if self.at >= len(self.script):
            raise End
        self.at += 1
        return self.script[self.at - 1]

    def bytes(self, count: int) -> bytes:
        return bytes(self.byte() for _ in range(count))

    def play(self) -> None:
        """To the end; AssertionError for an answer that is none or a tree that is not sound."""
        self.send(b"\x00\xa4\x04\x00" + bytes((len(PURSE_AID),)) + PURSE_AID)
        try:
            while True:
                try:
                    self.ops[self.byte() % len(self.ops)]()
                except PowerCut:
                    self.card.keep_power()
                    self.card.reset()
        except End:
            pass
        self.card.keep_power()
        self.card.reset()
        assert sound(self.card)

    def send(self, command: "str | bytes") -> tuple[bytes, int]:
        """One command; AssertionError unless the answer is data and a status word."""
        raw = bytes.fromhex(command) if isinstance(command, str) else command
        answer = self.card.transmit(raw)
        assert 2 <= len(answer) <= 241, raw.hex()
        sw = int.from_bytes(answer[-2:], "big")
        known = (0x61, 0x62, 0x63, 0x64, 0x65, *range(0x67, 0x6F), *range(0x90, 0x95))
        assert sw >> 8 in known, raw.hex()
        self.answered += 1
        return answer[:-2], sw

    # -- operations --

    def _garbage(self) -> None:
        self.send(self.bytes(self.byte()))

    def _parameter(self) -> int:
        value = self.byte()
        return value if value & 1 else PARAMETERS[value // 2 % len(PARAMETERS)]

    def _shaped(self) -> None:
        head = bytes((CLASSES[self.byte() % 4], INSTRUCTIONS[self.byte() % len(INSTRUCTIONS)]))
        head += bytes((self._parameter(), self._parameter()))
        choice = self.byte()
        size = SIZES[choice % len(SIZES)] if choice < 0xE0 else choice
        body = bytes((size,)) + self.bytes(size) if size else b""
        tail = (b"", b"\x00", b"\x04", b"\x08")[self.byte() % 4]
        self.send(head + body + tail)

    def _select(self) -> None:
        names = (PURSE_AID, PURSE_AID, PURSE_AID, AID_RESIDENCE, b"NAME1", b"")
        name = names[self.byte() % len(names)]
        self.send(b"\x00\xa4\x04\x00" + bytes((len(name),)) + name if name else "00A40000023F00")

    def _power(self) -> None:
        at = self.byte()
        if at & 1:
            self.card.reset()
        else:
            self.card.power_cut_after(at, (None, 0, 0xA5, 0xFF)[self.byte() % 4])

    def _authenticate(self) -> None:
        block = self._random().ljust(8, b"\x00")
        value = (key("control"), key("psam control"), b"\xff" * 8, key("reader"))[self.byte() % 4]
        key_id = self.byte() % 3
        self.send(bytes((0, 0x82, 0, key_id, 8)) + crypto.des_encrypt(value, block))

    def _verify(self) -> None:
        self.send(b"\x00\x20\x00\x00\x03" + (PIN if self.byte() & 1 else self.bytes(3)))

    def _random(self) -> bytes:
        data, sw = self.send("0084000004")
        return data if sw == 0x9000 else bytes(4)

    def _signed(self) -> None:
        """A command under line protection that is right but for what the script made of it."""
        head, label, cipher, le = SIGNED[self.byte() % len(SIGNED)]
        twist = self.byte()
        if head[1] in (0x16, 0x1E) and twist < 0xE0:  # blocked cards say no more
            return
        if twist & 1:
            head = head[:2] + bytes((self._parameter(), self._parameter()))
        if head[1] == 0xD4:
            plain = bytes((KEY_TYPES[self.byte() % len(KEY_TYPES)],)) + self.bytes(4) + key("new")
        elif label == "unblock":
            plain = PIN
        else:
            plain = b"" if le or head[1] in (0x16, 0x18, 0x1E) else self.bytes(self.byte() % 30 + 1)
        data = crypto.sm_encrypt(key(label), plain) if cipher else plain
        iv = crypto.sm_iv(self._random())
        head += bytes((len(data) + 4,)) + data
        self.send(head + crypto.sm_mac(key(label), iv, head) + le)

    def _read(self) -> None:
        """Reading and plain writing by short id."""
        short, choice = self.byte() % 0x20, self.byte()
        if choice < 0x40:
            self.send(bytes((0, 0xB0, 0x80 | short, choice % 4, 0)))
        elif choice < 0x80:
            self.send(bytes((0, 0xB2, choice % 8, short << 3 | 4, 0)))
        elif choice < 0xC0:
            size = choice % 24 + 1
            self.send(bytes((0, 0xD6, 0x80 | short, 0, size)) + self.bytes(size))
        else:
            size = (3, 4, 16, 23)[choice % 4]
            head = bytes(
                (0, (0xDC, 0xE2)[choice >> 2 & 1], choice >> 3 & 3, short << 3 | choice & 4)
            )
            record = bytes((choice, size - 2)) + self.bytes(size - 2)
            self.send(head + bytes((size,)) + record)

    def _pay(self) -> None:
        """A transaction of a bank card, sometimes only its first half."""
        p1, purse, kind = KINDS[self.byte() % len(KINDS)]
        amount = self.byte() << (self.byte() % 16)
        answer, sw = self.host.initialize(p1, purse, amount)
        if sw != 0x9000 or self.byte() < 0x20:
            return
        if kind == 9:
            self.send(bytes((0x80, 0xDC, self._parameter(), 0xC8, 4)) + self.bytes(4))
        if kind in (1, 2):
            session = crypto.purse_session_key(key("load"), answer[8:12], answer[4:6], b"\x80\x00")
            text = amount.to_bytes(4, "big") + bytes((kind,)) + TERMINAL + WHEN
            self.send(bytes.fromhex("805200000B") + WHEN + crypto.purse_mac(session, text))
        else:
            self.send(self.host.debit_command(answer, amount, kind))

    def _challenge(self) -> None:
        self.send(bytes((0, 0x84, 0, 0, (4, 8)[self.byte() & 1])))

    def _create(self) -> None:
        body = bytes.fromhex(FILES[self.byte() % len(FILES)])
        self.send(bytes((0x80, 0xE0, 0, self.byte() % 0x20, len(body))) + body)


def play(base: bytes, seed: int, size: int = SCRIPT_BYTES) -> int:
    """One random script on a chip; the number of commands it answered."""
    player = Player(Card(base, Dice(seed)), random.Random(seed).randbytes(size))
    player.play()
    return player.answered


def run(seconds: float, seed: int) -> tuple[int, int]:
    """Play until the time is up; chips and commands played."""
    bases, end = images(), time.monotonic() + seconds
    played = commands = 0
    while time.monotonic() < end:
        commands += play(bases[played % len(bases)], seed + played)
        played += 1
    return played, commands


def _atheris() -> None:
    bases = images()

    def one(data: bytes) -> None:
        if data:
            Player(Card(bases[data[0] % len(bases)], Dice(1)), data[1:]).play()

    options = ["-len_control=0", "-max_len=4096", *sys.argv[2:]]  # long scripts from the beginning
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--atheris"]:
        _atheris()
    else:
        chips, count = run(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
        sys.stdout.write(f"{chips} chips, {count} commands, no exception\n")
