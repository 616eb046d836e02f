"""The purse: sessions, limits, counters, proofs, composite purchase."""

import pytest

from core import crypto
from tests.chip_bench import PURSE_AID, TERMINAL, WHEN, Host, bank, key, white

T = TERMINAL.hex()


@pytest.fixture
def host() -> Host:
    return bank()


def test_without_a_tac_key_nothing_is_committed():
    """INITIALIZE asks for the session's key only; the commit needs the TAC key (9403)."""
    host = bank()
    from cardos.filesystem import Node
    from cardos.security import find_key

    found = find_key(Node(host.card._memory, host.card._chip.session.df), 0x34)
    host.card._memory.program(found.at + 1, b"\x09")  # it has another id than the purses ask for
    answer, sw = host.initialize(1, 2, 0)
    assert sw == 0x9000
    before = host.card._memory.dump()[2048:]
    assert host.sw(host.debit_command(answer, 0, 6)) == 0x9403
    assert host.card._memory.dump()[2048:] == before


def test_a_file_that_is_no_purse_is_of_the_wrong_kind():
    host = white()
    assert host.create(2, bytes.fromhex("280016F0F0FFFF")) == 0x9000
    assert host.sw("805C000204") == 0x6981
    assert host.sw("805C000104") == 0x6A82
    assert host.sw("805001020B0100000000" + TERMINAL.hex()) == 0x6981


def test_a_second_initialize_forgets_the_first(host):
    host.load(1000)
    first, _ = host.initialize(1, 2, 100)
    host.initialize(1, 2, 100)
    assert host.sw(host.debit_command(first, 100, 6)) == 0x9302
    assert host.balance() == 1000


@pytest.mark.parametrize(
    ("init", "second"),
    [
        ("805000020B0100000001" + T, "805200000B"),  # load EP
        ("805000010B0100000001" + T, "805200000B"),  # load ED
        ("805005010B0100000001" + T, "805403000B"),  # unload
        ("8050040107" + "01" + T, "805800000E0003E8"),  # overdraft limit
        ("805001020B0100000001" + T, "805401000F00000000"),  # purchase EP
        ("805001010B0100000001" + T, "805401000F00000000"),  # purchase ED
        ("805002010B0100000001" + T, "805401000F00000000"),  # cash withdrawal
        ("805003020B0100000001" + T, "805401000F00000000"),  # composite
    ],
)
def test_a_wrong_mac_moves_nothing_however_often(host, init, second):
    host.load(1000)
    host.load(1000, purse=1)
    before = host.card._memory.dump()
    for _ in range(5):
        host.ok(init)
        assert host.sw(second + WHEN.hex() + "00000000") == 0x9302
        assert host.sw(second + WHEN.hex() + "00000000") == 0x6901
    assert host.card._memory.dump() == before


def test_the_purse_has_a_right_of_its_own():
    """Two conditions together: use of the purse file and use of the key (purse-card.md 8.0)."""
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380200F0F000FFFF") + b"OTHER") == 0x9000
    host.select(b"OTHER")
    assert host.create(0, bytes.fromhex("3F010080F0FFFF")) == 0x9000
    for key_id, kind in ((1, "3E"), (1, "3F"), (0, "34")):
        host.ok(f"80D401{key_id:02X}15" + kind + "F0F00100" + "00" * 16)
    host.ok("80D4010008" + "3AF0EF1133123456")
    assert host.create(1, bytes.fromhex("2F0208F100FF00")) == 0x9000
    assert host.create(2, bytes.fromhex("2F0208F000FF00")) == 0x9000
    host.select(b"OTHER")
    for command in ("805C000104", "805001010B0100000000" + T, "805000010B0100000000" + T):
        assert host.sw(command) == 0x6982
    assert host.sw("805001020B0100000000" + T) == 0x9000
    host.ok("0020000003123456")
    for command in ("805C000104", "805001010B0100000000" + T, "805000010B0100000000" + T):
        assert host.sw(command) == 0x9000


def test_every_failed_second_command_ends_the_session(host):
    host.load(1000)
    for spoiled in ("8054010000", "805401000F" + "00" * 15, "805200000B" + "00" * 11, "805802000E"):
        answer, _ = host.initialize(1, 2, 100)
        assert host.sw(spoiled) != 0x9000
        assert host.sw(host.debit_command(answer, 100, 6)) == 0x6901
    assert host.balance() == 1000


def test_reads_keep_the_session_select_and_reset_end_it(host):
    host.load(1000)
    answer, _ = host.initialize(1, 2, 100)
    host.balance()
    host.sw("00B0950001")
    host.sw("805A0002020001")
    host.ok(host.debit_command(answer, 100, 6))
    answer, _ = host.initialize(1, 2, 100)
    host.select(PURSE_AID)
    assert host.sw(host.debit_command(answer, 100, 6)) == 0x6901
    assert host.balance() == 900


def test_limits_of_the_purse(host):
    assert host.initialize(0, 2, 100_001)[1] == 0x6985
    host.load(100_000)
    assert host.initialize(0, 2, 1)[1] == 0x6985
    assert host.initialize(0, 2, 0)[1] == 0x9000  # the recovery probe
    assert host.initialize(1, 2, 100_001)[1] == 0x9401
    host.load(0xFFFF_FFFF, purse=1)
    assert host.initialize(0, 1, 1)[1] == 0x6985


def change_limit(host, limit: int) -> int:
    """A whole change of the ED's overdraft limit; the status word of its second command."""
    answer = host.ok("805004010701" + T + "13")
    session = crypto.purse_session_key(key("overdraft"), answer[11:15], answer[4:6], b"\x80\x00")
    text = limit.to_bytes(3, "big") + b"\x07" + TERMINAL + WHEN
    body = text[:3] + WHEN + crypto.purse_mac(session, text)
    return host.sw(b"\x80\x58\x00\x00\x0e" + body)


