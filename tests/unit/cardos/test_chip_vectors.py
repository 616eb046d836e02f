"""Every vector of the shared set that is a chip computation, through the chip's own APDUs."""

import pytest

from core import crypto
from tests.chip_bench import WHITE, Dice, Host, bank, psam, vector, white

LOAD, BUY, CASH = 0, 1, 2


def adf(control: bytes = b"", alone: bool = True) -> Host:
    """A fresh directory in its free state with an open key file."""
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380400F0F000FFFF") + b"TESTADF") == 0x9000
    host.select(b"TESTADF")
    assert host.create(0, bytes.fromhex("3F0100" + "80F0FFFF")) == 0x9000
    return host


def add_key(host: Host, key_id: int, record: str) -> None:
    body = bytes.fromhex(record)
    host.ok(bytes((0x80, 0xD4, 1, key_id, len(body))) + body)


def set_counters(host: Host, purse: int, balance: str, serial: str) -> None:
    """Put a purse at the balance and the serials of a vector: the only place that reaches into memory."""
    memory = host.card._memory
    node = next(n for n in _df(host).children() if n.fid == purse)
    memory.program(node.body, bytes.fromhex(balance))
    memory.program(node.body + 7, bytes.fromhex(serial + serial))


def _df(host: Host):
    from cardos.filesystem import Node

    return Node(host.card._memory, host.card._chip.session.df)


def test_external_authenticate():
    data, want = vector("auth-1")["inputs"], vector("auth-1")["expected"]
    host = adf()
    add_key(host, 1, "39F0F01133" + data["key"])
    host.dice.force(data["challenge"])
    host.challenge()
    assert host.sw(want["apdu"]) == 0x9000
    host.challenge()
    assert host.sw(want["apdu"]) == 0x63C2


@pytest.mark.parametrize("name", ["auth-3", "auth-4"])
def test_internal_authenticate(name):
    data, want = vector(name)["inputs"], vector(name)["expected"]
    host = adf()
    add_key(host, int(data["p2"], 16), data["key_type"] + "F0F00100" + data["key"])
    answer = host.ok("0088" + data["p1"] + data["p2"] + "08" + data["data"] + "00")
    assert answer.hex().upper() == want["response"]


def test_update_binary_under_line_protection_as_captured_on_hardware():
    item = vector("sm-1")
    host = adf()
    add_key(host, 0, "36F0F0FF33" + item["inputs"]["key"])
    assert host.create(0x15, bytes.fromhex("A80020F0F0FFFF")) == 0x9000
    host.ok("00A40000020015")
    host.dice.force(item["inputs"]["challenge"])
    host.challenge()
    host.ok(item["inputs"]["message"] + item["expected"]["mac"])
    assert host.send("00B0000010")[0].hex().upper() == item["inputs"]["message"][10:]


def test_write_of_file_0015():
    item = vector("sm-2")
    host = adf()
    add_key(host, 0, "36F0F0FF33" + item["inputs"]["key"])
    assert host.create(0x15, bytes.fromhex("A8001EF0F0FFFF")) == 0x9000
    host.dice.force(item["inputs"]["challenge"])
    host.challenge()
    host.ok(item["inputs"]["message"] + item["expected"]["mac"])


def test_add_key_encrypted_with_mac():
    item = vector("wk-1")
    host = white()
    host.dice.force(item["inputs"]["challenge"])
    host.challenge()
    host.ok(item["expected"]["apdu"])
    assert host.authenticate(bytes.fromhex("1122334455667788"), 2) == 0x9000


