"""The purse host of a test: authorizer, database, bank and terminals' rows around the real HSM, in this process."""

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, event

from core.clock import FixedClock
from core.db import Database, Tx
from hsm_sim.pinpad import SimPinPad
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.judging import Judge
from payments.limits import HostProfile, Parameters
from payments.terminal_host import Identity
from registry.residence.gate import PurseGate
from runtime.services import declare_tables
from tests.purse_works import PurseWorks

MERCHANT = "898000000000001"
ACCOUNT_FEN = 10_000_000
GENEROUS = Parameters(purse_fen=10_000_000, load_fen=1_000_000, purchase_fen=1_000_000)


class HostStopped(Exception):
    """The host ended just before a commit."""


def everybody_active(_tx: Tx, card_serials: Sequence[str]) -> Mapping[str, PurseGate]:
    """A register in which every card is live."""
    return {serial: PurseGate(True, "ACTIVE", "00", True, serial) for serial in card_serials}


@dataclass
class PurseCity:
    """One acquirer. `answer` is the host; `restart` closes and opens it again on the same database and bank."""

    works: PurseWorks
    folder: Path
    clock: FixedClock
    url: str = ""
    stop_at_commit: int = -1
    commits: int = 0
    bank: SimulatedBank = field(init=False)
    authorizer: Authorizer = field(init=False)
    db: Database = field(init=False)

    def __post_init__(self) -> None:
        declare_tables()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bank = SimulatedBank(self.clock, open_accounts_with=ACCOUNT_FEN)
        self.db = Database(self.url or f"sqlite:///{self.folder / 'purse.db'}")
        self.db.create_tables()
        event.listen(self.db.engine, "commit", self._before_commit)
        self._open()
        with self.db.write() as tx:
            enrol_merchant(tx, self.clock, MERCHANT, "Bakery", fee_points=30)

    def _open(self) -> None:
        slots = self.works.slots
        profile = HostProfile(parameters=GENEROUS, zone_key=slots["bank-zpk-01"])
        self.authorizer = Authorizer(
            self.db, self.clock, self.works.hsm, self.bank, self.masters, profile, everybody_active
        )
        self.authorizer.recover()

    def masters(self, usage: str, version: int) -> str:
        """Key field of a purse master."""
        return self.works.slots.find(usage, "purse", version)

    def _before_commit(self, _connection: Engine) -> None:
        self.commits += 1
        if self.stop_at_commit >= 0:
            self.stop_at_commit -= 1
            if self.stop_at_commit < 0:
                raise HostStopped

    def restart(self) -> None:
        """Stop and start: what the host had in memory is gone, database and bank stay."""
        self.authorizer.close()
        self._open()

    def judge(self) -> None:
        """Judge every purchase that was received."""
        judge = Judge(
            self.db,
            self.clock,
            self.works.hsm,
            self.masters,
            self.authorizer.profile,
            everybody_active,
        )
        while judge.run():
            pass

    def close(self) -> None:
        """Stop the host and close the database."""
        self.authorizer.close()
        self.db.close()

    def answer(self, frame: bytes) -> bytes | None:
        """One request; None when no answer comes. A host that stops at a commit is started again."""
        try:
            return self.authorizer.answer(frame)
        except HostStopped:
            self.stop_at_commit = -1
            self.restart()
            return None

    def add_terminal(self, number: int) -> tuple[Identity, SimPinPad]:
        """A terminal's row and its fitted-out pad; its PSAM number is `number`."""
        pad, token = self.works.pad()
        psam = number.to_bytes(6, "big")
        identity = Identity(f"{10_000_000 + number}", MERCHANT, psam)
        with self.db.write() as tx:
            enrol_terminal(tx, self.clock, NewTerminal(identity.terminal, MERCHANT, psam, token))
        return identity, pad

    def bank_fault(self, dice: random.Random) -> None:
        """The bank goes away, comes back, or does the next debit wrong in some way."""
        if self.bank.down or dice.random() < 0.3:
            self.bank.down = not self.bank.down
        elif not self.bank.plan and dice.random() < 0.5:
            self.bank.plan.append(dice.choice(("silent", "late", "refuse:51")))


def memory_folder(name: str) -> Path:
    """A folder on a memory file system where there is one, so that syncs cost nothing."""
    base = Path("/dev/shm")
    root = base if base.is_dir() else Path("/tmp")
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


Answer = Callable[[bytes], bytes | None]
