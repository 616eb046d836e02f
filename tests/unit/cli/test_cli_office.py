"""The production office at the prompt: every verb, its JSON, its exit code (production.md 12, console.md 3)."""

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import main as command_line
from core.db import Database
from personalization import plastic
from tests.floor_bench import LOT, Centre, centre_in
from tests.office_bench import parcel_sent

SUPERVISOR = ("--as", "supervisor Gao:card_supervisor")
OFFICER = ("--as", "officer Luo:data_officer")
OPERATOR = ("--as", "operator Deng:card_operator")
KEEPER = ("--as", "keeper Song:stock_keeper")
KEEPERS = (*KEEPER, "--with", "keeper Xu:stock_keeper")
INSPECTOR = ("--as", "inspector Han:card_qc")
CLERK = ("--as", "clerk 001:police_clerk")

Run = Callable[..., Any]


@pytest.fixture
def town(tmp_path: Path) -> Centre:
    """An installation in a folder, with three orders and a station."""
    made = centre_in(tmp_path / "city", ordered=3)
    made.attach("S1")
    return made


@pytest.fixture
def run(
    town: Centre,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run one command on the folder with ``--json``; answers its object, checks its exit code."""
    assert isinstance(town.db, Database)

    def call(*words: str, exit_code: int = 0, as_json: bool = True) -> Any:
        folder = ("--data", str(tmp_path / "city"))
        argv = ["citycard", *words, *folder, *(("--json",) if as_json else ())]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as end:
            command_line.main()
        said = capsys.readouterr()
        assert end.value.code == exit_code, said
        return json.loads(said.out) if as_json else said.out

    return call


def made_batch(run: Run, town: Centre) -> tuple[str, str, list[str]]:
    """Planned, released, loaded and made: batch, tray, card serials."""
    (number,) = run("batch", "plan", *OFFICER)["batches"]
    assert run("batch", "release", number, *SUPERVISOR)["state"] == "RELEASED"
    tray = run(
        "stock", "issue", "--batch", number, "--station", "S1", "--lot", LOT, "--quantity", "10",
        *KEEPERS,
    )["tray"]  # fmt: skip
    return number, tray, [card.card_serial for card in town.run_all()]


def chip_of(town: Centre, serial: str) -> str:
    with town.db.read() as tx:
        return plastic.by_serial(tx, serial, lock=False).chip_serial or ""


def test_a_batch_from_the_plan_to_the_point(run: Run, town: Centre, tmp_path: Path) -> None:
    number, tray, cards = made_batch(run, town)
    assert len(run("qc", "waiting")["cards"]) == 3
    for card in cards:
        scanned = run("qc", "scan", f"R1{card}", "--chip", chip_of(town, card), *INSPECTOR)
        assert scanned["verdict"] == "LOOK"
        assert run("qc", "look", card, *INSPECTOR)["verdict"] == "PASS"
    parcel = run("pack", "open", "001", *INSPECTOR)["parcel"]
    scans = [word for card in cards for word in ("--card", f"R1{card}")]
    assert [row["position"] for row in run("pack", "add", parcel, *scans, *INSPECTOR)["cards"]] == [
        1, 2, 3,
    ]  # fmt: skip
    seals = ("--seal", "A-1", "--seal", "A-2")
    sealed = run("pack", "seal", parcel, *seals, *INSPECTOR, "--with", "keeper Xu:stock_keeper")
    paper = tmp_path / "manifest.pdf"
    lines = run("pack", "manifest", parcel, "--pdf", str(paper))["lines"]
    assert [line["card_serial"] for line in lines] == cards
    first = paper.read_bytes()
    run("pack", "manifest", parcel, "--pdf", str(paper))
    assert paper.read_bytes() == first
    assert first.startswith(b"%PDF")
    assert len(sealed["manifest_sha256"]) == 64
    label = tmp_path / "label.pdf"
    run("pack", "label", parcel, "--pdf", str(label), as_json=False)
    assert label.read_bytes().startswith(b"%PDF")
    run("dispatch", "send", parcel, "--courier", "Ma", *KEEPER)
    run("dispatch", "receive", parcel, *seals, "--counted", "3", *CLERK)
    assert run("dispatch", "unpack", parcel, *scans, *CLERK)["state"] == "RECONCILED"
    run("batch", "finish", number, *OPERATOR)
    for what, counted in (("blanks", "7"), ("good", "0"), ("spoiled", "0")):
        run("batch", "count", number, "--what", what, "--counted", counted, *KEEPER)
    run("stock", "return", "--tray", tray, "--quantity", "7", *KEEPERS)
    sums = run("batch", "close", number, *SUPERVISOR)["balance"]
    assert (sums["good"], sums["returned"], sums["difference"]) == (3, 7, 0)
    assert run("report", "stock")["lots"][0]["difference"] == 0
    story = run("card", "trace", f"R1{cards[0]}")
    assert story["card"]["place"] == "AT_POINT"
    kinds = [moment["kind"] for moment in story["story"]]
    assert (
        kinds.index("card.personalized")
        < kinds.index("card.inspected")
        < kinds.index("card.packed")
    )
    assert run("report", "kpi", "--since", "2007-06-01", "--until", "2007-07-01")["good"] == 3
    card = (cards[0], "--clerk", "clerk 001", "--pdf", str(tmp_path / "early.pdf"))
    assert run("report", "receipt", *card, exit_code=3)["code"] == "W-STATE"  # not handed over yet
    box = (
        "S1-reject",
        "--station",
        "S1",
        "--seals",
        "A1",
        "A2",
        "--pdf",
        str(tmp_path / "box.pdf"),
    )
    assert Path(run("report", "box", *box)["pdf"]).read_bytes().startswith(b"%PDF")


def test_a_command_given_twice_has_one_effect(run: Run, town: Centre) -> None:
    first = run("batch", "plan", *OFFICER, "--id", "click-1")
    assert run("batch", "plan", *OFFICER, "--id", "click-1") == first
    assert len(run("batch", "list")["batches"]) == 1
    refusal = run("batch", "plan", *OFFICER, "--point", "002", "--id", "click-1", exit_code=3)
    assert refusal["code"] == "W-COMMAND"


def test_a_dry_run_keeps_nothing(run: Run) -> None:
    planned = run("batch", "plan", *OFFICER, "--dry-run")
    assert planned["dry_run"] is True
    assert run("batch", "list")["batches"] == []


def test_numbers_stay_hidden_until_the_blind_counts(run: Run, town: Centre) -> None:
    number, _, _ = made_batch(run, town)
    run("batch", "finish", number, *OPERATOR)
    assert run("batch", "show", number)["made"] is None
    assert run("report", "batch", number)["balance"] is None
    assert run("report", "stock")["lots"][0]["left"] is None
    shown = run("report", "shift", "--since", "2007-06-01", "--until", "2030-01-01")
    assert shown["batches"][0]["good"] == "…"
    again = run(
        "batch", "count", number, "--what", "blanks", "--counted", "6", *KEEPER, exit_code=1
    )
    assert again["verdict"] == "COUNT_AGAIN"
    assert not {"expected", "7"} & set(map(str, again.values()))


def test_exit_codes_tell_why(run: Run, town: Centre) -> None:
    assert run("batch", "show", "B1", exit_code=3)["code"] == "W-BATCH"
    (number,) = run("batch", "plan", *OFFICER)["batches"]
    both = ("--as", "officer Luo:card_supervisor")
    refused = run("batch", "release", number, *both, exit_code=4)
    assert refused["code"] == "E-SOD"
    assert run("card", "trace", "nothing", exit_code=3)["code"] == "W-CARD"
    run("batch", "release", number, "--as", "nobody", exit_code=2, as_json=False)
    run("batch", "release", number, "--as", "x:king", exit_code=2, as_json=False)


def test_a_folder_without_an_installation_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "nowhere"
    monkeypatch.setattr(sys, "argv", ["citycard", "batch", "list", "--data", str(folder)])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert end.value.code == 2
    assert not folder.exists()
    assert "nowhere" in capsys.readouterr().err


def test_an_uncertain_card_is_settled_at_the_prompt(run: Run, town: Centre) -> None:
    from personalization import work
    from personalization.work import Seen

    (number,) = run("batch", "plan", *OFFICER)["batches"]
    run("batch", "release", number, *SUPERVISOR)
    run(
        "stock", "issue", "--batch", number, "--station", "S1", "--lot", LOT, "--quantity", "10",
        *KEEPERS,
    )  # fmt: skip
    claim = town.claim()
    with town.db.write() as tx:
        work.uncertain(tx, town.clock, claim, "no answer to the eject", Seen())
    (open_one,) = run("incident", "list")["incidents"]
    two = (*SUPERVISOR, "--with", "keeper Xu:stock_keeper")
    run("incident", "resolve", open_one["subject"], "--outcome", "missing", *two)
    (lost,) = run("incident", "list")["incidents"]
    assert lost["kind"] == "LOST"
    run("incident", "sign", lost["incident"], "--decision", "searched twice", *two)
    assert run("incident", "list")["incidents"] == []
    assert run("queue", "show")["forecast"]["backlog"] == 3


def test_waste_leaves_through_box_and_act(run: Run, town: Centre, tmp_path: Path) -> None:
    (number,) = run("batch", "plan", *OFFICER)["batches"]
    run("batch", "release", number, *SUPERVISOR)
    loaded = ("--station", "S1", "--lot", LOT, "--quantity", "10")
    run("stock", "issue", "--batch", number, *loaded, *KEEPERS)
    claim = town.claim()
    waste = town.numbers(claim).card_serial
    town.spoil(claim)
    assert len(town.run_all()) == 3
    two = (*SUPERVISOR, "--with", "keeper Xu:stock_keeper")
    both = ("--card", waste, "--card", "NOTHING")
    found = run("stock", "empty-box", "box-S1", *both, *KEEPERS, exit_code=1)
    assert (found["counted"], found["lacking"], found["unknown"]) == (1, [], ["NOTHING"])
    punched = ("stock", "destroy", "--card", waste)
    assert run(*punched, *KEEPERS, exit_code=3)["code"] == "W-BATCH-OPEN"
    (differs,) = run("incident", "list")["incidents"]
    run("incident", "sign", differs["incident"], "--decision", "a club card", *two)
    run("batch", "finish", number, *OPERATOR)
    for what, counted in (("blanks", "6"), ("good", "3"), ("spoiled", "1")):
        run("batch", "count", number, "--what", what, "--counted", counted, *KEEPER)
    run("stock", "return", "--batch", number, "--quantity", "6", *KEEPERS)
    run("batch", "close", number, *SUPERVISOR)
    alone = (*KEEPER, "--with", "keeper Song:card_supervisor")
    assert run(*punched, *alone, exit_code=4)["code"] == "E-SOD"
    act = run(*punched, *KEEPERS)["act"]
    papers = [tmp_path / "act.pdf", tmp_path / "again.pdf"]
    for paper in papers:
        assert run("report", "act", act, "--pdf", str(paper))["pdf"] == str(paper)
    assert papers[0].read_bytes() == papers[1].read_bytes()
    nowhere = tmp_path / "none.pdf"
    assert run("report", "act", "A2007-9999", "--pdf", str(nowhere), exit_code=3)["code"] == "W-ACT"
    assert not nowhere.exists()
    assert run("card", "trace", waste)["card"]["place"] == "DESTROYED"


def test_blanks_arrive_and_are_counted_by_two(run: Run) -> None:
    papers = ("--lot", "07002", "--quantity", "50", "--supplier", "Card works")
    announced = ("stock", "announce", *papers, *KEEPER, "--transport-key")
    assert run(*announced, "lot-07002")["state"] == "ANNOUNCED"
    assert run(*announced, "lot-07003", exit_code=3)["code"] == "W-LOT"
    counted = ("stock", "receive", "--lot", "07002", "--counted", "49")
    alone = (*KEEPER, "--with", "keeper Song:stock_keeper")
    assert run(*counted, *alone, exit_code=4)["code"] == "E-SOD"
    differs = run(*counted, *KEEPERS, exit_code=1)
    corrected = (*counted[:-1], "50", *KEEPERS)
    assert run(*corrected, exit_code=3)["code"] == "W-STATE"
    assert [row["incident"] for row in run("incident", "list")["incidents"]] == [
        differs["incident"]
    ]
    vault = {row["lot"]: row["vault"] for row in run("stock", "lots")["lots"]}
    assert vault["07002"] == 49


def test_a_bag_with_a_card_too_few_and_cards_nobody_fetches(run: Run, town: Centre) -> None:
    parcel, made = parcel_sent(town)
    first, second, lacking = [f"R1{card.card_serial}" for card in made]
    seals = ("--seal", "S-1", "--seal", "S-2")
    received = run(
        "dispatch", "receive", parcel, *seals, "--counted", "2", *CLERK, exit_code=1
    )  # fmt: skip
    assert len(received["incidents"]) == 1
    two = (*SUPERVISOR, "--with", "keeper Xu:stock_keeper")
    ended = ("dispatch", "dispute", parcel, "--decision", "bag was torn")
    assert run(*ended, *two, exit_code=3)["code"] == "W-STATE"  # nothing is disputed yet
    unpacked = run(
        "dispatch", "unpack", parcel, "--card", first, "--card", second, *CLERK, exit_code=1
    )  # fmt: skip
    assert (unpacked["state"], unpacked["lacking"]) == ("DISPUTED", [lacking[2:]])
    alone = (*SUPERVISOR, "--with", "supervisor Gao:stock_keeper")
    assert run(*ended, *alone, exit_code=4)["code"] == "E-SOD"
    assert run(*ended, *two, "--dry-run")["missing"] == [lacking[2:]]
    assert run(*ended, *two)["missing"] == [lacking[2:]]
    with town.db.write() as tx:  # since 2007, by the clock of this machine
        for card in made[:2]:
            plastic.by_serial(tx, card.card_serial).arrived_at = town.clock.now()
    waiting = run("report", "uncollected", "--point", "001")["cards"]
    assert {row["action"] for row in waiting} == {"RETURN"}
    assert run("report", "uncollected", "--point", "002")["cards"] == []
    assert run("dispatch", "return", first, *CLERK)["place"] == "UNCOLLECTED"
    assert run("dispatch", "take-back", first, *KEEPER)["place"] == "RECALLED"


def test_a_station_that_never_came_back(run: Run, town: Centre) -> None:
    (number,) = run("batch", "plan", *OFFICER)["batches"]
    run("batch", "release", number, *SUPERVISOR)
    loaded = ("--station", "S1", "--lot", LOT, "--quantity", "10")
    run("stock", "issue", "--batch", number, *loaded, *KEEPERS)
    town.spoil(town.claim())
    spoiled = run("report", "spoil", "--since", "2007-06-01", "--until", "2007-07-01")
    assert (spoiled["spoiled"], spoiled["by_code"]) == (1, {"PR1": 1})
    held = town.claim().work_order
    two = (*SUPERVISOR, "--with", "keeper Xu:stock_keeper")
    lost = ("incident", "declare-lost", held)
    assert run(*lost, *two, exit_code=3)["code"] == "W-JOURNAL-UNREAD"
    alone = (*SUPERVISOR, "--with", "supervisor Gao:stock_keeper")
    assert run(*lost, *alone, "--journal-gone", exit_code=4)["code"] == "E-SOD"
    assert run(*lost, *two, "--journal-gone")["state"] == "UNCERTAIN"
    assert [row["subject"] for row in run("incident", "list")["incidents"]] == [held]
    assert run(*lost[:2], "nothing", *two, exit_code=3)["code"] == "W-WORK"


def test_people_read_tables_and_sentences(run: Run, town: Centre) -> None:
    number, _, cards = made_batch(run, town)
    assert number in run("batch", "list", as_json=False)
    assert "backlog 0" in run("queue", "show", as_json=False)
    assert LOT in run("stock", "lots", as_json=False)
    assert "made at station S1" in run("card", "trace", cards[0], as_json=False)
    bad = run("card", "spoil", cards[0], "--code", "OP1", *INSPECTOR, as_json=False)
    assert "OP1" in bad
    assert "OP1" in run("remake", "list", as_json=False)
    assert run("queue", "person", as_json=False) == "none\n"


def test_the_database_of_the_tests_is_a_real_file(town: Centre, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "city" / "city.db") as connection:
        count = connection.execute("SELECT count(*) FROM production_order").fetchone()[0]
    connection.close()
    assert count == 3
