"""A terminal with test keys against a small host in process that can lose, garble and refuse on demand.

The host here knows just enough to give a terminal every answer it must cope with; the real one is tested on its
own and together with the terminal in the flows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cardos.card import Card
from cardos.client import CardSession
from cardos.slot import Slot
from core import crypto
from core.clock import SHANGHAI, FixedClock, purse_date_time
from core.errors import DeviceFault, Unavailable
from hsm_sim import mac
from hsm_sim.keyblock import BlockHeader, wrap
from hsm_sim.pinpad import SimPinPad
from payments.field_parts import ListPage, WorkKeys, items, parse_field48, parse_field63
from payments.frames import answer_header, answer_tpdu
from payments.messages import Message, build, parse
from payments.purse_data import (
    LOAD_ANSWER,
    PurchaseEvidence,
    PurseAnswer,
    PurseConfirmation,
    PurseRequest,
)
from payments.purse_records import LoadRequest
from payments.terminal import Hardware, Terminal
from payments.terminal_host import Identity, Waits
from payments.terminal_store import SYSTEM_DISK, Disk
from tests.unit.payments import purse_bench
from tests.unit.payments.purse_bench import make_permit, make_psam, verify_pin

NOON = datetime(2007, 6, 18, 4, 0, tzinfo=UTC)
TMK = bytes.fromhex("25168989738F13AEF8BACDFE73EFD65E")
TRANSPORT = bytes.fromhex("89E3C1A7B6D5F4029BC2A8D6E5F40123")
PIK = bytes.fromhex("B662013EF49D34B6ADEC76CDA17043E6")
MAK = bytes.fromhex("E668CEC751B580ADC2320CEDA8E844AD")
IDENTITY = Identity("10000001", "898000000000001", (1).to_bytes(6, "big"))
QUICK = Waits(pauses=(1, 1))


def make_pad() -> SimPinPad:
    """A pad that holds the bench's TMK."""
    pad = SimPinPad()
    part = bytes(range(16))
    pad.load_transport_key((part, crypto.xor(TRANSPORT, part)), crypto.des_kcv(TRANSPORT).hex())
    block = "R" + wrap(TRANSPORT, BlockHeader("K0", "T", "B", version="B"), TMK)
    pad.load_master_key(block, crypto.des_kcv(TMK).hex())
    return pad


def work_keys(pik: bytes = PIK, mak: bytes = MAK) -> bytes:
    return bytes(
        WorkKeys(
            crypto.des_encrypt(TMK, pik), crypto.des_kcv(pik, 4),
            crypto.des_encrypt(TMK, mak), crypto.des_kcv(mak, 4),
        )
    )  # fmt: skip


@dataclass
class BenchLoad:
    request: PurseRequest
    state: str = "issued"
    date: bytes = b""
    time: bytes = b""


