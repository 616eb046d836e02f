"""A purse network to learn on, in this process: HSM, host, bank, one terminal and three cards; gone when it ends.

Everything is the product but the keys, which were born a second ago and guard nothing. Card 1 and card 2 are live,
card 3 belongs to a permit that sleeps: it pays, and a load is refused with 62. The PIN of all cards is 123456.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from core.clock import Clock
from core.db import Database, Tx
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.host import serve
from payments.limits import HostProfile, Parameters
from registry.residence.gate import PurseGate
from runtime.services import declare_tables
from runtime.terminal_kit import TerminalFolder, TerminalKit, open_kit
from runtime.training_works import PurseWorks

TERMINAL, MERCHANT, PSAM = "10000001", "898440308000001", 1
FIRST_CARD, CARDS, SLEEPER = 147, 3, 3
ACCOUNT, ACCOUNT_FEN = "6200000000042759", 500_000


@contextmanager
def training_kit(clock: Clock) -> Iterator[TerminalKit]:
    """A terminal with its network for the length of a block, its lists loaded; cards are named 1, 2 and 3."""
    with TemporaryDirectory(prefix="citycard-training-") as name:
        folder = Path(name)
        declare_tables()
        db = Database(f"sqlite:///{folder / 'host.db'}")
        db.create_tables()
        works = PurseWorks(folder, clock)
        authorizer = _host(db, clock, works)
        try:
            with serve(authorizer, clock) as running:
                kit = _terminal(folder, db, clock, works, running.port)
                try:
                    yield kit
                finally:
                    kit.close()
        finally:
            authorizer.close()
            db.close()


def _host(db: Database, clock: Clock, works: PurseWorks) -> Authorizer:
    slots = works.slots
    profile = HostProfile(parameters=Parameters(), zone_key=slots["bank-zpk-01"])
    bank = SimulatedBank(clock, {ACCOUNT: ACCOUNT_FEN})
    return Authorizer(
        db, clock, works.hsm, bank, lambda usage, version: slots.find(usage, "purse", version),
        profile, _gate,
    )  # fmt: skip


def _gate(_tx: Tx, asns: Sequence[str]) -> Mapping[str, PurseGate]:
    """The register's word on the three cards."""
    sleeper = f"{FIRST_CARD + SLEEPER - 1:04d}"
    return {
        asn: PurseGate(True, "DORMANT", "62", True)
        if asn.endswith(sleeper)
        else PurseGate(True, "ACTIVE", "00", True)
        for asn in asns
    }


def _terminal(
    folder: Path, db: Database, clock: Clock, works: PurseWorks, port: int
) -> TerminalKit:
    pad, token = works.pad()
    psam = PSAM.to_bytes(6, "big")
    with db.write() as tx:
        enrol_merchant(tx, clock, MERCHANT, "Training bakery", fee_points=30)
        enrol_terminal(tx, clock, NewTerminal(TERMINAL, MERCHANT, psam, token))
    place = TerminalFolder(folder / "terminal", TERMINAL, MERCHANT, psam, f"127.0.0.1:{port}")
    place.write(pad, works.psam(PSAM))
    kit = open_kit(place, clock)
    for number in range(1, CARDS + 1):
        kit.images[str(number)] = works.card(f"{FIRST_CARD + number - 1:014d}")
    kit.terminal.update_lists()
    return kit
