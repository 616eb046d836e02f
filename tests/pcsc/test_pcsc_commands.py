"""``citycard card read`` against a sample permit behind a real pcscd; and a chip whose process dies."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from foreign import find_program
from typer.testing import CliRunner

from cardos.client import CardSession
from cardos.pcsc import PcscReader
from cardos.requests import SelectFile
from cardos.vpcd import VirtualSlot
from cli import card
from core.errors import DeviceFault, NotFound
from runtime.pcscd import PrivatePcscd, missing
from runtime.readers import find_reader
from runtime.simulated_card import ask, make_card

RUN = CliRunner()
SEEN = 15.0  # bounds for a busy machine; nothing waits this long on a quiet one
ENDING = 30.0
HERE = Path(__file__).parent


@pytest.mark.parametrize("t0", [False, True])
def test_card_read_shows_tree_balance_and_log(
    slot: VirtualSlot, reader_name: str, t0: bool
) -> None:
    chip = make_card("permit", None, t0)
    before = chip.writes
    reader = PcscReader(reader_name)
    assert reader.wait(False, SEEN)
    slot.insert(chip)
    assert reader.wait(True, SEEN)
    reader.close()
    done = RUN.invoke(card.app, ["read", "--reader", reader_name, "--json"])
    assert done.exit_code == 0, done.output
    view = json.loads(done.stdout)
    assert view["reader"] == reader_name
    assert view["atr"] == chip.atr.hex().upper()
    purse = view["directories"][1]
    assert purse["purses"] == [{"purse": "EP", "balance_fen": 8750, "sw": "9000"}]
    assert [(r["type"], r["amount_fen"]) for r in purse["log"]] == [("06", 1250), ("02", 10_000)]
    closed = [f["short_id"] for f in view["directories"][2]["files"] if f["sw"] == "6982"]
    assert closed == ["01", "02", "06", "07", "18"]  # the holder's data want the reader key
    assert chip.writes == before
    text = RUN.invoke(card.app, ["read", "--reader", reader_name]).stdout
    assert "EP  87.50 CNY" in text
    assert "1PAY.SYS.DDF01" in text


def test_readers_are_found_by_name_or_by_their_card(slot: VirtualSlot, reader_name: str) -> None:
    waiting = PcscReader(reader_name)
    assert waiting.wait(False, SEEN)
    with pytest.raises(NotFound, match="CARD-NO-READER"):
        find_reader("no such reader")
    with pytest.raises(DeviceFault, match="CARD-ABSENT"):
        find_reader()
    slot.insert(make_card("blank", None))
    assert waiting.wait(True, SEEN)
    waiting.close()
    assert find_reader().name == reader_name


def test_a_chip_killed_inside_a_command_leaves_pcscd_and_pyscard_usable(
    daemon: PrivatePcscd, reader_name: str
) -> None:
    """The process of the chip dies by SIGKILL while pcscd waits for its answer."""
    port = daemon.slots[reader_name]
    reader = PcscReader(reader_name)
    assert reader.wait(False, SEEN)
    victim = subprocess.Popen(
        [sys.executable, str(HERE / "stuck_chip.py"), str(port)],
        stdout=subprocess.PIPE,
        cwd=HERE.parents[1],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )
    try:
        assert reader.wait(True, SEEN)
        channel = reader.connect()
        assert CardSession(channel).send(SelectFile(0x3F00)).name == b"1PAY.SYS.DDF01"
        with pytest.raises(DeviceFault, match="CARD-GONE"):
            channel.transmit(bytes.fromhex("0084000008"))  # the chip kills its own process in here
    finally:
        victim.wait(ENDING)
        assert victim.stdout is not None
        victim.stdout.close()
    assert victim.returncode == -signal.SIGKILL
    slot = VirtualSlot(("127.0.0.1", port))  # a new hand: it leaves the slot empty long enough
    slot.insert(make_card("permit", None))
    assert reader.wait(True, SEEN)
    channel = reader.connect()
    assert CardSession(channel).send(SelectFile(0x3F00)).name == b"1PAY.SYS.DDF01"
    channel.close()
    reader.close()
    slot.remove()


def need_pcscd() -> None:
    absent = missing()
    if absent is not None and os.environ.get("CITYCARD_REQUIRE_PCSC"):
        pytest.fail(f"{absent} is not installed, and this run demands real PC/SC")
    if absent is not None:
        pytest.skip(f"real PC/SC needs pcscd, vsmartcard-vpcd and pyscard: {absent} is missing")


def wait_gone(pid: int) -> bool:
    """Whether a process ends within a few seconds; it is not our child."""
    pidfd = os.pidfd_open(pid)
    try:
        return bool(select.select([pidfd], [], [], SEEN)[0])
    finally:
        os.close(pidfd)


def citycard(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sim_card_from_start_to_end_with_a_foreign_program(tmp_path: Path) -> None:
    """The command a newcomer types: a chip, a pcscd of its own, opensc-tool, a tear, Ctrl-C."""
    need_pcscd()
    opensc = find_program("opensc-tool")
    control = tmp_path / "hand.sock"
    words = ["sim", "card", "--private-pcscd", "--json", "--control", str(control)]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words],
        cwd=HERE.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        text = ""
        while "}" not in text:
            line = process.stdout.readline()
            assert line, "the process ended before it announced itself"
            text += line
        said = json.loads(text)
        environment = {"PATH": "/usr/bin:/bin", "PCSCLITE_CSOCK_NAME": said["pcscd_socket"]}
        command = [opensc, "-c", "default", "-s", "00:A4:00:00:02:3F:00"]

        def select_mf() -> str:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            return done.stdout + done.stderr

        assert "SW1=0x90, SW2=0x00" in select_mf()
        assert ask(control, {"do": "tear", "at": "before-reply"})["inserted"]
        assert "SW1=0x90" not in select_mf()
        assert ask(control, {"do": "insert"})["inserted"]
        assert "SW1=0x90, SW2=0x00" in select_mf()
        again = citycard("sim", "card", "insert", "--control", str(control), "--json")
        assert again.returncode == 6
        assert json.loads(again.stdout)["code"] == "CARD-OCCUPIED"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDING) == 0
        process.stdout.close()
    assert not control.exists()
    assert not Path(said["pcscd_socket"]).exists()


def test_a_killed_sim_card_takes_its_pcscd_with_it(tmp_path: Path) -> None:
    need_pcscd()
    control = tmp_path / "hand.sock"
    left: list[Path] = []
    for _ in range(2):  # the second finds what the first left behind, and clears it away
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "sim", "card", "--private-pcscd", "--json",
             "--control", str(control), "--image", str(tmp_path / "chip.img")],
            cwd=HERE.parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        assert not any(directory.exists() for directory in left)
        left = list(Path(tempfile.gettempdir()).glob(f"citycard-pcsc-*-{process.pid}"))
        assert len(left) == 1
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait(ENDING)
        process.stdout.close()
        assert len(children) == 1
        with suppress(ProcessLookupError):  # gone already
            assert wait_gone(int(children[0]))
