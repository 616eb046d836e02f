"""The exhaustive power cut: every state-changing command, cut at every byte it writes.

``python -m tests.chip_cuts`` prints the table for all torn values; the property test runs a smaller set.
A cut passes when the card, after reset, shows exactly the state before or after the command (error
counters aside, which must be the old ones or one less), and the purse is consistent.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cardos import filesystem as fs
from cardos.card import Card
from cardos.filesystem import Node
from cardos.memory import CARD_BLOCK_AT, USER_AT, Eeprom, PowerCut
from cardos.purse import Purse
from cardos.security import keys_of
from cardos.spec import FileKind
from core import crypto
from tests.chip_bench import PURSE_AID, TERMINAL, WHEN, Dice, Host, bank, key, psam, vector, white

TORN = (None, 0x00, 0xFF, 0xA5)
MAX_WRITES = 20_000  # no command writes more
Prepare = Callable[[Host], bytes]
State = tuple[object, ...]


def _counted(kind: int) -> bool:
    return 0x36 <= kind <= 0x3A


def logical(memory: Eeprom) -> tuple[State, dict[tuple[int, int, int], int]]:
    """What the files say, without error counters; and the error counters apart."""
    tries: dict[tuple[int, int, int], int] = {}

    def walk(df: Node) -> Iterator[object]:
        yield (df.fid, df.name, df.lock, df.used)
        tries[df.at, 0, 0] = fs.MAX_FAILED_UNBLOCKS - df.failed_unblocks
        for node in df.children():
            if node.is_directory:
                yield tuple(walk(node))
            elif node.kind == FileKind.KEYS:
                for item in keys_of(df):
                    fourth = item.fourth
                    if _counted(item.type) and not item.usage_form:
                        tries[df.at, item.type, item.id] = item.tries
                        fourth &= 0xF0
                    if item.usage_form:
                        tries[df.at, item.stored_type, item.id] = item.mark & 0xF
                    yield (item.stored_type, item.id, item.use, item.third, fourth, item.value)
            else:
                yield (node.fid, memory.read(node.at, 11), node.content)

    mf = Node(memory, USER_AT)
    return (memory.byte(CARD_BLOCK_AT) == 0xA5, tuple(walk(mf))), tries


def consistent(memory: Eeprom) -> bool:
    """Newest log record, counters and proofs of every purse fit together."""
    for df in (n for n in Node(memory, USER_AT).children() if n.is_directory):
        for node in df.children():
            if node.kind != FileKind.PURSE:
                continue
            purse = Purse(node)
            log = df.child(purse.log_sfi)
            if log is None or not log.count:
                continue
            newest = fs.record_at(log, 1)[1]
            online = newest[9] in (1, 2, 3, 7)
            if int.from_bytes(newest[:2], "big") != purse.serial(online):
                return False
            if purse.proof(newest[9]) is None:
                return False
    return True


# -- the commands -----------------------------------------------------------------------------------


def _select(host: Host) -> None:
    host.select(PURSE_AID)


def _protected(header: str, plain: bytes, label: str, cipher: bool = False) -> Prepare:
    def prepare(host: Host) -> bytes:
        _select(host)
        data = crypto.sm_encrypt(key(label), plain) if cipher else plain
        iv = crypto.sm_iv(host.challenge())
        head = bytes.fromhex(header) + bytes((len(data) + 4,)) + data
        return head + crypto.sm_mac(key(label), iv, head)

    return prepare


def _plain(command: str) -> Prepare:
    def prepare(host: Host) -> bytes:
        _select(host)
        return bytes.fromhex(command)

    return prepare


def _load(purse: int) -> Prepare:
    def prepare(host: Host) -> bytes:
        _select(host)
        answer, _ = host.initialize(0, purse, 700)
        session = crypto.purse_session_key(key("load"), answer[8:12], answer[4:6], b"\x80\x00")
        text = (700).to_bytes(4, "big") + bytes((purse,)) + TERMINAL + WHEN
        return bytes.fromhex("805200000B") + WHEN + crypto.purse_mac(session, text)

    return prepare


def _purchase(p1: int, purse: int, kind: int) -> Prepare:
    def prepare(host: Host) -> bytes:
        _select(host)
        answer, _ = host.initialize(p1, purse, 40)
        if kind == 9:
            host.ok("80DCAAC804AA024321")
            host.ok("80DC01D410" + "77" * 16)
        return host.debit_command(answer, 40, kind)

    return prepare


def _unload(host: Host) -> bytes:
    _select(host)
    answer, _ = host.initialize(5, 1, 30)
    session = crypto.purse_session_key(key("unload"), answer[8:12], answer[4:6], b"\x80\x00")
    text = (30).to_bytes(4, "big") + b"\x03" + TERMINAL + WHEN
    return bytes.fromhex("805403000B") + WHEN + crypto.purse_mac(session, text)


def _limit(host: Host) -> bytes:
    _select(host)
    answer = host.ok("805004010701" + TERMINAL.hex() + "13")
    session = crypto.purse_session_key(key("overdraft"), answer[11:15], answer[4:6], b"\x80\x00")
    text = bytes.fromhex("0003E807") + TERMINAL + WHEN
    mac2 = crypto.purse_mac(session, text)
    return bytes.fromhex("805800000E0003E8") + WHEN + mac2


def _external(wrong: bool) -> Prepare:
    def prepare(host: Host) -> bytes:
        _select(host)
        block = host.challenge().ljust(8, b"\x00")
        proof = crypto.des_encrypt(key("control"), block)
        return b"\x00\x82\x00\x00\x08" + (bytes(8) if wrong else proof)

    return prepare


def _credit_sam(right: bool) -> Prepare:
    def prepare(host: Host) -> bytes:
        _select(host)
        serial = host.ok(INIT_SAM)[:4]
        master = bytes.fromhex(vector("ds-psam1")["inputs"]["psam_master_purchase_key"])
        card_key = crypto.diversify(master, bytes.fromhex("5180484934206731"))
        session = crypto.purse_session_key(
            card_key, bytes.fromhex("0BC57642"), b"\x00\xed", serial[2:]
        )
        mac2 = crypto.purse_mac(session, bytes.fromhex("00000F36"))
        return bytes.fromhex("8072000004") + (mac2 if right else bytes(4))

    return prepare


INIT_SAM = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
RELOAD = "805E000007112233" + crypto.reload_pin_mac(key("reload"), bytes.fromhex("112233")).hex()
NEW_KEY = bytes.fromhex("39F0F00133") + key("new control")
ADD_KEY = bytes.fromhex("3EF0F00300") + key("another")


def _bank() -> bytes:
    host = bank()
    host.load(5000)
    host.load(5000, purse=1)
    host.purchase(100)
    host.ok("00E200C804AA020000")
    for value in (1, 2):
        host.ok("00E200D010" + f"{value:02X}" * 16)
    return host.card._memory.dump()


def _blocked() -> bytes:
    host = bank()
    host.protected_ok("841E0000", b"", key("line"))
    return host.card._memory.dump()


def _unblock(host: Host) -> bytes:
    host.sw(bytes((0, 0xA4, 4, 0, 9)) + PURSE_AID)
    iv = crypto.sm_iv(host.challenge())
    return bytes.fromhex("8418000004") + crypto.sm_mac(key("line"), iv, bytes.fromhex("8418000004"))


def _cyclic(host: Host) -> bytes:
    _select(host)
    assert host.create(0x1B, bytes.fromhex("2E0210F0F0FFFF")) == 0x9000
    for value in ("22", "33"):
        host.ok("00DC00DB10" + value * 16)
    return bytes.fromhex("00DC00DB10" + "44" * 16)


def _white(command: str) -> Prepare:
    return lambda _host: bytes.fromhex(command)


COMMANDS: dict[str, tuple[Callable[[], bytes], Prepare]] = {
    "8052 load EP": (_bank, _load(2)),
    "8052 load ED": (_bank, _load(1)),
    "8054 purchase EP": (_bank, _purchase(1, 2, 6)),
    "8054 purchase ED": (_bank, _purchase(1, 1, 5)),
    "8054 withdrawal": (_bank, _purchase(2, 1, 4)),
    "8054 composite": (_bank, _purchase(3, 2, 9)),
    "8054 unload": (_bank, _unload),
    "8058 overdraft limit": (_bank, _limit),
    "84D4 add key": (_bank, _protected("84D40103", ADD_KEY, "control", cipher=True)),
    "84D4 change control key": (_bank, _protected("84D43900", NEW_KEY, "control", cipher=True)),
    "80D4 add key": (_bank, _plain("80D4010315" + ADD_KEY.hex())),
    "04D6 update binary": (_bank, _protected("04D69500", bytes(range(30)), "line")),
    "00DC update record": (_bank, _plain("00DC01D410" + "55" * 16)),
    "00E2 append record": (_bank, _plain("00E200D010" + "66" * 16)),
    "80E0 create file": (_bank, _plain("80E0002207280040F0F0FFFF")),
    "80E0 create cyclic file": (_bank, _plain("80E00022072E0417F0F0FFFF")),
    "80E0 create directory": (_bank, _plain("80E03F050D380040F0F000FFFF4142434445")),
    "80E0 3F00 on a white card": (
        lambda: white().card._memory.dump(),
        _white("80E03F000D38FFFFF0F001FFFFFFFFFFFFFF"),
    ),
    "800E erase": (_bank, _plain("800E000000")),
    "0020 right PIN": (_bank, _plain("0020000003123456")),
    "0020 wrong PIN": (_bank, _plain("0020000003999999")),
    "0082 right": (_bank, _external(False)),
    "0082 wrong": (_bank, _external(True)),
    "805E change PIN, longer": (_bank, _plain("805E010008123456FF98765432")),
    "805E reload PIN": (_bank, _plain(RELOAD)),
    "8424 PIN unblock": (_bank, _protected("84240000", b"\x65\x43\x21", "unblock", cipher=True)),
    "841E block": (_bank, _protected("841E0000", b"", "line")),
    "8418 unblock": (_blocked, _unblock),
    "8416 card block": (_bank, _protected("84160000", b"", "line")),
    "00DC add to a cyclic file": (_bank, _cyclic),
    "84D4 PSAM, usage key": (
        lambda: psam().card._memory.dump(),
        _protected(
            "84D40000", bytes.fromhex("280200") + key("second"), "psam control", cipher=True
        ),
    ),
    "8070 PSAM": (lambda: psam().card._memory.dump(), _plain(INIT_SAM)),
    "8072 PSAM, right MAC2": (lambda: psam().card._memory.dump(), _credit_sam(True)),
    "8072 PSAM, wrong MAC2": (lambda: psam().card._memory.dump(), _credit_sam(False)),
}


@dataclass(frozen=True)
class Outcome:
    """One command's row of the table."""

    name: str
    writes: int
    cuts: int
    old: int
    new: int
    violations: int