def test_load_of_a_psam_purchase_key():
    item = vector("wk-4")
    host = white("psam")
    assert host.create(0xDF01, bytes.fromhex("380200F0F000FFFF") + b"TESTADF") == 0x9000
    host.select(b"TESTADF")
    assert host.create(0, bytes.fromhex("3F010095F0FFFF")) == 0x9000
    control = item["inputs"]["protecting_key"]
    host.protected_ok("84D40100", bytes.fromhex("F9F0F02233" + control), WHITE, cipher=True)
    host.dice.force(item["inputs"]["challenge"])
    host.challenge()
    host.ok(item["expected"]["apdu"])
    assert (
        host.sw("80700000 1C".replace(" ", "") + "00" * 18 + "0000" + "00" * 8) == 0x6A82
    )  # no 0016 yet


def test_encrypted_update():
    item = vector("enc-1")
    host = adf()
    add_key(host, 0, "36F0F0FF33" + item["inputs"]["key"])
    assert host.create(0x15, bytes.fromhex("680010F0F0FFFF")) == 0x9000
    host.ok("04D6950008" + item["expected"]["cipher"])
    assert host.send("00B0950007")[0].hex().upper() == item["inputs"]["plain"]


@pytest.mark.parametrize("name", ["load-1", "load-5", "ds-load02"])
def test_load(name):
    data, want = vector(name)["inputs"], vector(name)["expected"]
    keys = {0x3F: bytes.fromhex(data["load_key"])}
    if "tac_master" in data:
        keys[0x34] = bytes.fromhex(data["tac_master"])
    host = bank(keys)
    purse = int(data["trans_type"], 16)
    set_counters(host, purse, data["old_balance"], data["online_serial"])
    host.dice.force(data["random"])
    init = f"805000{purse:02X}0B01{data['amount']}{data['terminal_id']}10"
    answer = host.ok(init).hex().upper()
    tail = data["random"] + want["mac1"]
    assert answer == data["old_balance"] + data["online_serial"] + "0100" + tail
    if "init_command" in data:
        assert (init, answer) == (data["init_command"], data["init_response"])
    tac = host.ok("805200000B" + data["date_time"] + want["mac2"] + "04").hex().upper()
    if "tac" in want:
        assert tac == want["tac"]
        assert f"{host.balance(purse):08X}" == want["new_balance"]


@pytest.mark.parametrize("name", ["pur-1", "ds-pur04", "ds-pur05", "ds-pur06", "ds-pur09"])
def test_purchase(name):
    data, want = vector(name)["inputs"], vector(name)["expected"]
    host = bank(
        {0x3E: bytes.fromhex(data["purchase_key"]), 0x34: bytes.fromhex(data["tac_master"])},
        version=0 if name == "pur-1" else 1,  # the card of the capture has version 00
    )
    p1, purse = {"04": (2, 1), "05": (1, 1), "06": (1, 2), "09": (3, 2)}[data["trans_type"]]
    set_counters(host, purse, "00002000", data["offline_serial"])
    host.dice.force(data["random"])
    answer = host.ok(f"8050{p1:02X}{purse:02X}0B01{data['amount']}{data['terminal_id']}0F")
    if "init_response" in data:
        assert answer.hex().upper() == data["init_response"]
    serial_after = int(data["offline_serial"], 16) + 1
    second = "805401000F" + data["terminal_serial"] + data["date_time"] + want["mac1"] + "08"
    assert second == data.get("debit_command", second)
    assert host.ok(second).hex().upper() == want["tac"] + want["mac2"]
    proof = host.ok(f"805A00{data['trans_type']}02{serial_after:04X}08")
    assert proof.hex().upper() == want["mac2"] + want["tac"]


def test_unload():
    data, want = vector("ds-unload03")["inputs"], vector("ds-unload03")["expected"]
    host = bank({0x3D: bytes.fromhex(data["unload_key"])})
    set_counters(host, 1, data["old_balance"], data["online_serial"])
    host.dice.force(data["random"])
    answer = host.ok("805005010B01" + data["amount"] + data["terminal_id"] + "10")
    assert answer[-4:].hex().upper() == want["mac1"]
    mac3 = host.ok("805403000B" + data["date_time"] + want["mac2"] + "04")
    assert mac3.hex().upper() == want["mac3"]
    assert f"{host.balance(1):08X}" == want["new_balance"]
    assert host.ok("805A00030200EE08").hex().upper() == want["mac3"] + "00000000"


