"""A purse host with known keys, for trying a terminal or another program against it (docs/terminals.md).

Everything but the keys is as in production: the real HSM engine, the real authorizer, database and listener.
The keys come from a file in the clear, so this is for test values only; the HSM's instance name says so
(``hsm.lab``), and its folder is a temporary one that goes with the process.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.clock import Clock, FixedClock, OffsetClock, SystemClock, business_date
from core.db import Database, Tx
from core.errors import NotFound
from hsm_sim.ceremony.actions import Birth
from hsm_sim.client import Hsm
from hsm_sim.device import Hsm as Device
from hsm_sim.engine import Engine
from hsm_sim.lmkfile import Argon2
from hsm_sim.local import LocalHsm
from payments import downloads
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal, set_terminal
from payments.judging import Judge
from payments.limits import Gate, HostProfile
from payments.tables import MerchantRow, PurseCardRow, TerminalRow
from registry.dormancy import status_list
from registry.residence.gate import (
    LIST_CANCELLED,
    LIST_LOST,
    LIST_STOLEN,
    LIST_SUSPECT,
    PurseGate,
)
from runtime.purse_lab_file import MASTER_USAGES, Laboratory, LabTerminal
from runtime.services import declare_tables

SINGLE_HEX = 16
_LISTED = {LIST_LOST: "41", LIST_STOLEN: "43", LIST_CANCELLED: "04", LIST_SUSPECT: "04"}
QUICK = Argon2(memory_kib=64, passes=1, lanes=1)  # the HSM guards nothing here


def _gate(lab: Laboratory) -> Gate:
    """The register's verdict on cards: what the file says, and the last blacklist of it."""
    listed = lab.blacklists[-1].cards if lab.blacklists else {}
    refused = {asn: _LISTED[reason] for asn, reason in listed.items()} | dict(lab.refused)

    def verdicts(_tx: Tx, asns: Sequence[str]) -> dict[str, PurseGate]:
        known = [asn for asn in asns if lab.cards is None or asn in lab.cards]
        return {
            asn: PurseGate(True, "ACTIVE", code, code in ("00", "62"), asn[-16:])
            for asn in known
            for code in (refused.get(asn, "00"),)
        }

    return verdicts


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
        db = Database(f"sqlite:///{where / 'city.db'}")
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
    zone_key = hsm.load("bank-zpk-01", zone, "T2", "P0", "E", "bank")
    profile, gate = replace(lab.profile(), zone_key=zone_key), _gate(lab)
    bank = SimulatedBank(
        clock, dict(lab.accounts), where / "bank.jsonl", open_accounts_with=lab.open_account_fen,
        answers=lab.bank,
    )  # fmt: skip
    _enrol(lab, hsm, db, clock)
    _publish(lab, db)
    authorizer = Authorizer(db, clock, hsm.hsm, bank, masters, profile, gate)
    judge = Judge(db, clock, hsm.hsm, masters, profile, gate)
    return RunningLab(authorizer, judge, db, bank, clock, hsm.hsm, profile, masters)


def _publish(lab: Laboratory, db: Database) -> None:
    """The file's lists, unless an earlier run on the same data has published them."""
    with db.write() as tx:
        if downloads.blacklist_version(tx) == 0:
            for black in lab.blacklists:
                downloads.put_blacklist(tx, FixedClock(black.at), black.cards)
        if status_list.delta(tx, 0).version == 0:
            for status in lab.status_lists:
                status_list.put(tx, FixedClock(status.at), status.cards)


def _enrol(lab: Laboratory, hsm: LabHsm, db: Database, clock: Clock) -> None:
    """Merchants, terminals, blocked cards; keys are loaded anew each time, since the HSM is a new one."""
    keys = _Keys(hsm)
    with db.write() as tx:
        for asn in lab.blocked:
            if tx.get(PurseCardRow, asn) is None:
                tx.add(PurseCardRow(
                    asn=asn, counter=0, version=1, balance=0, failures=0, blocked=True,
                    seen_at=clock.now(),
                ))  # fmt: skip
    for terminal in lab.terminals:
        tmk = keys.field(terminal.tmk, "K0", "B", "terminal")
        current = keys.field(terminal.mak, "M3", "C"), keys.field(terminal.pik, "P0", "D")
        with db.write() as tx:
            row = tx.get(TerminalRow, terminal.number)
            if row is None:
                row = _new_row(tx, lab, clock, terminal, tmk)
            row.tmk = tmk
            row.current_mak, row.current_pik = current
            row.waiting_mak = row.waiting_pik = ""
            row.waiting_at, row.waiting_keys = None, b""
            if row.current_mak:
                row.signed_on = business_date(clock.now())


def _new_row(tx: Tx, lab: Laboratory, clock: Clock, terminal: LabTerminal, tmk: str) -> TerminalRow:
    known = tx.get(MerchantRow, terminal.merchant)
    if known is None:
        wanted = lab.merchant(terminal.merchant)
        known = enrol_merchant(tx, clock, wanted.number, wanted.name, wanted.fee_points)
        known.open = wanted.open
    new = NewTerminal(
        terminal.number, terminal.merchant, bytes.fromhex(terminal.psam), tmk,
        terminal.mac_profile, terminal.single_mak, terminal.batch, terminal.plain_management,
    )  # fmt: skip
    row = enrol_terminal(tx, clock, new)
    if not terminal.open:
        set_terminal(tx, clock, terminal.number, open_=False)
    return row


class _Keys:
    """Terminal keys by value: the HSM takes each only once, and terminals of a file may share one."""

    def __init__(self, hsm: LabHsm) -> None:
        self._hsm = hsm
        self._fields: dict[str, str] = {"": ""}

    def field(self, key: str, usage: str, mode: str, scope: str = "lab") -> str:
        """The HSM's key field of a key in hex; empty for no key. A single-length MAK is of usage M1."""
        name = key.upper()
        if name not in self._fields:
            single = len(name) == SINGLE_HEX
            self._fields[name] = self._hsm.load(
                f"lab-{len(self._fields)}", bytes.fromhex(name), "D1" if single else "T2",
                "M1" if single else usage, mode, scope,
            )  # fmt: skip
        return self._fields[name]
