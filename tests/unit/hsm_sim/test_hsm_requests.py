"""The HSM's wire: every request reads back what it wrote, and nothing else is accepted (R-3)."""

from dataclasses import replace

import pytest

from core.errors import Rejected
from hsm_sim import (
    audit_requests,
    data_requests,
    generic_requests,
    issue_requests,
    purse_requests,
    terminal_requests,
)
from hsm_sim.client import KeySlot, KeySlots, Request

CARD = bytes.fromhex("0012345678901234")
R4, R8 = bytes.fromhex("A1B2C3D4"), bytes.fromhex("0102030405060708")
TERM, DATE, TIME = bytes(range(6)), bytes.fromhex("20261127"), bytes.fromhex("191500")
BLOCK = "D0112P0AE00E0000" + "0" * 96
ONLINE = {"master": "K004", "factors": (CARD,), "random": R4, "counter": 5, "balance": 1200}
SHOP = {"type": b"\x06", "terminal": TERM, "date": DATE, "time": TIME}
EVERY: list[Request[object]] = [
    purse_requests.CheckLoad(**ONLINE, amount=1, type=b"\x02", terminal=TERM, mac1=R4),
    purse_requests.Load(**ONLINE, amount=1, **SHOP, mac1=R4),
    purse_requests.LoadOnLine(
        **ONLINE, amount=1, **SHOP, mac1=R4, algorithm="C", key=f"S{BLOCK}", asked=b"0200", seal=b"0A1B2C3D",
        told=b"0210" + bytes(4), place=4,
    ),
    purse_requests.CheckLoadTac("K001", (CARD,), 7, 8, 9, b"\x02", TERM, DATE, TIME, R4),
    purse_requests.CheckPurchaseTac("K001", (CARD,), 9, b"\x06", TERM, 77, DATE, TIME, R4),
    purse_requests.CheckLimitTac("K001", (CARD, R8), 7, 8, 9, b"\x07", TERM, DATE, TIME, R4),
    purse_requests.CheckTacs(
        "2", "K001", (purse_requests.TacEntry((CARD,), bytes(22), R4),) * 3
    ),
    purse_requests.CheckPurchaseTacs("K001", (), bytes(range(34)) * 5),
    purse_requests.PurchaseMac1("K001", (CARD,), R4, 1, 2, 3, b"\x06", TERM, DATE, TIME),
    purse_requests.CheckPurchaseMac2("K001", (CARD,), R4, 1, 2, 3, b"\x06", TERM, DATE, TIME, R4),
    purse_requests.Unload(**ONLINE, amount=1, **SHOP, mac1=R4),
    purse_requests.ConfirmUnload(**ONLINE, counter_before=4, amount=1, **SHOP, mac3=R4),
    purse_requests.ChangeLimit(**ONLINE, old_limit=1, new_limit=2, **SHOP, mac1=R4),
    issue_requests.CardKeyCheckValue("K001", (CARD,)),
    issue_requests.ExportCardKey("K001", (CARD,), "K002"),
    issue_requests.ExportCardKeyToChannel("K001", (CARD,), R4),
    issue_requests.ExportCardKeyBare("K001", (CARD,), "S" + BLOCK),
    issue_requests.ProtectCardKey("K001", (CARD,), "K002", (R8,), R8, bytes(5), b"\x3e\xf0\x01"),
    issue_requests.BeginChannel("02", b"\x15", "K00F", "1", "3"),
    issue_requests.AuthenticateChannel(R4, bytes(28)),
    issue_requests.WrapApdu(R4, bytes(9)),
    issue_requests.UnwrapAnswer(R4, b"\x90\x00"),
    issue_requests.ReencryptData("K00F", R4, bytes(16)),
    issue_requests.EndChannel(R4),
    issue_requests.ProtectCommand("K001", (CARD,), R8, "2", bytes.fromhex("04D69500"), b"\x19%01"),
    issue_requests.AuthenticateExternally("K001", (CARD,), R8),
    issue_requests.UnblockPin("K001", (CARD,), R8, "S" + BLOCK, "345678901234", R8),
    issue_requests.StatusMac("K001", bytes(24), "12345678901234"),
    issue_requests.CheckStatusMac("K001", bytes(24), "12345678901234", R8),
    issue_requests.CheckCardAnswer("K001", (CARD,), R8, b"\x19\x19", R4),
    issue_requests.CheckInternalAuthentication("K001", (CARD,), R8, R8),
    terminal_requests.MakeWorkKeys("S" + BLOCK, "3"),
    terminal_requests.ProtectPsamKey("K001", (), "K002", (R8,), R8, bytes(5), b"\x22\x01\x00"),
    generic_requests.Diagnose(),
    generic_requests.Echo(b"PING\x19"),
    generic_requests.RandomBytes("256"),
    generic_requests.GenerateWorkKey("M3", mode="C"),
    generic_requests.GenerateAndExport("K001", "K0", mode="B", scheme="X"),
    generic_requests.ImportWorkKey("K001", "R" + BLOCK),
    generic_requests.ExportWorkKey("K001", "S" + BLOCK),
    generic_requests.ExportWorkKey("K001", "S" + BLOCK, "D"),
    generic_requests.CheckValue("S" + BLOCK),
    generic_requests.MakeMac("K001", b"\x00\x19abc"),
    generic_requests.MakeMac("K001", b"\x00\x19abc", "3", "0", "2", "1"),
    generic_requests.VerifyMac("S" + BLOCK, b"\x19", R8, "1"),
    generic_requests.TranslateTerminalPin("K001", "K002", R8, "123456789012"),
    generic_requests.TranslateZonePin("S" + BLOCK, "K002", bytes(16), "123456789012", "48", "01"),
    audit_requests.NewestCheckpoint(),
    audit_requests.LogLines(0, 256),
    audit_requests.InclusionProof(3, 9),
    audit_requests.ConsistencyProof(3, 9),
    audit_requests.CosignCheckpoint(b"name\n1\nroot\n"),
    audit_requests.AuditExport("AB" * 16),
    audit_requests.KeyDirectory(0, 16),
    data_requests.EncryptFields("K001", (data_requests.Entry(b"person.name.7", b"\x19\xff"),)),
    data_requests.DecryptFields("K001", (data_requests.Entry(b"c", bytes(1054)),)),
    data_requests.ReencryptFields("K001", (data_requests.Entry(b"c", bytes(30)),) * 16),
    data_requests.KeyedIndex("K001", (data_requests.Entry(b"id", b"440301"),), b"bank"),
    data_requests.SealLog(1, 0, 5, bytes(32)),
    data_requests.SealLog(1, 5, 9, bytes(32), (bytes(range(32)),) * 3),
]  # fmt: skip
FIXED = [
    request
    for request in EVERY
    if not isinstance(request, audit_requests.AuditExport | generic_requests.Echo)
]