def test_the_overdraft_limit_moves_the_balance_and_never_below_zero_or_above_32_bits(host):
    host.load(100, purse=1)
    assert change_limit(host, 5000) == 0x9000
    assert host.balance(1) == 5100
    host.purchase(5000, purse=1)  # 4,900 of them are the bank's
    before = host.card._memory.dump()
    assert change_limit(host, 4899) == 0x9401
    assert host.card._memory.dump() == before
    assert change_limit(host, 4900) == 0x9000
    assert host.balance(1) == 0
    host.load(0xFFFF_FFFF, purse=1)
    assert change_limit(host, 4901) == 0x6985
    assert host.balance(1) == 0xFFFF_FFFF


def test_the_composite_cache_asks_for_a_file_of_records(host):
    host.initialize(3, 2, 0)
    assert host.sw("80DCAAF804AA020000") == 0x6A82  # file 1F is not there
    assert host.sw("80DC01AC04AA020000") == 0x6981  # 0015 is binary
    assert host.sw("80DC01C417" + "00" * 23) == 0x6981  # the log is cyclic
    host.ok("00E200C804AA020000")
    host.ok("80DCAAC804AA020001")  # it is still open


def test_outside_a_composite_purchase_the_cache_ends_what_was_begun(host):
    host.load(1000)
    answer, _ = host.initialize(1, 2, 100)
    assert host.sw("80DCAAC804AA020000") == 0x6901
    assert host.sw(host.debit_command(answer, 100, 6)) == 0x6901


def test_counters_end(host):
    memory = host.card._memory
    from cardos.filesystem import Node

    node = Node(memory, host.card._chip.session.df).child(2)
    memory.program(node.body + 9, b"\xff\xfe")
    host.purchase(0)
    assert host.initialize(1, 2, 0)[1] == 0x9402
    host.load(1)


def test_proofs_tell_type_and_serial(host):
    tac = host.load(1000)
    assert host.ok("805A000202000108") == bytes(4) + tac
    assert host.sw("805A000202000008") == 0x9406
    assert host.sw("805A000602000108") == 0x9406
    answer = host.purchase(10)
    assert host.ok("805A000602000108") == answer[4:] + answer[:4]
    assert host.ok("805A000202000108") == bytes(4) + tac  # the other counter's proof stays
    host.initialize(1, 2, 0)
    host.card.reset()
    host.select(PURSE_AID)
    assert host.ok("805A000602000108") == answer[4:] + answer[:4]


def test_composite_purchase_writes_money_and_records_together(host):
    host.load(1000)
    host.ok("00E200C804AA020000")
    answer, _ = host.initialize(3, 2, 300)
    assert host.sw("80DCAAC803AA0100") == 0x6700
    assert host.sw("80DCBBC804BB020000") == 0x6A83
    host.ok("80DCAAC804AA021234")
    host.ok("80DC01CC04AA025678")  # the same record again
    assert host.ok("00B201CC00").hex() == "aa020000"
    host.ok(host.debit_command(answer, 300, 9))
    assert host.ok("00B201CC00").hex() == "aa025678"
    assert host.balance() == 700


def test_composite_cache_is_limited(host):
    for number in range(4):
        host.ok(f"00E200C804A{number}020000")
    host.initialize(3, 2, 0)
    for number in range(3):
        host.ok(f"80DCA{number}C804A{number}020001")
    assert host.sw("80DCA3C804A3020001") == 0x6A84


def test_weak_keys_work():
    """Equal halves are single DES, and the XOR of a TAC key may be all zero (purse-card.md 4.1, 18)."""
    host = bank({0x3E: key("half")[:8] * 2, 0x3F: bytes(16), 0x34: b"\x5a" * 16})
    tac = host.load(1000, load_key=bytes(16))
    text = (1000).to_bytes(4, "big") + b"\x02" + TERMINAL + WHEN
    assert tac == crypto.purse_mac(bytes(8), (1000).to_bytes(4, "big") + bytes(2) + text)
    answer, _ = host.initialize(1, 2, 400)
    session = crypto.des_encrypt(key("half")[:8], answer[11:15] + answer[4:6] + b"\x12\x34")
    text = (400).to_bytes(4, "big") + b"\x06" + TERMINAL
    mac1 = crypto.purse_mac(session, text + WHEN)
    serial = bytes.fromhex("ABCD1234")  # whole in the TAC, its right half in the session key
    done = host.ok(bytes.fromhex("805401000F") + serial + WHEN + mac1)
    assert done[:4] == crypto.purse_mac(bytes(8), text + serial + WHEN)
    assert host.balance() == 600


def test_two_terminals_on_one_card(host):
    host.load(1000)
    for serial in range(6):
        host.purchase(10, serial=serial * 0x10001)
    assert host.balance() == 940
    assert [int.from_bytes(host.ok(bytes((0, 0xB2, n, 0xC4, 0)))[:2]) for n in (1, 2)] == [6, 5]


def test_sm4_purse_is_our_own_profile():
    host = bank(alg=4)
    answer, sw = host.initialize(0, 2, 500)
    assert (sw, answer[7]) == (0x9000, 4)
    session = crypto.sm4_purse_session_key(key("load"), answer[8:12], answer[4:6], b"\x80\x00")
    text = (500).to_bytes(4, "big") + b"\x02" + TERMINAL
    assert answer[12:] == crypto.sm4_mac(session, bytes(4) + text)
    tac = host.ok(bytes.fromhex("805200000B") + WHEN + crypto.sm4_mac(session, text + WHEN))
    assert tac == crypto.sm4_mac(key("tac"), (500).to_bytes(4, "big") + bytes(2) + text + WHEN)
