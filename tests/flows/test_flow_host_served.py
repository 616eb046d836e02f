"""``citycard host serve`` as a process against an HSM process under mutual TLS: killed, started again, byte-equal.

Everything is as in an installation: ceremonies, certificates, the HSM's server, the host's command line, its
database file. The terminal is a PIN pad with its master key and a socket.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from benchmarks import purse_bench as bench
from benchmarks.purse_swarm import SwarmTerminal
from cardos.records import card_factor
from core import crypto
from core.clock import SystemClock
from core.db import Database
from hsm_sim.client import Role
from payments import messages
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.messages import Message
from payments.purse_data import LOAD_CONFIRMATION, PurseAnswer, PurseConfirmation, PurseRequest
from payments.requests import CASH_LOAD, reversal
from payments.tables import LoadRow
from runtime.services import declare_tables
from tests.host_process import HostProcess

MERCHANT, NUMBER, PSAM = "898000000000001", "10000001", bytes.fromhex("000000000001")
FEN = 5_000


@dataclass
class Host:
    """``citycard host serve`` on a folder that outlives it."""

    works: bench.Works
    folder: Path
    process: HostProcess | None = None

    def start(self) -> HostProcess:
        command = [
            sys.executable, "-m", "cli.main", "host", "serve", "--port", "0",
            "--data", str(self.folder / "data"), "--certificates", str(self.works.certificates),
            "--slots", str(self.folder / "hsm" / "slots.json"),
            "--hsm-port", str(self.works.process.port),
        ]  # fmt: skip
        url = f"sqlite:///{self.folder / 'data' / 'city.db'}"
        self.process = HostProcess(command, {"CITYCARD_DATABASE_URL": url})
        return self.process


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as closing:
        made = Host(bench.open_works(tmp_path, closing), tmp_path)
        (tmp_path / "data").mkdir()
        yield made
        if made.process is not None and made.process.process.poll() is None:
            made.process.end(signal.SIGKILL)


def enrolled(host: Host, db: Database) -> SwarmTerminal:
    """A merchant, a terminal with its pad, and two cards in the registers."""
    clock = SystemClock()
    with host.works.client(Role.TERMS) as hsm, db.write() as tx:
        pad, token = host.works.fit_out(hsm)
        enrol_merchant(tx, clock, MERCHANT, "Bakery", 30)
        enrol_terminal(tx, clock, NewTerminal(NUMBER, MERCHANT, PSAM, token))
        bench.enter_cards(tx, bench.serials(1, 2))
    return SwarmTerminal(NUMBER, MERCHANT, PSAM, pad, 0)


def proof(host: Host, asked: PurseRequest, given: PurseAnswer) -> PurseConfirmation:
    """What CREDIT FOR LOAD gives: the TAC under the card's own key (purse-card.md 8.2)."""
    balance = asked.balance + asked.amount
    covered = (
        balance.to_bytes(4, "big") + asked.counter.to_bytes(2, "big")
        + asked.amount.to_bytes(4, "big") + bytes((asked.type,)) + asked.psam + given.date + given.time
    )  # fmt: skip
    key = crypto.diversify(host.works.tac_master, card_factor(asked.asn))
    return PurseConfirmation(
        LOAD_CONFIRMATION, asked.issuer, asked.asn, asked.random, asked.key_index,
        asked.key_version, asked.counter, asked.amount, asked.type, asked.psam, given.date,
        given.time, crypto.tac(key, covered), balance, asked.algorithm,
    )  # fmt: skip


@pytest.mark.slow
def test_a_served_host_killed_between_messages_repeats_itself_byte_for_byte(host: Host) -> None:
    declare_tables()
    db = Database(f"sqlite:///{host.folder / 'data' / 'city.db'}")
    db.create_tables()
    terminal = enrolled(host, db)
    process = host.start()
    terminal.sign_on(process.port)
    asked, other = (
        bench.load_request(host.works.load_master, serial, FEN, PSAM)
        for serial in bench.serials(1, 2)
    )
    load = terminal.station.load(terminal.next_trace(), asked, CASH_LOAD)
    second = terminal.station.load(terminal.next_trace(), other, CASH_LOAD)

    def sealed(message: Message) -> bytes:
        return messages.build(message, terminal.pad.make_mac)

    frames = [sealed(load), sealed(second), sealed(reversal(second, "98"))]
    answers = [process.ask(frame) for frame in frames]
    first = messages.parse(answers[0])
    assert [messages.parse(raw).response for raw in answers] == ["00", "00", "00"]
    evidence = proof(host, asked, PurseAnswer.parse(first.octets(58)))
    frames.append(
        sealed(
            terminal.station.confirmation(
                terminal.next_trace(), load, first.text(37), evidence, first.text(13)
            )
        )
    )
    answers.append(process.ask(frames[3]))
    assert process.end(signal.SIGKILL) == -signal.SIGKILL

    process = host.start()
    again = [process.ask(frame) for frame in frames]
    assert [again[0], again[2], again[3]] == [answers[0], answers[2], answers[3]]
    late = messages.parse(again[1])  # reversed: its MAC2 is gone for good (I-30)
    assert (late.response, 58 in late) == ("22", False)
    assert process.end(signal.SIGTERM) == 0
    with db.read() as tx:
        rows = tx.execute(select(LoadRow.trace, LoadRow.state))
        states = {row[0]: row[1] for row in rows}
    db.close()
    assert states == {load.trace: "CONFIRMED", second.trace: "REVERSED"}