def _name(request: Request[object]) -> str:
    return type(request).__name__


@pytest.mark.parametrize("request_", EVERY, ids=_name)
def test_reads_back_what_it_wrote(request_: Request[object]) -> None:
    text = request_.encode().decode("latin-1")
    for tail, trailer in (("", ""), ("%00", ""), ("\x19abc", "\x19abc"), ("%00\x19", "\x19")):
        assert type(request_).decode(text + tail) == (request_, trailer)


@pytest.mark.parametrize("request_", FIXED, ids=_name)
def test_extra_missing_and_foreign_bytes_are_refused(request_: Request[object]) -> None:
    text = request_.encode().decode("latin-1")
    wrong = {"0": "15", "%01": "13", "\x19" + "x" * 33: "15", " ": "15"}
    for tail, code in wrong.items():
        with pytest.raises(Rejected) as refused:
            type(request_).decode(text + tail)
        assert refused.value.code == f"HSM-{code}"
    if text:
        with pytest.raises(Rejected) as refused:
            type(request_).decode(text[:-1])
        assert refused.value.code == "HSM-15"


@pytest.mark.parametrize(
    ("field", "code"), [("U" + "0" * 32, "26"), ("0" * 32, "26"), ("K00", "15"), ("K00a", "15")]
)
def test_key_schemes(field: str, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        generic_requests.CheckValue.decode("FFF" + field)
    assert refused.value.code == f"HSM-{code}"


def test_lower_case_hex_is_refused() -> None:
    text = issue_requests.CardKeyCheckValue("K001", (b"\xab" * 8,)).encode().decode()
    with pytest.raises(Rejected):
        issue_requests.CardKeyCheckValue.decode(text.lower().replace("k", "K"))


def test_dates_and_times_have_digits_only() -> None:
    """DT is date 8N and time 6N: BCD, in a field of its own and inside a TAC input."""
    for request in EVERY:
        text = request.encode().decode("latin-1")
        for part in {"date", "time"} & set(vars(request)):
            digits = getattr(request, part).hex()
            with pytest.raises(Rejected, match="HSM-15"):
                type(request).decode(text.replace(digits, "A" + digits[1:]))
            with pytest.raises(ValueError, match="BCD"):
                replace(request, **{part: b"\xaa" + getattr(request, part)[1:]}).encode()  # type: ignore[type-var]
    entry = purse_requests.TacEntry((CARD,), bytes(21) + b"\x0a", R4)
    text = purse_requests.CheckTacs("2", "K001", (entry,)).encode().decode()
    with pytest.raises(Rejected, match="HSM-15"):
        purse_requests.CheckTacs.decode(text)


def test_values_that_do_not_fit_never_leave() -> None:
    with pytest.raises(ValueError, match="8 characters"):
        purse_requests.CheckLoad(**{**ONLINE, "balance": 1 << 32}, amount=1, type=b"\x02",
                                 terminal=TERM, mac1=R4).encode()  # fmt: skip


def test_slots_are_found_by_name_and_by_use(tmp_path) -> None:
    slots = KeySlots((KeySlot("purse-dlk-01", 4, "11", "purse", "01", "T2", "ACTIVE", "ABCDEF"),))
    (tmp_path / "slots.json").write_bytes(slots.text())
    again = KeySlots.load(tmp_path / "slots.json")
    assert again["purse-dlk-01"] == again.find("11", "purse", 1) == "K004"
    with pytest.raises(Exception, match="HSM-NO-KEY"):
        again.find("11", "purse", 2)


def test_bitmaps() -> None:
    good = (True, False, True, True, False, False, False, True, True)
    assert purse_requests.write_bitmap(good) == bytes.fromhex("B180")
    assert purse_requests.read_bitmap(bytes.fromhex("B180"), 9) == good
