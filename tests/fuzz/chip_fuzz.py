"""Random bytes as commands: nothing leaves the chip but a status word, and the file tree stays sound.

``python -m tests.fuzz.chip_fuzz SECONDS [SEED]`` runs for a while; with atheris installed
``python -m tests.fuzz.chip_fuzz --atheris`` lets the coverage guide it.
"""

import random
import sys
import time
from collections.abc import Iterator

from cardos.card import Card
from cardos.filesystem import Node
from cardos.memory import USER_AT, PowerCut
from tests.chip_bench import Dice, Host, bank, permit, psam, white

CLASSES = (0x00, 0x04, 0x80, 0x84)
INSTRUCTIONS = bytes.fromhex("0E16181A1E2024505254585A5C5E70728284 88A4B0B2C0D0D4D6DCE0E2FA")
COMMANDS_PER_CARD = 400
MAX_ATHERIS_COMMANDS = 64


def images() -> list[bytes]:
    """Chips to begin with: white, bank, permit, PSAM."""
    return [host.card._memory.dump() for host in (white(), bank(), permit(), psam())]


def command(dice: random.Random) -> bytes:
    """Mostly well-formed commands, some garbage."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(0, 300))
    p1 = dice.choice((0, 0, 1, 2, 3, 4, 5, dice.randrange(256)))
    p2 = dice.choice((0, 0, 1, 2, 3, 0x0C, 0xC4, 0xC8, dice.randrange(256)))
    head = bytes((dice.choice(CLASSES), dice.choice(INSTRUCTIONS), p1, p2))
    size = dice.choice((0, 0, 2, 4, 7, 8, 9, 11, 13, 14, 15, 20, 21, 25, dice.randrange(256)))
    body = bytes((size,)) + dice.randbytes(size) if size else b""
    if body and dice.random() < 0.5:
        body = bytes((size,)) + bytes(dice.choice((0, 1, 2, 0x28, 0x2F, 0x38, 0x3F, 0x39, 0xF0, 0xFF))
                                      for _ in range(size))  # fmt: skip
    return head + body + (dice.choice((b"", b"\x00", b"\x04", b"\x08", dice.randbytes(1))))


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


def check(card: Card, raw: bytes) -> int:
    """Send one command; AssertionError unless the answer is data and a status word."""
    answer = card.transmit(raw)
    assert 2 <= len(answer) <= 241, raw.hex()
    sw = int.from_bytes(answer[-2:], "big")
    assert sw >> 8 in (0x61, 0x62, 0x63, 0x64, 0x65, *range(0x67, 0x6F), *range(0x90, 0x95)), (
        raw.hex()
    )
    return sw


def play(base: bytes, seed: int, commands: int = COMMANDS_PER_CARD) -> None:
    """Many random commands on one chip, with resets and power cuts between them."""
    dice = random.Random(seed)
    card = Card(base, Dice(seed))
    host = Host(card, Dice(seed))
    for _ in range(commands):
        try:
            luck = dice.random()
            if luck < 0.01:
                card.reset()
            elif luck < 0.02:
                card.power_cut_after(dice.randrange(200), dice.choice((None, 0, 0xA5, 0xFF)))
            elif luck < 0.1:
                host.sw(
                    dice.choice(
                        ("00A40000023F00", "00A40000023F01", "00A4000002DF01", "0084000004")
                    )
                )
            check(card, command(dice))
        except PowerCut:
            card.keep_power()
            card.reset()
    card.keep_power()
    card.reset()
    assert sound(card), f"seed {seed}"


def run(seconds: float, seed: int) -> int:
    """Play until the time is up; the number of chips played."""
    bases, end, played = images(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        play(bases[played % len(bases)], seed + played)
        played += 1
    return played


def _atheris() -> None:
    import atheris  # type: ignore[import-not-found,unused-ignore]

    bases = images()

    def one(data: bytes) -> None:
        if not data:
            return
        card, at = Card(bases[data[0] % len(bases)], Dice(1)), 1
        for _ in range(MAX_ATHERIS_COMMANDS):
            if at >= len(data):
                break
            check(card, data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        assert sound(card)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--atheris"]:
        _atheris()
    else:
        count = run(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
        sys.stdout.write(f"{count} chips, {count * COMMANDS_PER_CARD} commands, no exception\n")
