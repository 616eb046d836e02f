"""A purse host with known keys, a terminal and cards whose cryptography is computed here, not in `payments`.

The HSM is the real engine with the vectors' masters; the card is a few lines over `core.crypto`, so that
hundreds of loads cost nothing. Only tests may do this.
"""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from core import crypto
from core.clock import FixedClock
from core.db import Database, Tx, metadata
from core.errors import NotFound
from hsm_sim import mac
from payments import ledger, messages
from payments import requests as r
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.clearing import ClearingRun
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from payments.field_parts import Totals, WorkKeys
from payments.judging import Judge
from payments.limits import HostProfile, Parameters
from payments.messages import Message
from payments.purse_data import (
    LOAD_CONFIRMATION,
    LOAD_REQUEST,
    PURCHASE,
    UNLOAD_CONFIRMATION,
    UNLOAD_REQUEST,
    PurchaseEvidence,
    PurseAnswer,
    PurseConfirmation,
    PurseRequest,
    factor_of,
)
from payments.requests import Station
from payments.tables import IncidentRow, LoadRow
from registry.residence.gate import PurseGate
from runtime.services import declare_tables
from tests.hsm_bench import KnownKeys

NOON = datetime(2026, 11, 28, 4, 0, tzinfo=UTC)
ISSUER = bytes.fromhex("5180000100000001")
MASTERS = {
    "11": bytes.fromhex("924CDFBC5DA2E586B631B040B51F83BA"),
    "12": bytes.fromhex("EA23E3BC1ABC027ABCB99108A1706D16"),
    "13": bytes.fromhex("75AE7F543E0B9734B661EF3D73BA266B"),
}
TMK = bytes.fromhex("25168989738F13AEF8BACDFE73EFD65E")
MERCHANT = "898000000000001"
ACCOUNT = "6200000000042759"
PIN_BLOCK = bytes.fromhex("AA4BF92E1083CFAD")
ACCOUNT_FEN = 1_000_000
FEE_POINTS = 38
FREE = Parameters(no_pin_fen=10**9, load_fen=50_000, purse_fen=100_000)


def _tables() -> list[Any]:
    """The tables of the purse network and what it reads of the registers; all would cost a second a test."""
    wanted = ("purse_", "ledger_", "event", "residence_", "dormancy_list")
    return [table for name, table in metadata.tables.items() if name.startswith(wanted)]


@cache
def _empty() -> bytes:
    """An empty purse database as bytes: making the schema once costs less than making it for every test."""
    db = Database("sqlite://")
    metadata.create_all(db.engine, tables=_tables())
    with db.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        image: bytes = raw.serialize()
    db.close()
    return image


def _database(url: str) -> Database:
    """An opened database with the schema in it; a file that is there already is kept."""
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.exists():
        path.write_bytes(_empty())
    db = Database(url)
    if url == "sqlite://":
        with db.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.deserialize(_empty())
    elif not url.startswith("sqlite"):
        metadata.create_all(db.engine, tables=_tables())
    return db


class Keys:
    """The HSM with the vectors' masters and a resident TMK; made once, shared by tests."""

    def __init__(self, folder: Path) -> None:
        self.known = KnownKeys(folder / "hsm")
        self.hsm = self.known.local
        self._slots = {
            usage: self.known.load(f"master-{usage}", key, "T2", usage, "X")
            for usage, key in MASTERS.items()
        }
        self.tmk = self.known.load("tmk-1", TMK, "T2", "K0", "B", scope="terminal")

    def masters(self, usage: str, version: int) -> str:
        """Versions 0 and 1 are the same master here; others do not exist."""
        if version > 1:
            raise NotFound("HSM-NO-KEY", "no such version")
        return self._slots[usage]