def _start(memory: bytes, prepare: Prepare) -> tuple[Host, bytes]:
    dice = Dice(3)
    host = Host(Card(memory, dice), dice)
    return host, prepare(host)


def sweep(name: str, torn_values: tuple[int | None, ...] = TORN) -> Outcome:
    """Cut one command at every write, once for every torn value; recovery itself is cut too."""
    make, prepare = COMMANDS[name]
    base = make()
    host, command = _start(base, prepare)
    old, old_tries = logical(host.card._memory)
    before = host.card.writes
    host.card.transmit(command)
    writes = host.card.writes - before
    host.card.reset()
    new, _ = logical(host.card._memory)
    assert 0 < writes < MAX_WRITES
    cuts = olds = news = violations = 0
    for torn in torn_values:
        for at in range(writes):
            host, command = _start(base, prepare)
            host.card.power_cut_after(at, torn)
            try:
                host.card.transmit(command)
            except PowerCut:
                cuts += 1
            else:
                violations += 1
                continue
            host.card.power_cut_after(at % 40)  # and once more while the journal is being finished
            try:
                host.card.reset()
            except PowerCut:
                cuts += 1
            host.card.keep_power()
            host.card.reset()
            state, tries = logical(host.card._memory)
            olds += state == old
            news += state == new and state != old
            counters = all(
                tries.get(name, left) in (left, left - 1) or state == new
                for name, left in old_tries.items()
            )
            if state not in (old, new) or not counters or not consistent(host.card._memory):
                violations += 1
    return Outcome(name, writes, cuts, olds, news, violations)


def main() -> None:
    """Print the table; exit 1 when there is a violation."""
    total = bad = 0
    sys.stdout.write(
        f"{'command':32}{'writes':>8}{'cuts':>8}{'old':>8}{'new':>8}{'violations':>12}\n"
    )
    for name in COMMANDS:
        row = sweep(name)
        total, bad = total + row.cuts, bad + row.violations
        sys.stdout.write(
            f"{name:32}{row.writes:8}{row.cuts:8}{row.old:8}{row.new:8}{row.violations:12}\n"
        )
    sys.stdout.write(f"{'all':32}{'':8}{total:8}{'':16}{bad:12}\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
