"""A purse host with known keys, for trying a terminal or another program against it (docs/terminals.md).

Everything but the keys is as in production: the real HSM engine, the real authorizer, database and listener.
The keys come from a file in the clear, so this is for test values only; the HSM's instance name says so
(``hsm.lab``), and its folder is a temporary one that goes with the process.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.clock import Clock, OffsetClock, SystemClock, business_date
from core.db import Database, Tx
from core.errors import NotFound, Rejected
from hsm_sim.ceremony.actions import Birth
from hsm_sim.client import Hsm
from hsm_sim.device import Hsm as Device
from hsm_sim.engine import Engine
from hsm_sim.lmkfile import Argon2
from hsm_sim.local import LocalHsm
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.judging import Judge
from payments.limits import HostProfile, Parameters
from payments.tables import MerchantRow, TerminalRow
from registry.residence.gate import PurseGate
from runtime.services import declare_tables

SCHEMA = "citycard/purse-lab/1"
QUICK = Argon2(memory_kib=64, passes=1, lanes=1)  # the HSM guards nothing here
MASTER_USAGES = {"DLK": "11", "DTK": "12", "DULK": "13"}
MAX_TERMINALS = 1_000


@dataclass(frozen=True)
class LabTerminal:
    """A terminal of the laboratory. `mak` and `pik` (hex) preset the key set in force, without a sign-on."""

    number: str
    merchant: str
    psam: str
    tmk: str
    batch: int = 1
    mac_profile: str = "unionpay"
    single_mak: bool = False
    mak: str = ""
    pik: str = ""


@dataclass(frozen=True)
class Laboratory:
    """The set-up file. Keys are hex. `refused`: response codes by ASN; `cards` None: every card is live.

    `accounts` are fen by funding account; any other account has `open_account_fen`.
    """

    masters: Mapping[str, str]
    terminals: tuple[LabTerminal, ...]
    issuer: str
    cards: frozenset[str] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, int] = field(default_factory=dict)
    open_account_fen: int = 10_000_000
    zone_key: str = ""
    fee_points: int = 38
    parameters: Mapping[str, Any] = field(default_factory=dict)
    acquirer: str = "48880001"

    @classmethod
    def load(cls, path: Path) -> "Laboratory":
        """Read a set-up file. Raises Rejected LAB-FILE."""
        try:
            value = json.loads(path.read_text("utf-8"))
            if value.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            terminals = tuple(LabTerminal(**one) for one in value.pop("terminals"))
            cards = value.pop("cards", None)
            made = cls(
                terminals=terminals, cards=None if cards is None else frozenset(cards), **value
            )
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise Rejected("LAB-FILE", str(fault), file=path.name) from fault
        if not 0 < len(terminals) <= MAX_TERMINALS or set(made.masters) - set(MASTER_USAGES):
            raise Rejected("LAB-FILE", "terminals or masters", file=path.name)
        return made

    def gate(self, _tx: Tx, asns: Sequence[str]) -> dict[str, PurseGate]:
        """The register's verdict: what the file says."""
        known = [asn for asn in asns if self.cards is None or asn in self.cards]
        return {
            asn: PurseGate(True, "ACTIVE", code, code in ("00", "62"), asn[-16:])
            for asn in known
            for code in (self.refused.get(asn, "00"),)
        }