class Register:
    """The residence register's gate: every card is live unless a test says otherwise."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}
        self.strangers: set[str] = set()

    def __call__(self, _tx: Tx, asns: Sequence[str]) -> Mapping[str, PurseGate]:
        found = {}
        for asn in asns:
            serial = asn[6:]
            code = self.codes.get(serial, "00")
            known = serial not in self.strangers
            found[asn] = PurseGate(known, "ACTIVE", code, code in ("00", "62"), serial)
        return found


@dataclass
class LabCard:
    """A purse chip in a few lines: balance, two counters, MACs as purse-card.md 8 says."""

    serial: str
    balance: int = 0
    online: int = 0
    offline: int = 0
    issuer: bytes = ISSUER

    @property
    def asn(self) -> bytes:
        return bytes.fromhex("000000" + self.serial)

    def key(self, usage: str) -> bytes:
        return crypto.diversify(MASTERS[usage], bytes.fromhex(factor_of(self.asn)))

    def _session(self, usage: str, random: bytes) -> bytes:
        counter = self.online.to_bytes(2, "big")
        return crypto.purse_session_key(self.key(usage), random, counter, bytes.fromhex("8000"))

    def begin(self, amount: int, psam: bytes, unload: bool = False) -> PurseRequest:
        """INITIALIZE FOR LOAD or UNLOAD."""
        random, kind = os.urandom(4), 3 if unload else 2
        head = self.balance.to_bytes(4, "big") + amount.to_bytes(4, "big") + bytes((kind,)) + psam
        mac1 = crypto.purse_mac(self._session("13" if unload else "11", random), head)
        flag = UNLOAD_REQUEST if unload else LOAD_REQUEST
        return PurseRequest(
            flag, self.issuer, self.asn, random, 1, 0, self.online, self.balance, amount, kind, psam,
            mac1, 0,
        )  # fmt: skip

    def finish(self, request: PurseRequest, answer: PurseAnswer) -> PurseConfirmation:
        """CREDIT FOR LOAD (or the debit of an unload) with the host's MAC2, which must be right."""
        unload = request.flag == UNLOAD_REQUEST
        usage = "13" if unload else "11"
        tail = request.amount.to_bytes(4, "big") + bytes((request.type,)) + request.psam
        tail += answer.date + answer.time
        session = self._session(usage, request.random)
        assert crypto.purse_mac(session, tail) == answer.mac2, "the card refuses MAC2"
        self.balance += -request.amount if unload else request.amount
        proof = self.balance.to_bytes(4, "big") + self.online.to_bytes(2, "big") + tail
        tac = crypto.purse_mac(session, proof) if unload else crypto.tac(self.key("12"), proof)
        self.online += 1
        return PurseConfirmation(
            UNLOAD_CONFIRMATION if unload else LOAD_CONFIRMATION, request.issuer, request.asn,
            request.random, request.key_index, request.key_version, request.counter, request.amount,
            request.type, request.psam, answer.date, answer.time, tac, self.balance, 0,
        )  # fmt: skip

    def pay(self, amount: int, psam: bytes, counter: int, made: str) -> PurchaseEvidence:
        """An off-line purchase at a PSAM with terminal counter `counter`, at `made` (YYYYMMDDhhmmss)."""
        before = self.balance
        date, time = bytes.fromhex(made[:8]), bytes.fromhex(made[8:])
        message = (
            amount.to_bytes(4, "big") + b"\x06" + psam + counter.to_bytes(4, "big") + date + time
        )
        tac = crypto.tac(self.key("12"), message)
        evidence = PurchaseEvidence(
            PURCHASE, self.issuer, self.asn, os.urandom(4), 1, 0, self.offline, amount, 6, psam,
            counter, date, time, tac, before, 0,
        )  # fmt: skip
        self.balance -= amount
        self.offline += 1
        return evidence


@dataclass
class LabTerminal:
    """A terminal's half of the line: keys out of field 62, field 64, trace numbers. `send` is the wire."""

    number: str
    psam: bytes
    send: Callable[[bytes], bytes | None]
    tmk: bytes = TMK
    profile: str = "unionpay"
    batch: str = "000000"
    mak: bytes = b""
    traces: Any = field(default_factory=lambda: itertools.count(1))
    psam_counters: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def station(self) -> Station:
        return Station(self.number, MERCHANT, self.batch)

    def trace(self) -> str:
        return f"{next(self.traces):06d}"

    def mac(self, covered: bytes) -> bytes:
        if self.profile == "x99":
            return mac.algorithm_1(self.mak, covered, "1").hex().upper().encode()[:8]
        if self.profile == "x919":
            return mac.algorithm_3(self.mak, covered, "1").hex().upper().encode()[:8]
        return mac.unionpay(self.mak, covered)

    def sealed(self, message: Message) -> bytes:
        return messages.build(message, self.mac)

    def ask(self, message: Message, sealed: bool = True) -> Message:
        """Send and read the answer; its MAC must be good when there is one."""
        raw = self.send(self.sealed(message) if sealed else messages.build(message))
        assert raw is not None, "no answer"
        return self.read(raw)

    def read(self, raw: bytes) -> Message:
        answer = messages.parse(raw)
        if answer.mac:
            assert self.mac(answer.mab) == answer.mac, "the answer's MAC is wrong"
        return answer

    def sign_on(self, take: bool = True, function: str = "003") -> Message:
        message = self.station.sign_on(self.trace())
        if function != "003":
            message = Message.of("0800", {**message.fields, 60: f"00{self.batch}{function}"})
        answer = self.ask(message, sealed=False)
        if answer.response == "00" and take:
            keys = WorkKeys.parse(answer.octets(62))
            self.mak = crypto.des_decrypt(self.tmk, keys.mak[: 8 if keys.single_mak else 16])
            assert crypto.des_kcv(self.mak, 4) == keys.mak_check
            self.batch = answer.batch
        return answer

    def load_request(
        self, card: LabCard, amount: int, kind: str = r.CASH_LOAD
    ) -> tuple[Message, PurseRequest]:
        purse = card.begin(amount, self.psam, unload=kind == r.UNLOAD)
        account = None if kind == r.CASH_LOAD else ACCOUNT
        return self.station.load(self.trace(), purse, kind=kind, account=account), purse

    def confirm(self, request: Message, answer: Message, proof: PurseConfirmation) -> Message:
        return self.ask(
            self.station.confirmation(
                self.trace(), request, answer.text(37), proof, answer.text(13)
            )
        )

    def load(self, card: LabCard, amount: int, kind: str = r.CASH_LOAD) -> Message:
        """A whole load or unload with its confirmation; the answer to the confirmation."""
        request, purse = self.load_request(card, amount, kind)
        answer = self.ask(request)
        assert answer.response == "00", answer
        proof = card.finish(purse, PurseAnswer.parse(answer.octets(58)))
        return self.confirm(request, answer, proof)

    def purchase(self, card: LabCard, amount: int, made: str = "20261128120000") -> Message:
        evidence = card.pay(amount, self.psam, next(self.psam_counters), made)
        return self.station.purchase(self.trace(), evidence)

    def settle(self, totals: Totals) -> Message:
        return self.ask(self.station.settlement(self.trace(), totals))


