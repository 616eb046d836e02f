"""What a laboratory host's set-up file can arrange (docs/host.md), asked of the host it makes."""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import Rejected
from payments import requests as r
from payments.field_parts import ListAsk, ListPage
from payments.frames import requirement_of
from runtime.purse_lab import RunningLab, laboratory
from runtime.purse_lab_file import Laboratory
from tests.host_bench import LabCard, LabTerminal

NOW = datetime.fromisoformat("2026-11-28T09:15:30+08:00")
EXAMPLE = json.loads(Path("examples/purse-lab/lab.json").read_text("utf-8"))
SHUT = "898000000000002"
SILENT, DOWN, WRONG_PIN = "6200000000000681", "6200000000000911", "6200000000000551"
DEFECT = "6200000000000002"
LISTED, ASLEEP, BLOCKED = "00005180000000", "00005180000001", "00005180000002"
LOST, STOLEN, CANCELLED = "00005180000005", "00005180000006", "00005180000007"
SETUP: dict[str, Any] = {
    **EXAMPLE,
    "terminals": [
        {**EXAMPLE["terminals"][0], "number": f"{10000001 + n}", "psam": f"{100000000101 + n}", **more}
        for n, more in enumerate[dict[str, Any]]((
            {}, {"open": False}, {"merchant": SHUT}, {"plain_management": True, "batch": 7},
            {"mac_profile": "x99", "mak": "0123456789ABCDEF"},
        ))
    ],
    "merchants": [{"number": SHUT, "open": False}],
    "refused": {"000000" + ASLEEP: "62"},
    "blocked": ["000000" + BLOCKED],
    "bank": {SILENT: "68", DOWN: "91", WRONG_PIN: "55", DEFECT: "A2"},
    "parameters": {"no_pin_fen": 100_000},
    "limits": {"card_day_count": 3, "batch_messages": 900_000},
    "blacklists": [
        {"at": "2026-11-26T00:00:00+08:00", "cards": {"000000" + LISTED: "01"}},
        {"at": "2026-11-27T00:00:00+08:00", "cards": {
            "000000" + BLOCKED: "04", "000000" + LOST: "01", "000000" + STOLEN: "02",
            "000000" + CANCELLED: "03",
        }},
    ],
    "status_lists": [
        {"at": "2026-11-27T00:00:00+08:00",
         "cards": [{"serial": LISTED, "cause": "08", "ssn": 3, "from": "2026-11-27"}]},
    ],
}  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "lab.json"
    path.write_text(json.dumps(SETUP | changes), "utf-8")
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with laboratory(Laboratory.load(written(tmp_path_factory.mktemp("lab"))), None, NOW) as running:
        yield running


def terminal(lab: RunningLab, index: int) -> LabTerminal:
    """A terminal of the file, with the keys the file gives it."""
    told = SETUP["terminals"][index]
    return LabTerminal(
        told["number"], bytes.fromhex(told["psam"]), lab.authorizer.answer,
        profile=told["mac_profile"], batch=f"{told['batch']:06d}", mak=bytes.fromhex(told["mak"]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("account", "code"),
    [(SILENT, "68"), (DOWN, "91"), (WRONG_PIN, "55"), (DEFECT, "00"), ("62000000000000", "00")],
)
def test_a_bank_that_always_says_the_same_of_an_account(
    lab: RunningLab, account: str, code: str
) -> None:
    one = terminal(lab, 0)
    card = LabCard(account[-14:])
    message = one.station.load("1" + account[-5:], card.begin(500, one.psam), r.LOAD, account)
    assert one.ask(message).response == code


@pytest.mark.parametrize(
    ("serial", "code"),
    [
        (ASLEEP, "62"),
        (BLOCKED, "04"),
        (LOST, "41"),
        (STOLEN, "43"),
        (CANCELLED, "04"),
        (LISTED, "00"),
    ],
)
def test_cards_that_are_refused(lab: RunningLab, serial: str, code: str) -> None:
    one = terminal(lab, 0)
    message = one.station.load("2" + serial[-5:], LabCard(serial).begin(500, one.psam), r.CASH_LOAD)
    assert one.ask(message).response == code


def test_an_asn_with_f_behind_may_stand_in_capitals(tmp_path: Path) -> None:
    padded = "8320889511000001FFFF"
    file = written(
        tmp_path, cards=[padded], refused={padded: "62"}, blocked=[padded],
        blacklists=[{"at": "2026-11-26T00:00:00+08:00", "cards": {padded: "04"}}],
    )  # fmt: skip
    lab, asn = Laboratory.load(file), padded.lower()
    assert (lab.cards, lab.refused, lab.blocked) == (frozenset({asn}), {asn: "62"}, (asn,))
    assert lab.blacklists[0].cards == {asn: "04"}


def test_a_closed_terminal_and_a_closed_merchant(lab: RunningLab) -> None:
    assert terminal(lab, 1).sign_on().response == "58"
    shut = terminal(lab, 2)
    message = r.Station(shut.number, SHUT, shut.batch).parameters("000001")
    assert shut.ask(message).response == "03"


def test_management_without_a_mac_and_a_mak_that_others_have_too(lab: RunningLab) -> None:
    plain = terminal(lab, 3)
    told = plain.ask(plain.station.parameters(plain.trace()), sealed=False)
    assert (told.response, told.mac, told.batch) == ("00", b"", "000007")


def test_a_limit_and_the_x99_profile(lab: RunningLab) -> None:
    one, card = terminal(lab, 4), LabCard("00005180000004")
    codes = [one.load(card, 500).response for _ in range(3)]
    assert codes == ["00"] * 3
    assert one.ask(one.load_request(card, 500)[0]).response == "65"


def test_lists_in_versions(lab: RunningLab) -> None:
    one = terminal(lab, 0)

    def page(letters: str, in_hand: int) -> ListPage:
        ask = ListAsk(letters, in_hand, 0)
        return ListPage.parse(one.ask(one.station.list_page(one.trace(), ask)).octets(62))

    full, difference = page("BL", 0), page("BL", 1)
    assert (full.version, full.base) == (2, 0)
    assert full.entries[0] == b"A" + bytes.fromhex("000000" + BLOCKED) + b"\x04"
    assert len(full.entries) == 4
    assert difference.base == 1
    assert b"D" + bytes.fromhex("000000" + LISTED) + b"\x00" in difference.entries
    (entry,) = page("SL", 0).entries
    assert entry[1:9] == hashlib.sha256(LISTED.encode()).digest()[:8]
    assert entry[9:].hex() == "08000000032026112720261128"
    told = one.ask(one.station.status(one.trace(), {"70": "0000"}))
    assert requirement_of(told.header) == 7  # it has none of these lists yet


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "citycard/purse-lab/2"},
        {"terminals": []},
        {"terminals": [{**EXAMPLE["terminals"][0], "mac_profile": "x919", "single_mak": True}]},
        {"terminals": [{**EXAMPLE["terminals"][0], "mak": "00"}]},
        {"terminals": [{**EXAMPLE["terminals"][0], "colour": "blue"}]},
        {"limits": {"name": 1}},
        {"limits": {"day_change_seconds": 61}},
        {"masters": {"DPK": "00" * 16}},
        {"blacklists": [{"cards": {}}]},
        {"blacklists": [{"at": "2026-11-26T00:00:00+08:00", "cards": {"000000" + LOST: "05"}}]},
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as refused:
        Laboratory.load(written(tmp_path, **changes))
    assert refused.value.code == "LAB-FILE"
