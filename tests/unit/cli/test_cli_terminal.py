"""``citycard terminal`` with a script, off line, on chips with published keys."""

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog
import typer
from typer.testing import CliRunner

from cardos import samples
from cli.terminal import terminal
from core.clock import SHANGHAI
from hsm_sim.pinpad import SimPinPad
from payments.terminal_lists import CardLists, save_lists
from runtime.simulated_card import make_card
from runtime.terminal_kit import TerminalFolder

app = typer.Typer()
app.command()(terminal)
START = datetime(2007, 9, 3, 9, 0, tzinfo=SHANGHAI)
AT = ("--at", "2007-09-03T09:00:00")


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The command sets logs up on a stream that ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A terminal that was on line an hour ago and is cut off now."""
    home = tmp_path / "terminal"
    made = TerminalFolder(home, "10000001", "898000000000001", samples.TERMINAL, "127.0.0.1:1")
    made.write(SimPinPad(), make_card("psam", None))
    checked = START - timedelta(hours=1)
    lists = CardLists(black_checked=checked, status_checked=checked)
    save_lists(home / "lists.json", lists)
    samples.permit(os.urandom).save(tmp_path / "card.chip")
    return home


def run(folder: Path, script: str, *options: str) -> tuple[int, list[dict[str, object]]]:
    path = folder.parent / "day.txt"
    path.write_text(script.replace("CARD", str(folder.parent / "card.chip")), "utf-8")
    command = ["--home", str(folder), "--script", str(path), "--json", *AT, *options]
    done = CliRunner().invoke(app, command, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_day_is_one_file(folder: Path) -> None:
    code, steps = run(
        folder,
        """
        # a customer, a tear, the same card again
        insert CARD
        balance
        pay 2.50 till-1
        pay 2.50 till-1
        pull after
        expect PURSE-PENDING pay 3.00 till-2
        insert CARD
        again
        balance
        receipt
        state
        expect TERM-OFFLINE upload
        """,
    )
    assert code == 0
    assert all(step["ok"] for step in steps)
    by_word = [(step["step"], step) for step in steps]
    assert [word for word, _ in by_word] == [
        "insert", "balance", "pay", "pay", "pull", "expect", "insert", "again", "balance", "receipt",
        "state", "expect",
    ]  # fmt: skip
    assert by_word[1][1]["balance_fen"] == 8_750
    assert (by_word[2][1]["left_fen"], by_word[2][1]["already"]) == (8_500, False)
    assert by_word[3][1]["already"] is True
    assert (by_word[7][1]["status"], by_word[7][1]["left_fen"]) == ("recovered", 8_200)
    assert by_word[8][1]["balance_fen"] == 8_200
    assert (by_word[10][1]["waiting"], by_word[10][1]["list_age_hours"]) == (2, 1)


def test_what_waits_is_there_when_the_program_starts_again(folder: Path) -> None:
    run(folder, "insert CARD\npay 2.50\n")
    _, steps = run(folder, "state\n")
    assert steps[0]["waiting"] == 1


def test_a_card_pulled_before_the_debit_was_not_charged(folder: Path) -> None:
    code, steps = run(
        folder,
        "insert CARD\npull before\nexpect PURSE-PENDING pay 3\ninsert CARD\nagain\nbalance\n",
    )
    assert code == 0
    assert steps[-2]["purchases"] == ["void"]
    assert steps[-1]["balance_fen"] == 8_750


def test_a_script_stops_at_the_first_fault_with_its_exit_code(folder: Path) -> None:
    code, steps = run(folder, "insert CARD\npay 299.00\nbalance\n")
    assert code == 3
    assert [step["step"] for step in steps] == ["insert", "pay"]
    assert steps[-1]["code"] == "CHIP-9401"


@pytest.mark.parametrize(
    "line", ["dance", "pay", "upload thrice", "pay much", "pull sideways", 'insert "', "x" * 300]
)
def test_a_line_that_is_no_command_says_so(folder: Path, line: str) -> None:
    code, steps = run(folder, f"insert CARD\n{line}\n")
    assert code == 3
    assert steps[-1]["code"] == ("TERM-USAGE" if line in ("pay", "upload thrice") else "TERM-WORD")


def test_an_expectation_that_does_not_come_true_fails(folder: Path) -> None:
    code, steps = run(folder, "insert CARD\nexpect TERM-OFFLINE balance\n")
    assert (code, steps[-1]["code"]) == (3, "TERM-EXPECTED")


def test_the_trace_shows_both_sides_and_no_pin(folder: Path) -> None:
    _, lines = run(folder, "insert CARD\nbalance\n", "--trace")
    traced = [line for line in lines if line["schema"] == "citycard/terminal-trace/1"]
    assert any(line["sent"].startswith("805C0002") for line in traced)
    assert all(line["side"] == "card" for line in traced)


def test_training_is_a_whole_network_with_nothing_to_prepare(tmp_path: Path) -> None:
    script = tmp_path / "day.txt"
    script.write_text(
        """
        insert 1
        pin 123456
        load 50
        pay 2.50 till-1
        pull after
        expect PURSE-PENDING pay 3 till-2
        insert 1
        again
        upload twice
        insert 3
        pin 123456
        expect 62 load 20
        insert 2
        expect TERM-PIN load 30
        pin 123456
        expect PAD-PIN load 30 6200000000042759
        cancel
        pin 123456
        expect PAD-CANCEL load 30 6200000000042759
        load 30 6200000000042759 123456
        balance
        settle
        state
        """
    )
    done = CliRunner().invoke(
        app, ["--training", "--script", str(script), "--json"], standalone_mode=False
    )
    if done.exception is not None:
        raise done.exception
    assert done.return_value == 0
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["ok"] for step in steps] == [True] * len(steps)
    by_word = {step["step"]: step for step in steps}
    assert by_word["upload"]["again"] == ["00", "00"]
    assert by_word["balance"]["balance_fen"] == 3_000
    assert by_word["settle"]["totals"]["36"] == {"count": 2, "amount_fen": 550}
    assert by_word["settle"]["result"] == 1
    assert by_word["state"]["waiting"] == 0


def test_either_a_folder_or_training(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2


def test_training_needs_nothing_and_knows_every_transaction(
    tmp_path: Path,
) -> None:
    day = """
        signon
        echo
        account 6200000000042759 123456
        params
        lists
        report
        insert 1
        pin 123456
        load 50
        load 20 6200000000042759 123456
        expect 6A82 unload 20 6200000000042759
        pay 2.50 till-1
        capp 1.00 21 0102 bus-1
        capp 1.00 21 0102 bus-1
        expect TERM-SALE-USED pay 9 till-1
        upload twice
        settle
        signoff
    """
    (tmp_path / "day.txt").write_text(day, "utf-8")
    command = ["--training", "--script", str(tmp_path / "day.txt"), "--json"]
    done = CliRunner().invoke(app, command, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    by_word = {step["step"]: step for step in steps}
    assert all(step["ok"] for step in steps)
    assert by_word["account"]["account_fen"] == 500_000
    assert by_word["capp"]["already"] is True
    assert (by_word["upload"]["sent"], by_word["upload"]["again"]) == (2, ["00", "00"])
    assert (by_word["settle"]["result"], by_word["settle"]["totals"]) == (
        1,
        {
            "36": {"count": 2, "amount_fen": 350}, "40": {"count": 1, "amount_fen": 2000},
            "41": {"count": 1, "amount_fen": 5000},
        },
    )  # fmt: skip