def test_overdraft_limit():
    data, want = vector("ds-over07")["inputs"], vector("ds-over07")["expected"]
    host = bank(
        {0x3C: bytes.fromhex(data["overdraw_key"]), 0x34: bytes.fromhex(data["tac_master"])}
    )
    set_counters(host, 1, data["old_balance"], data["online_serial"])
    host.dice.force(data["random"])
    answer = host.ok("805004010701" + data["terminal_id"] + "13")
    assert len(answer) == 19
    assert answer[-4:].hex().upper() == want["mac1"]
    tac = host.ok("805800000E" + data["new_limit"] + data["date_time"] + want["mac2"] + "04")
    assert tac.hex().upper() == want["tac"]
    assert f"{host.balance(1):08X}" == want["new_balance"]


def test_reload_pin():
    item = vector("ds-reload")
    host = adf()
    add_key(host, 0, "38F0F0FF33" + item["inputs"]["reload_key"])
    add_key(host, 0, "3AF0EF1133123456")
    host.ok(item["expected"]["apdu"])
    host.ok("0020000003" + item["inputs"]["new_pin"])


def test_pin_unblock():
    item = vector("ds-unblock")
    host = adf()
    add_key(host, 0, "37F0F0FF33" + item["inputs"]["unblock_key"])
    add_key(host, 0, "3AF0EF1130000000")  # closed
    assert host.sw("0020000003" + item["inputs"]["pin"]) == 0x6983
    host.dice.force(item["inputs"]["challenge"])
    host.challenge()
    host.ok(item["expected"]["apdu"])
    host.ok("0020000003" + item["inputs"]["pin"])


@pytest.mark.parametrize("name", ["ds-appblock", "ds-appunblock", "ds-cardblock"])
def test_blocking_commands(name):
    item = vector(name)
    host = adf()
    add_key(host, 0, "36F0F0FF33" + item["inputs"]["key"])
    host.dice.force(item["inputs"]["challenge"])
    host.challenge()
    host.ok(item["inputs"]["message"] + item["expected"]["mac"])
    after = host.sw("00B0950001")
    assert after == (0x6A82 if name == "ds-appunblock" else 0x6A81)


def test_psam_purchase_and_the_card_agree():
    item = vector("ds-psam1")
    host = psam()
    memory_serial = next(n for n in _df(host).children() if n.fid == 0x18)
    from cardos.filesystem import binary_changes

    host.card._memory.commit(
        binary_changes(memory_serial, 0, bytes.fromhex(item["inputs"]["terminal_serial"]))
    )
    answer = host.ok(item["inputs"]["init_command"])
    assert answer.hex().upper() == item["expected"]["init_response"]
    assert host.sw(item["expected"]["credit_command"]) == 0x9000
    assert host.ok("00B0980004").hex().upper() == "0000C5F6"
    debit = vector("ds-pur06")
    assert item["expected"]["card_debit_command"][10:] == (
        debit["inputs"]["terminal_serial"]
        + debit["inputs"]["date_time"]
        + debit["expected"]["mac1"]
        + "08"
    )


@pytest.mark.parametrize("name", ["div-1", "ds-div2"])
def test_derivation_inside_a_psam(name):
    """INIT FOR DESCRYPT with the master, then encryption: the same as with the derived key outside.

    The APDU lists the card factor first, the derivation applies it last.
    """
    item = vector(name)
    factors = [bytes.fromhex(f) for f in item["inputs"]["factors"]]
    host = psam()
    usage = len(factors) << 5 | 0x08
    plain = bytes((usage, 7, 0)) + bytes.fromhex(item["inputs"]["master_key"])
    from tests.chip_bench import key

    host.protected_ok("84D40000", plain, key("psam control"), cipher=True)
    listed = b"".join(reversed(factors))
    host.ok(bytes((0x80, 0x1A, usage, 7, len(listed))) + listed)
    block = bytes(range(8))
    expected = crypto.des_encrypt(bytes.fromhex(item["expected"]["key"]), block)
    assert host.ok(b"\x80\xfa\x00\x00\x08" + block) == expected