@dataclass
class BenchHost:
    """`HostLink` and host in one. `lose` says of each message: "" deliver, lose "request" or "answer", "garble"."""

    batch: int = 42
    lose: Callable[[Message], str] = field(default=lambda _message: "")
    codes: dict[str, str] = field(default_factory=dict)
    mak: bytes = MAK
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    loads: dict[str, BenchLoad] = field(default_factory=dict)
    tombstones: set[str] = field(default_factory=set)
    purchases: dict[bytes, PurchaseEvidence] = field(default_factory=dict)
    answers: dict[tuple[str, ...], Message] = field(default_factory=dict)
    heard: list[Message] = field(default_factory=list)
    pages: dict[str, list[ListPage]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    details: int = 0
    requirement: int = 0
    offline: bool = False
    count_lies: int = 0
    result: int = 0

    def open(self) -> None:
        if self.offline:
            raise Unavailable("TERM-OFFLINE", "no line")

    def close(self) -> None:
        pass

    def exchange(self, frame: bytes, wanted: Callable[[bytes], bool], timeout: int) -> bytes | None:
        message = parse(frame)
        fate = self.lose(message)
        if fate == "request":
            return None
        raw = self.answer(message)
        if fate == "garble":
            raw = raw[:-1] + bytes((raw[-1] ^ 1,))
        return raw if fate != "answer" and wanted(raw) else None

    def answer(self, request: Message) -> bytes:
        self.heard.append(request)
        sealed = 64 in request
        header = answer_header(request.header, self.requirement)
        if sealed and mac.unionpay(self.mak, request.mab) != request.mac:
            return build(self._reply(request, {39: "A0"}, header))
        key = (request.mti, request.trace, request.batch, request.function)
        if key not in self.answers:
            self.answers[key] = self._reply(request, self._decide(request), header)
        return build(
            self.answers[key], (lambda mab: mac.unionpay(self.mak, mab)) if sealed else None
        )

    def _reply(self, request: Message, fields: dict[int, object], header: bytes) -> Message:
        local = self.clock.now().astimezone(SHANGHAI)
        echoed = {n: request.fields.get(n) for n in (2, 3, 4, 11, 41, 42, 49, 60)}
        if request.mti in ("0220", "0400", "0320", "0800", "0820", "0500"):
            echoed |= {2: None, 49: None}
        shared = {12: local.strftime("%H%M%S"), 13: local.strftime("%m%d"), 37: "716900000001"}
        mti = f"{int(request.mti) + 10:04d}"
        return Message.of(
            mti, {39: "00", **echoed, **shared, **fields}, answer_tpdu(request.tpdu), header
        )

    def _decide(self, request: Message) -> dict[int, object]:
        forced = self.codes.get(request.mti + request.function) or self.codes.get(request.mti)
        if request.mti == "0800" and request.function == "003":
            sixty = "00" + f"{self.batch:06d}" + "003"
            return {60: sixty, 62: work_keys(mak=self.mak), 39: forced or "00"}
        if forced:
            return {39: forced}
        if request.mti != "0800" and request.kind != "00" and self._stale(request):
            return {39: "77"}
        rules = {
            "0200": self._purchase if request.kind == "36" else self._load,
            "0220": self._confirm, "0400": self._reverse, "0500": self._settle,
            "0320": self._upload, "0800": self._list, "0820": lambda _request: {},
        }  # fmt: skip
        return rules[request.mti](request)

    def _stale(self, request: Message) -> bool:
        return request.mti != "0400" and int(request.batch) != self.batch

    def _load(self, request: Message) -> dict[int, object]:
        key = request.batch + request.trace
        if key in self.tombstones:
            return {39: "22"}
        asked = PurseRequest.parse(request.octets(58))
        date, time = purse_date_time(self.clock.now())
        record = LoadRequest(
            asked.issuer, asked.asn, asked.random, asked.key_index, asked.key_version, asked.algorithm,
            asked.counter, asked.balance, asked.amount, asked.type, asked.psam, asked.mac1,
        )  # fmt: skip
        mac2 = purse_bench.host_mac2(record, date, time)
        self.loads[key] = BenchLoad(asked, "issued", date, time)
        rights = PurseAnswer(
            LOAD_ANSWER, asked.issuer, asked.asn, asked.amount, asked.type, asked.psam, date,
            time, mac2, asked.algorithm,
        )  # fmt: skip
        return {58: bytes(rights)}

    def _confirm(self, request: Message) -> dict[int, object]:
        load = self.loads.get(request.text(61)[:12])
        if load is None:
            return {39: "25"}
        proof = PurseConfirmation.parse(request.octets(58))
        load.state = "confirmed" if proof.flag == "SV" else "unresolved"
        return {}

    def _reverse(self, request: Message) -> dict[int, object]:
        key = request.text(61)[:12]
        load = self.loads.get(key)
        if load is None:
            self.tombstones.add(key)
            return {39: "25"}
        if load.state == "confirmed":
            return {39: "22"}
        load.state = "reversed"
        return {}

    def _purchase(self, request: Message) -> dict[int, object]:
        raw = request.octets(58)
        self.purchases.setdefault(raw, PurchaseEvidence.parse(raw))
        return {}

    def _settle(self, request: Message) -> dict[int, object]:
        told = parse_field48(request.text(48))
        counted = ("confirmed", "unresolved")
        mine = sum(load.request.amount for load in self.loads.values() if load.state in counted)
        mine += sum(one.amount for one in self.purchases.values())
        result = self.result or (1 if told.debit.amount == mine else 2)
        totals = parse_field63(request.text(63))
        assert totals is not None
        self.details = 0
        return {48: totals.field48(result, 1), 63: None}

    def _upload(self, request: Message) -> dict[int, object]:
        if request.function in ("207", "202"):
            if self.count_lies:
                self.count_lies -= 1
                self.details = 0
                return {39: "95"}
            if int(request.text(48)) != self.details:
                return {39: "95"}
            self.batch += 1
            return {}
        self.details += 1
        if request.kind == "36":
            self._purchase(request)
        return {}

    def _list(self, request: Message) -> dict[int, object]:
        if request.function in ("391", "393", "361"):
            return {}
        if request.function == "360":
            return {62: items(self.parameters)}
        letters = request.octets(62)[:2].decode()
        version, index = int(request.octets(62)[2:10]), int(request.octets(62)[10:16])
        for page in self.pages.get(letters, []):
            if page.index == index and page.version != version:
                return {62: bytes(page)}
        return {62: bytes(ListPage(letters, 0, version, 0, 0, ()))}


@dataclass
class Bench:
    """A counter: one terminal with PSAM, one host, cards to lay on the reader."""

    home: Path
    host: BenchHost = field(default_factory=BenchHost)
    slot: Slot = field(default_factory=Slot)
    pin: Callable[[CardSession], None] = verify_pin
    wrap: Callable[[object], object] = field(default=lambda channel: channel)
    disk: Disk = SYSTEM_DISK
    psam_channel: object = None

    def __post_init__(self) -> None:
        self.psam, _ = make_psam()
        self.pad = make_pad()
        self.clock = self.host.clock
        self.terminal = self.start()

    def start(self) -> Terminal:
        """Switch the terminal on, as after a stop: only store, chips and host remember."""
        self.psam.reset()
        self.pad = make_pad()
        hardware = Hardware(
            self.slot, self.pad, self.host, self.clock, self.psam_channel or self.psam,
            pause=lambda _seconds: None, wrap=lambda channel: self.wrap(channel), disk=self.disk,
        )  # fmt: skip
        self.terminal = Terminal(self.home, IDENTITY, hardware, QUICK)
        return self.terminal

    def lay(self, card: Card) -> None:
        """Lay a card on the reader instead of the one there."""
        self.slot.remove()
        self.slot.insert(card)


class Hand:
    """A channel on which the card is pulled at the first command with this INS; once."""

    def __init__(self, channel: object, ins: int, executed: bool) -> None:
        self.channel, self.ins, self.executed = channel, ins, executed

    def __getattr__(self, name: str) -> object:
        return getattr(self.channel, name)

    def transmit(self, apdu: bytes) -> bytes:
        if apdu[1] != self.ins:
            return self.channel.transmit(apdu)
        if self.executed:
            self.channel.transmit(apdu)
        raise DeviceFault("CARD-GONE", "pulled")


def permit(serial: str = "00001000000147") -> Card:
    return make_permit(serial)
