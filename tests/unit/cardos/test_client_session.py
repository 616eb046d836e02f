"""The host side of the chip: requests become APDUs, answers become values, status words survive."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cardos.client import CardSession, ChipError
from cardos.psam_requests import CreditSamForPurchase, InitSamForPurchase, SamInit
from cardos.purse_requests import (
    CreditForLoad,
    DebitAnswer,
    DebitForPurchase,
    DebitForUnload,
    GetBalance,
    GetTransactionProof,
    InitializeForCapp,
    InitializeForLimit,
    InitializeForLoad,
    InitializeForPurchase,
    InitializeForUnload,
    InitializeForWithdrawal,
    OnlineInit,
    Proof,
    PurchaseInit,
    Purse,
    UpdateCappCache,
    UpdateLimit,
)
from cardos.requests import (
    AppendRecord,
    ApplicationBlock,
    ApplicationUnblock,
    CardBlock,
    ChangePin,
    CreateFile,
    EraseDf,
    ExternalAuthenticate,
    Fci,
    InternalAuthenticate,
    InternalMode,
    PinUnblock,
    ReadBinary,
    ReadRecord,
    SelectFile,
    SelectName,
    UpdateBinary,
    UpdateRecord,
    VerifyPin,
    WriteKey,
    authenticate,
    read_file,
    write_file,
)
from cardos.spec import AID_PURSE, MF_PROFILE, PURSE_PROFILE
from core.errors import DeviceFault, Rejected

VECTORS = {
    vector["id"]: vector
    for vector in json.loads((Path(__file__).parents[2] / "vectors/purse.json").read_text("utf-8"))[
        "vectors"
    ]
}
TERMINAL = bytes.fromhex("001122334455")
DATE, TIME = bytes.fromhex("20161216"), bytes.fromhex("105800")


class Script:
    """A channel that expects these commands in this order and gives these answers."""

    def __init__(self, *steps: tuple[str, str]) -> None:
        self.steps = [(bytes.fromhex(a), bytes.fromhex(b)) for a, b in steps]

    def transmit(self, apdu: bytes) -> bytes:
        expected, answer = self.steps.pop(0)
        assert apdu.hex() == expected.hex()
        return answer


def session(*steps: tuple[str, str]) -> CardSession:
    return CardSession(Script(*steps))


def hexes(*requests: object) -> list[str]:
    return [bytes(request.command()).hex().upper() for request in requests]  # type: ignore[attr-defined]


def test_the_load_of_a_real_card_is_spoken_byte_for_byte() -> None:
    load = VECTORS["load-1"]["inputs"]
    card = session(
        (load["init_command"], load["init_response"] + "9000"),
        (load["credit_command"] + "04", load["credit_response"] + "9000"),
    )
    init = card.send(InitializeForLoad(key_id=1, amount=0x2000, terminal=TERMINAL))
    assert init == OnlineInit(0, 0, 1, 0, bytes.fromhex("C903814D"), bytes.fromhex("03976C22"))
    tac = card.send(CreditForLoad(DATE, TIME, bytes.fromhex("8AFA5718")))
    assert tac == bytes.fromhex("FA00066D")


def test_the_purchase_of_a_real_card_is_spoken_byte_for_byte() -> None:
    purchase = VECTORS["pur-1"]["inputs"]
    card = session(
        ("805001020B01000000010011223344550F", purchase["init_response"] + "9000"),
        (purchase["debit_command"], purchase["debit_response"] + "9000"),
    )
    init = card.send(InitializeForPurchase(1, 1, TERMINAL))
    assert init == PurchaseInit(0x2000, 0, 0, 0, 0, bytes.fromhex("584633C9"))
    answer = card.send(
        DebitForPurchase(0, DATE, bytes.fromhex("134600"), bytes.fromhex("D45737C5"))
    )
    assert answer == DebitAnswer(tac=bytes.fromhex("8AF270DC"), mac2=bytes.fromhex("66B54A6B"))


def test_the_psam_is_spoken_to_as_in_the_vector() -> None:
    inputs, expected = VECTORS["ds-psam1"]["inputs"], VECTORS["ds-psam1"]["expected"]
    purchase = VECTORS["ds-pur06"]["inputs"]
    psam = session(
        (inputs["init_command"] + "08", expected["init_response"] + "9000"),
        (expected["credit_command"], "9000"),
    )
    stamp = bytes.fromhex(purchase["date_time"])
    made = psam.send(
        InitSamForPurchase(
            random=bytes.fromhex(purchase["random"]),
            counter=0xED,
            amount=0xF36,
            kind=6,
            date=stamp[:4],
            time=stamp[4:],
            key_version=1,
            algorithm=0,
            factors=(bytes.fromhex(purchase["factor"]),),
        )
    )
    assert made == SamInit(0xC5F5, bytes.fromhex("6B3C035E"))
    psam.send(CreditSamForPurchase(bytes.fromhex("861CD4ED")))


def test_every_other_purse_command_has_its_published_form() -> None:
    mac = bytes(4)
    assert hexes(
        GetBalance(),
        GetTransactionProof(kind=6, serial=0x0102),
        InitializeForCapp(1, 0, TERMINAL),
        UpdateCappCache(0x19, 0xAA, bytes.fromhex("AA2900")),
        InitializeForWithdrawal(1, 5, TERMINAL),
        InitializeForUnload(1, 5, TERMINAL),
        DebitForUnload(DATE, TIME, mac),
        InitializeForLimit(1, TERMINAL),
        UpdateLimit(1000, DATE, TIME, mac),
        InitializeForLoad(1, 5, TERMINAL, Purse.ED),
    ) == [
        "805C000204",
        "805A000602010208",
        "805003020B01000000000011223344550F",
        "80DCAAC803AA2900",
        "805002010B01000000050011223344550F",
        "805005010B010000000500112233445510",
        "805403000B201612161058000000000004",
        "80500401070100112233445513",
        "805800000E0003E8201612161058000000000004",
        "805000010B010000000500112233445510",
    ]


def test_file_and_key_commands_have_their_published_form() -> None:
    challenge_answer = bytes.fromhex("74B0047DD681D96C")
    assert hexes(
        SelectFile(0x3F00),
        SelectName(AID_PURSE),
        ExternalAuthenticate(1, challenge_answer),
        InternalAuthenticate(0, bytes(8)),
        InternalAuthenticate(2, bytes(8), InternalMode.DECRYPT),
        ReadBinary(30, sfi=0x15),
        ReadBinary(0, offset=0x0123),
        UpdateBinary(b"\x01\x02", offset=3, sfi=5),
        ReadRecord(1, sfi=0x18),
        ReadRecord(0xAA, sfi=0x19, by_tag=True),
        UpdateRecord(2, b"\x01\x00", sfi=1),
        AppendRecord(b"\x01\x00", sfi=2),
        EraseDf(),
        WriteKey(2, bytes.fromhex("F9F0F0AAFF")),
        WriteKey(0, bytes.fromhex("F9F0F00033"), replaces=0xF9),
        VerifyPin(bytes.fromhex("123456")),
        ChangePin(bytes.fromhex("123456"), bytes.fromhex("654321")),
        PinUnblock(),
        ApplicationBlock(permanent=True),
        ApplicationUnblock(),
        CardBlock(),
    ) == [
        "00A40000023F0000",
        "00A4040009A0000000038698070100",
        "008200010874B0047DD681D96C",
        "0088000008000000000000000000",
        "0088010208000000000000000000",
        "00B095001E",
        "00B0012300",
        "00D68503020102",
        "00B201C400",
        "00B2AAC800",
        "00DC020C020100",
        "00E20010020100",
        "800E000000",
        "80D4010205F9F0F0AAFF",
        "80D4F90005F9F0F00033",
        "0020000003123456",
        "805E010007123456FF654321",
        "80240000",
        "801E0001",
        "80180000",
        "80160000",
    ]


def test_create_file_takes_its_bodies_from_the_profile() -> None:
    application, key_file = PURSE_PROFILE.files[0], PURSE_PROFILE.key_file
    assert hexes(
        CreateFile(PURSE_PROFILE.fid, PURSE_PROFILE.create_body()),
        CreateFile(key_file.fid, key_file.create_body()),
        CreateFile(application.fid, application.create_body()),
    ) == [
        "80E03F0111380500F2F295FFFFA00000000386980701",
        "80E00000073F010095F2FFFF",
        "80E0001507A8001EF0F0FFFF",
    ]
    assert MF_PROFILE.create_body()[0] == 0x38


def test_the_fci_is_read_as_tlv() -> None:
    mf = bytes.fromhex("6F15840E315041592E5359532E4444463031A503880101")
    assert Fci.parse(mf) == Fci(b"1PAY.SYS.DDF01", directory_sfi=1)
    adf = bytes.fromhex("6F2E8409A00000000386980701A5219F0C1E") + bytes(range(30))
    assert Fci.parse(adf) == Fci(AID_PURSE, bytes(range(30)))
    other = bytes.fromhex("6F168409A00000000386980701A5099F0801029F0C02AABB")
    assert Fci.parse(other).application_file == bytes.fromhex("AABB")
    assert Fci.parse(b"") == Fci()  # an elementary file answers nothing


def test_a_status_word_survives_into_the_error() -> None:
    with pytest.raises(ChipError, match="CHIP-9401") as caught:
        session(("805001020B01000000010011223344550F", "9401")).send(
            InitializeForPurchase(1, 1, TERMINAL)
        )
    assert caught.value.sw == 0x9401
    assert caught.value.tries_left is None
    assert isinstance(caught.value, Rejected)


def test_a_wrong_pin_tells_the_tries_left_and_never_the_pin() -> None:
    with pytest.raises(ChipError, match="CHIP-63C2") as caught:
        session(("0020000003123456", "63C2")).send(VerifyPin(bytes.fromhex("123456")))
    assert caught.value.tries_left == 2
    assert caught.value.facts["tries"] == 2
    assert "123456" not in str(caught.value) + repr(VerifyPin(bytes.fromhex("123456")))


def test_data_waiting_in_the_card_are_fetched() -> None:
    card = session(("805C000204", "6104"), ("00C0000004", "000000649000"))
    assert card.send(GetBalance()) == 100
    in_two_parts = session(
        ("00A40000023F0000", "6106"),
        ("00C0000006", "6F0784056103"),
        ("00C0000003", "31506103"),
        ("00C0000003", "3030309000"),
    )
    assert in_two_parts.send(SelectFile(0x3F00)).name == b"1P000"


def test_an_answer_that_is_no_fci_is_a_fault() -> None:
    with pytest.raises(DeviceFault, match="CARD-ANSWER"):
        session(("00A40000023F0000", "77009000")).send(SelectFile(0x3F00))


def test_a_card_that_never_stops_announcing_data_is_a_fault() -> None:
    endless = [("00C0000001", "FF6101")] * 4
    with pytest.raises(DeviceFault, match="CARD-ANSWER"):
        session(("805C000204", "6101"), *endless).send(GetBalance())


def test_a_wrong_le_is_corrected_once() -> None:
    card = session(("00B2014400", "6C03"), ("00B2014403", "0102039000"))
    assert card.send(ReadRecord(1, sfi=8)) == b"\x01\x02\x03"


def test_an_answer_of_the_wrong_length_is_never_taken() -> None:
    with pytest.raises(DeviceFault, match="CARD-ANSWER"):
        session(("805C000204", "0000649000")).send(GetBalance())
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        session(("805C000204", "90")).send(GetBalance())


def test_line_protection_is_made_by_somebody_else_over_the_cards_challenge() -> None:
    seen: list[tuple[bytes, bytes, bytes]] = []

    def protector(challenge: bytes, header: bytes, data: bytes) -> bytes:
        seen.append((challenge, header, data))
        return data + bytes.fromhex("F2F62231")

    vector = VECTORS["sm-1"]["inputs"]
    data = bytes.fromhex(vector["message"])[5:]
    card = session(
        ("0084000004", vector["challenge"] + "9000"), (vector["message"] + "F2F62231", "9000")
    )
    answer = card.send_protected(UpdateBinary(data), protector, challenge_length=4)
    assert seen == [(bytes.fromhex("44A47DEB"), bytes.fromhex("04D60000"), data)]
    assert (answer.mac, answer.challenge) == (b"", bytes.fromhex("44A47DEB"))


def test_a_protected_read_hands_out_what_the_hsm_checks() -> None:
    card = session(
        ("0084000008", "11223344556677889000"), ("04B0830004AABBCCDD20", "01" * 32 + "A1A2A3A49000")
    )
    answer = card.send_protected(
        ReadBinary(32, sfi=3), lambda challenge, header, data: bytes.fromhex("AABBCCDD")
    )
    assert answer.answer == answer.data == b"\x01" * 32
    assert answer.mac == bytes.fromhex("A1A2A3A4")


def test_a_wrong_mac_is_an_error_and_the_challenge_is_spent() -> None:
    card = session(("0084000008", "00" * 8 + "9000"), ("841E000004FFFFFFFF", "6988"))
    with pytest.raises(ChipError, match="CHIP-6988"):
        card.send_protected(ApplicationBlock(), lambda c, h, d: b"\xff" * 4)


def test_a_key_is_written_without_the_business_side_knowing_it() -> None:
    vector = VECTORS["wk-1"]
    card = session(
        ("0084000004", vector["inputs"]["challenge"] + "9000"), (vector["expected"]["apdu"], "9000")
    )
    cryptogram = bytes.fromhex(vector["expected"]["cipher"] + vector["expected"]["mac"])
    card.send_protected(
        WriteKey(2, bytes.fromhex("F9F0F0AAFF")), lambda c, h, d: cryptogram, challenge_length=4
    )


def test_external_authentication_answers_the_challenge() -> None:
    vector = VECTORS["auth-1"]
    card = session(
        ("0084000004", vector["inputs"]["challenge"] + "9000"), (vector["expected"]["apdu"], "9000")
    )
    cryptogram = bytes.fromhex(vector["expected"]["cryptogram"])
    authenticate(card, 1, lambda challenge: cryptogram)


def test_a_long_file_is_read_and_written_in_pieces() -> None:
    content = bytes(i % 251 for i in range(300))
    card = session(
        ("00A4000002000700", "9000"),
        ("00B00000EF", content[:239].hex() + "9000"),
        ("00B000EF3D", content[239:].hex() + "9000"),
    )
    assert read_file(card, 0x0007, 300) == content
    card = session(
        ("00A4000002000700", "9000"),
        ("0084000008", "00" * 8 + "9000"),
        ("04D60000EF" + content[:235].hex() + "00" * 4, "9000"),
        ("0084000008", "00" * 8 + "9000"),
        ("04D600EB45" + content[235:].hex() + "00" * 4, "9000"),
    )
    write_file(card, 0x0007, content, lambda c, h, d: d + bytes(4))


def test_requests_refuse_what_no_apdu_can_say() -> None:
    for impossible in (
        InitializeForLoad(1, -1, TERMINAL),
        InitializeForLoad(1, 1 << 32, TERMINAL),
        InitializeForLoad(1, 1, TERMINAL[:5]),
        ReadBinary(1, offset=256, sfi=1),
        ReadRecord(1, sfi=31),
        ChangePin(b"\x12\xff", b"\x12\x34"),
        UpdateLimit(1 << 24, DATE, TIME, bytes(4)),
    ):
        with pytest.raises(ValueError):
            impossible.command()


def test_an_ed_proof_is_mac_then_tac() -> None:
    card = session(("805A000602000508", "11111111222222229000"))
    assert card.send(GetTransactionProof(6, 5)) == Proof(mac=b"\x11" * 4, tac=b"\x22" * 4)


def test_the_front_door_brings_no_cryptography_with_it() -> None:
    modules = "cardos.client, cardos.requests, cardos.purse_requests, cardos.psam_requests"
    modules += ", cardos.records, cardos.residence_records, cardos.slot, payments.psam"
    modules += ", payments.purse, payments.purse_load"
    script = f"import sys, {modules}; sys.exit(any('crypt' in name for name in sys.modules))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, check=False)
    assert done.returncode == 0
