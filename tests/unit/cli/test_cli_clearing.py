"""``citycard clearing`` and ``citycard purse`` as commands: their JSON, their words, their exit codes."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import main as command_line
from payments import requests as r
from payments.clearing_file import read_file, write_file
from runtime.purse_host import HostSetup
from tests.host_bench import MERCHANT, Keys, LabCard, LabHost

DAY, SERIAL = "2026-11-28", "00001000000147"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with one closed day: a load, a good purchase, one with a wrong TAC, a load without proof."""
    folder = tmp_path_factory.mktemp("city")
    host = LabHost(Keys(folder / "keys"), url=f"sqlite:///{folder / 'city.db'}")
    terminal, card = host.terminal(), LabCard(SERIAL)
    terminal.sign_on()
    terminal.load(card, 5000, r.LOAD)
    terminal.ask(terminal.purchase(card, 1350))
    forged = replace(card.pay(200, terminal.psam, 9, "20261128113000"), tac=bytes(4))
    terminal.ask(terminal.station.purchase(terminal.trace(), forged))
    terminal.ask(terminal.load_request(LabCard("00001000000155"), 700)[0])
    host.clearing.close(date.fromisoformat(DAY))
    host.close()
    return folder


@pytest.fixture
def run(city: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on that installation; its object with `as_json`, else its words."""

    def call(*words: str, exit_code: int = 0, as_json: bool = True, data: bool = True) -> Any:
        folder = ("--data", str(city)) if data else ()
        argv = ["citycard", *words, *folder, *(("--json",) if as_json else ())]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as end:
            command_line.main()
        said = capsys.readouterr()
        assert end.value.code == exit_code, said
        return json.loads(said.out) if as_json else said.out

    return call


def test_the_report_of_a_day_and_its_differences(run: Run) -> None:
    found = run("clearing", "report", "--day", DAY)
    assert (found["purchases"], found["amount"], found["fees"], found["kept"]) == (1, 1350, 5, 1)
    assert found["unexplained"] == 0
    (open_load,) = found["listed"]
    assert (open_load["kind"], open_load["amount_fen"]) == ("open-load", 700)
    words = run("clearing", "report", "--day", DAY, as_json=False)
    assert "1 purchases, 13.50 yuan" in words
    assert "open-load" in words
    assert found["digest"] in words


def test_a_day_that_is_not_closed_is_rejected(run: Run) -> None:
    assert run("clearing", "report", "--day", "2026-11-29", exit_code=3)["code"] == "CLEARING-DAY"
    run("clearing", "export", "--day", "yesterday", exit_code=2, as_json=False)


def test_a_merchants_day_as_files(run: Run, tmp_path: Path) -> None:
    found = run("clearing", "merchant", MERCHANT, "--day", DAY, "--out", str(tmp_path))
    assert (found["count"], found["amount_fen"], found["paid_fen"]) == (1, 1350, 1345)
    assert Path(found["pdf"]).read_bytes().startswith(b"%PDF")
    assert b"13.50" in Path(found["csv"]).read_bytes()
    unknown = run("clearing", "merchant", "000000000000000", "--day", DAY, exit_code=3)
    assert unknown["code"] == "CLEARING-MERCHANT"


def test_a_day_goes_out_and_its_receiver_checks_it(run: Run, tmp_path: Path) -> None:
    found = run("clearing", "export", "--day", DAY, "--out", str(tmp_path))
    file = Path(found["file"])
    assert file.name == "PC_48880001_20261128_T_01.txt"
    assert {len(line) for line in file.read_bytes().split(b"\r\n")[:-1]} == {279}
    checked = run("clearing", "check", str(file), data=False)
    assert (checked["details"], checked["broken"]) == (3, 0)
    file.write_bytes(file.read_bytes().replace(b"000000001350", b"000000001351", 1))
    assert run("clearing", "check", str(file), data=False, exit_code=7)["code"] == "FILE-REFUSED"


def test_a_day_as_the_card_networks_file(run: Run, tmp_path: Path) -> None:
    found = run("clearing", "export", "--day", DAY, "--form", "com", "--out", str(tmp_path))
    (line, end) = Path(found["file"]).read_bytes().split(b"\r\n")
    assert (len(line), end, found["schema"]) == (299, b"", "citycard/clearing-file/1")


def test_a_banks_check_file_beside_our_day(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(
        run("clearing", "export", "--day", DAY, "--form", "dz", "--out", str(tmp_path))["file"]
    )
    same = run("clearing", "compare", str(file))
    assert (same["bank"], same["ours_fen"], same["differences"]) == (1, 5000, [])
    (reference, *_) = file.read_bytes().split(b"\r\n")[1].split(b"|")
    file.write_bytes(b"0|0\r\n")
    found = run("clearing", "compare", str(file), exit_code=1)
    (one,) = found["differences"]
    assert (one["reference"], one["amount_fen"]) == (reference.decode(), -5000)
    assert (one["code"], one["reason_zh"]) == ("missing", "银行无此笔圈存")
    monkeypatch.setenv("CITYCARD_LANG", "zh")
    words = run("clearing", "compare", str(file), exit_code=1, as_json=False)
    assert "银行0笔0.00元，本方1笔50.00元" in words
    monkeypatch.setenv("CITYCARD_LANG", "en")
    words = run("clearing", "compare", str(file), exit_code=1, as_json=False)
    assert "the bank does not have our load" in words
    other = file.rename(tmp_path / "DZ.txt")
    assert run("clearing", "compare", str(other), exit_code=7)["code"] == "FILE-REFUSED"


@pytest.mark.parametrize("verb", ["check", "compare"])
def test_a_file_that_is_not_there_is_a_usage_error(run: Run, tmp_path: Path, verb: str) -> None:
    data = verb == "compare"
    run("clearing", verb, str(tmp_path / "none"), exit_code=2, as_json=False, data=data)


def test_a_partners_file_is_taken_once_and_its_bad_records_come_back(
    run: Run, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(run("clearing", "export", "--day", DAY, "--out", str(tmp_path))["file"])
    read = read_file(own.name, own.read_bytes())
    partner = tmp_path / "PC_01050000_20261128_T_01.txt"
    header = replace(read.header, sender="01050000", receiver="48880001")
    partner.write_bytes(write_file(header, read.records))
    host = LabHost(Keys(tmp_path / "keys"), url=f"sqlite:///{tmp_path / 'city.db'}")

    @contextmanager
    def lab(setup: HostSetup) -> Iterator[LabHost]:
        """A host on keys of this test in place of the one behind TLS; the register knows none of these cards."""
        assert (setup.data, setup.hsm_port) == (city, 7777)
        yield SimpleNamespace(**vars(host), hsm=host.keys.hsm, masters=host.keys.masters)

    monkeypatch.setattr("runtime.purse_host.purse_host", lab)
    hsm = ("--certificates", "c", "--slots", "s.json", "--hsm-port", "7777", "--out", str(tmp_path))
    first = run("clearing", "take", str(partner), *hsm, exit_code=1)
    assert (first["records"], first["bad"], first["posted"], first["again"]) == (3, 3, 0, False)
    returned = Path(first["returned"])
    back = read_file(returned.name, returned.read_bytes())
    assert {record.result for record in back.records} == {"04"}
    assert "3 bad, taken before" in run(
        "clearing", "take", str(partner), *hsm, exit_code=1, as_json=False
    )
    assert run("clearing", "take", str(own), *hsm, exit_code=3)["code"] == "FILE-RECEIVER"
    host.close()


def test_a_purse_and_its_lines(run: Run) -> None:
    assert run("purse", "show", SERIAL)["posted_fen"] == 3650
    assert "36.50 yuan" in run("purse", "show", SERIAL, as_json=False)
    lines = run("purse", "statement", SERIAL)["lines"]
    assert [(one["step"], one["amount_fen"]) for one in lines] == [
        ("P", 5000), ("C", 5000), ("S", -1350),
    ]  # fmt: skip
    assert "promised" in run("purse", "statement", SERIAL, as_json=False)
    assert run("purse", "show", "00001000009999", exit_code=3)["code"] == "PURSE-UNKNOWN"
    run("purse", "show", "12", exit_code=2, as_json=False)


def test_two_people_decide_and_one_does_not(run: Run) -> None:
    alone = ("--as", "clerk", "--with", "clerk", "--reason", "till roll seen")
    two = ("--as", "clerk", "--with", "auditor", "--reason", "till roll seen")
    assert run("purse", "decide-purchase", "2", "--pay", *alone, exit_code=4)["code"] == (
        "PURSE-TWO-PERSONS"
    )
    (waiting,) = run("purse", "kept")["purchases"]
    assert (waiting["number"], waiting["flags"], waiting["amount_fen"]) == ("2", "T", 200)
    assert "TAC wrong" in run("purse", "kept", as_json=False)
    assert run("purse", "decide-purchase", "2", "--refuse", *two)["state"] == "HELD"
    assert run("purse", "kept")["purchases"] == []
    again = run("purse", "decide-purchase", "2", "--pay", *two, exit_code=3)
    assert again["code"] == "PURSE-DECIDED"
    missing = run("purse", "decide-load", "no-such-load", "--happened", *two, exit_code=3)
    assert missing["code"] == "PURSE-LOAD"


def test_an_incident_is_shown_with_its_evidence_until_two_people_have_looked(run: Run) -> None:
    (wrong,) = run("purse", "incidents")["incidents"]
    assert (wrong["kind"], wrong["open"], wrong["evidence"][:4]) == (
        "purchase-t", True, b"TA".hex(),
    )  # fmt: skip
    assert "TAC wrong: 200 fen" in run("purse", "incidents", as_json=False)
    two = ("--as", "clerk", "--with", "auditor", "--reason", "a card of the test bench")
    assert run("purse", "close-incident", wrong["number"], *two)["state"] == "CLOSED"
    assert run("purse", "incidents")["incidents"] == []
    assert run("purse", "incidents", "--all")["incidents"][0]["open"] is False