class StillClock:
    """A date that stands still; durations run on, so that time-outs work."""

    def __init__(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        """The one instant."""
        return self._at

    def monotonic(self) -> float:
        """As the machine's."""
        return SystemClock().monotonic()


class LabHsm:
    """The HSM engine with the file's keys loaded as components."""

    def __init__(self, home: Path, clock: Clock, **limits: int) -> None:
        """`limits` of the HSM other than section 7's, by name."""
        self._device = Device.make(
            home, "hsm.lab", clock, [], {"quorum": {}}, (b"one", b"two"), QUICK
        )
        if limits:
            self._device.set_policy(self._device.policy.with_limits(**limits))
        self.hsm: Hsm = LocalHsm(Engine(self._device))
        self.load("lmk-1", secrets.token_bytes(32), "A3", "K1", "N", "lab")

    def load(
        self, kid: str, material: bytes, algorithm: str, usage: str, mode: str, scope: str
    ) -> str:
        """Load and activate one key; its key field (empty for the LMK)."""
        actions = self._device.actions
        parts = [secrets.token_bytes(len(material)) for _ in range(2)]
        parts.append(bytes(a ^ b ^ c for a, b, c in zip(material, *parts, strict=True)))
        actions.begin(self._device.log.size)
        for number, part in enumerate(parts, 1):
            actions.component(kid, number, bytearray(part))
        actions.combine(Birth(kid, algorithm, usage, mode, "01", "N", scope, 1), 3)
        actions.commit()
        actions.begin(self._device.log.size)
        actions.activate(kid)
        actions.commit()
        store = self._device.keystore
        if store is None or store.entries[kid].slot < 0:
            return ""
        return f"K{store.entries[kid].slot:03X}"

    def close(self) -> None:
        """Close the HSM's log."""
        self._device.close()


@dataclass
class RunningLab:
    """What a laboratory host consists of."""

    authorizer: Authorizer
    judge: Judge
    db: Database
    bank: SimulatedBank
    clock: Clock
    hsm: Hsm
    profile: HostProfile
    masters: Any


@contextmanager
def laboratory(
    lab: Laboratory, data: Path | None = None, now: datetime | None = None, still: bool = False
) -> Iterator[RunningLab]:
    """A laboratory for the length of a block. `data` None: nothing outlives it.

    `now`: the time to begin with; `still`: it stays that time, so that dates and MACs can be foretold.
    """
    clock: Clock = SystemClock()
    if now is not None:
        clock = StillClock(now) if still else OffsetClock(SystemClock(), now)
    with TemporaryDirectory(prefix="purse-lab-") as folder:
        hsm = LabHsm(Path(folder) / "hsm", SystemClock())
        where = Path(folder) if data is None else data
        where.mkdir(parents=True, exist_ok=True)
        declare_tables()
        db = Database(f"sqlite:///{where / 'purse.db'}")
        db.create_tables()
        try:
            running = _assemble(lab, hsm, db, clock, where)
            try:
                yield running
            finally:
                running.authorizer.close()
        finally:
            db.close()
            hsm.close()


def _assemble(lab: Laboratory, hsm: LabHsm, db: Database, clock: Clock, where: Path) -> RunningLab:
    slots = {
        usage: hsm.load(
            f"purse-{name.lower()}-01", bytes.fromhex(lab.masters[name]), "T2", usage, "X", "purse"
        )
        for name, usage in MASTER_USAGES.items()
        if name in lab.masters
    }

    def masters(usage: str, version: int) -> str:
        if usage not in slots or version > 1:
            raise NotFound("HSM-NO-KEY", "no such key", usage=usage, version=version)
        return slots[usage]

    zone = bytes.fromhex(lab.zone_key) if lab.zone_key else secrets.token_bytes(16)
    profile = HostProfile(
        name="lab", acquirer=lab.acquirer, issuers=frozenset({bytes.fromhex(lab.issuer)}),
        parameters=Parameters(**lab.parameters),
        zone_key=hsm.load("bank-zpk-01", zone, "T2", "P0", "E", "bank"),
    )  # fmt: skip
    bank = SimulatedBank(
        clock, dict(lab.accounts), where / "bank.jsonl", open_accounts_with=lab.open_account_fen
    )
    _enrol(lab, hsm, db, clock)
    authorizer = Authorizer(db, clock, hsm.hsm, bank, masters, profile, lab.gate)
    judge = Judge(db, clock, hsm.hsm, masters, profile, lab.gate)
    return RunningLab(authorizer, judge, db, bank, clock, hsm.hsm, profile, masters)


def _enrol(lab: Laboratory, hsm: LabHsm, db: Database, clock: Clock) -> None:
    """Merchants and terminals; their keys are loaded anew each time, since the HSM is a new one."""
    tmks: dict[str, str] = {}
    for index, terminal in enumerate(lab.terminals, 1):
        if terminal.tmk not in tmks:
            key = bytes.fromhex(terminal.tmk)
            tmks[terminal.tmk] = hsm.load(f"tmk-{index}", key, "T2", "K0", "B", "terminal")
        keys = _preset(hsm, terminal, index)
        with db.write() as tx:
            row = tx.get(TerminalRow, terminal.number)
            if row is None:
                row = _new_row(tx, lab, clock, terminal, tmks[terminal.tmk])
            row.tmk = tmks[terminal.tmk]
            row.current_mak, row.current_pik = keys
            row.waiting_mak = row.waiting_pik = ""
            row.waiting_at, row.waiting_keys = None, b""
            if keys[0]:
                row.signed_on = business_date(clock.now())


def _new_row(tx: Tx, lab: Laboratory, clock: Clock, terminal: LabTerminal, tmk: str) -> TerminalRow:
    if tx.get(MerchantRow, terminal.merchant) is None:
        enrol_merchant(tx, clock, terminal.merchant, "Laboratory", lab.fee_points)
    new = NewTerminal(
        terminal.number, terminal.merchant, bytes.fromhex(terminal.psam), tmk,
        terminal.mac_profile, terminal.single_mak, terminal.batch,
    )  # fmt: skip
    return enrol_terminal(tx, clock, new)


def _preset(hsm: LabHsm, terminal: LabTerminal, index: int) -> tuple[str, str]:
    """Key fields of a MAK and PIK given in the file; empty where there is none."""
    mak, pik = bytes.fromhex(terminal.mak), bytes.fromhex(terminal.pik)
    algorithm = "D1" if len(mak) == 8 else "T2"
    return (
        hsm.load(f"mak-{index}", mak, algorithm, "M3", "C", "lab") if mak else "",
        hsm.load(f"pik-{index}", pik, "T2", "P0", "D", "lab") if pik else "",
    )