def test_sm4_block_through_internal_authenticate():
    item = vector("sm4-std")
    host = adf()
    add_key(host, 0, "30F0F00104" + item["inputs"]["key"])
    answer = host.ok("0088000010" + item["inputs"]["data"])
    assert answer.hex().upper() == item["expected"]["out"]


def test_sm4_derivation_inside_a_psam():
    item = vector("sm4-div-s")
    host = psam()
    from tests.chip_bench import key

    plain = bytes.fromhex("220904" + item["inputs"]["master_key"])
    host.protected_ok("84D40000", plain, key("psam control"), cipher=True)
    data = "0BC5764200ED00000F360620071126093015" + "0904" + item["inputs"]["factor"]
    answer = host.ok("807000001C" + data)
    card_key = bytes.fromhex(item["expected"]["key"])
    session = crypto.sm4_purse_session_key(
        card_key, bytes.fromhex("0BC57642"), b"\x00\xed", b"\x00\x00"
    )
    text = bytes.fromhex("00000F3606" + "328588251894" + "20071126093015")
    assert answer == bytes(4) + crypto.sm4_mac(session, text)


def test_load_and_purchase_of_the_captured_card_in_one_life():
    """The real FM1208's own bytes (load-1, then pur-1), commands and answers, on one chip from its blank.

    The capture's purchase key has version 00, its load key 01; only the random numbers are given to it.
    """
    load, buy = vector("load-1")["inputs"], vector("pur-1")["inputs"]
    host = bank({0x3F: bytes.fromhex(load["load_key"]), 0x34: bytes.fromhex(load["tac_master"])})
    host.ok("80D43E0115" + "3EF0F00000" + buy["purchase_key"])
    host.dice.force(load["random"], buy["random"])
    assert host.ok(load["init_command"]).hex().upper() == load["init_response"]
    assert host.ok(load["credit_command"]).hex().upper() == load["credit_response"]
    first = "805001020B01" + buy["amount"] + buy["terminal_id"] + "0F"
    assert host.ok(first).hex().upper() == buy["init_response"]
    assert host.ok(buy["debit_command"]).hex().upper() == buy["debit_response"]
    assert host.balance() == 0x1FFF
    records = [host.ok(bytes((0, 0xB2, n, 0xC4, 0))).hex().upper() for n in (1, 2)]
    assert records == [
        "0001" + "000000" + buy["amount"] + "06" + buy["terminal_id"] + buy["date_time"],
        "0001" + "000000" + load["amount"] + "02" + load["terminal_id"] + load["date_time"],
    ]


def test_the_question_after_a_lost_answer_as_a_toll_terminal_asks_it():
    """trace-etc-prove: a new composite INITIALIZE of amount 0, then 805A with the serial it returned."""
    host = bank()
    host.load(1000)
    answer, _ = host.initialize(3, 2, 100)
    lost = host.ok(host.debit_command(answer, 100, 9))
    again = host.ok("805003020B01" + "00000000" + "014400019C8B")
    proof = host.ok("805A000902" + again[4:6].hex())
    assert proof == lost[4:] + lost[:4]


def test_pin_of_ascii_digits_and_key_id_00():
    """trace-yikatong-load: key id 00 and a PIN of six ASCII digits."""
    host = bank(key_id=0)
    host.ok("805E01000A" + "123456" + "FF" + "313233343536")
    host.ok("0020000006313233343536")
    answer = host.ok("805000020B00000003E8120080800001")
    assert (len(answer), answer[:8].hex()) == (16, "0000000000000100")


def test_the_dice_are_seeded():
    assert Dice(1)(8) == Dice(1)(8)