@dataclass
class LabHost:
    """Database, bank, register and authorizer around the known keys."""

    keys: Keys
    url: str = "sqlite://"
    parameters: Parameters = FREE
    options: dict[str, Any] = field(default_factory=dict)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    gate: Register = field(default_factory=Register)
    books: Path | None = None

    def __post_init__(self) -> None:
        declare_tables()
        self.db = _database(self.url)
        self.bank = SimulatedBank(self.clock, books=self.books, open_accounts_with=ACCOUNT_FEN)
        self.profile = HostProfile(
            issuers=frozenset({ISSUER}), parameters=self.parameters, **self.options
        )
        self.open()
        with self.db.write() as tx:
            enrol_merchant(tx, self.clock, MERCHANT, "Bakery", FEE_POINTS)

    def open(self) -> None:
        self.authorizer = Authorizer(
            self.db,
            self.clock,
            self.keys.hsm,
            self.bank,
            self.keys.masters,
            self.profile,
            self.gate,
        )
        self.authorizer.recover()

    def restart(self) -> None:
        """A host that stopped and started: memory is gone, database and bank stay."""
        self.authorizer.close()
        self.open()

    def terminal(self, number: int = 1, send: Any = None, **options: Any) -> LabTerminal:
        psam = bytes.fromhex(f"{100000000100 + number:012d}")
        name = f"{10000000 + number}"
        with self.db.write() as tx:
            enrol_terminal(
                tx, self.clock, NewTerminal(name, MERCHANT, psam, self.keys.tmk, **options)
            )
        profile = options.get("mac_profile", "unionpay")
        return LabTerminal(name, psam, send or self.authorizer_answer, profile=profile)

    def authorizer_answer(self, frame: bytes) -> bytes | None:
        """The wire of a terminal without TCP; a restarted host answers too."""
        return self.authorizer.answer(frame)

    @property
    def judge(self) -> Judge:
        return Judge(self.db, self.clock, self.keys.hsm, self.keys.masters, self.profile, self.gate)

    @property
    def clearing(self) -> ClearingRun:
        return ClearingRun(
            self.db,
            self.clock,
            self.keys.hsm,
            self.keys.masters,
            self.profile,
            self.bank,
            self.gate,
        )

    def close(self) -> None:
        self.authorizer.close()
        self.db.close()


def states(host: LabHost) -> list[str]:
    """The loads' states, in the order of their trace numbers."""
    with host.db.read() as tx:
        return list(tx.scalars(select(LoadRow.state).order_by(LoadRow.trace)))


def incidents(host: LabHost) -> list[str]:
    """The incidents' kinds, oldest first."""
    with host.db.read() as tx:
        return list(tx.scalars(select(IncidentRow.kind).order_by(IncidentRow.id)))


def purse(host: LabHost, card: LabCard) -> ledger.Balance:
    """A card's account in the ledger."""
    with host.db.read() as tx:
        return ledger.balance(tx, ledger.purse(card.asn.hex()))
