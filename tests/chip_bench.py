"""A test bench for the chip: a host that knows all keys, and chips personalized by commands only."""

import json
import random
from pathlib import Path

from cardos import spec
from cardos.card import Card
from core import crypto

VECTORS = json.loads((Path(__file__).parent / "vectors" / "purse.json").read_text("utf-8"))[
    "vectors"
]
TERMINAL = bytes.fromhex("001122334455")
DATE = bytes.fromhex("20070618")
TIME = bytes.fromhex("093015")
WHEN = DATE + TIME
WHITE = b"\xff" * 8
MF_KEY = bytes.fromhex("000102030405060708090A0B0C0D0E0F")
PURSE_AID = spec.AID_PURSE
PIN = bytes.fromhex("123456")


def vector(name: str) -> dict:
    """One vector of the shared set by its id."""
    return next(item for item in VECTORS if item["id"] == name)


def key(label: str) -> bytes:
    """A 16-byte test key that is different for every label."""
    return random.Random(label).randbytes(16)


class Dice:
    """Seeded random source whose next answers can be forced."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self.forced: list[bytes] = []

    def force(self, *values: str) -> None:
        self.forced += [bytes.fromhex(value) for value in values]

    def __call__(self, count: int) -> bytes:
        if self.forced:
            value = self.forced.pop(0)
            assert len(value) == count
            return value
        return self._random.randbytes(count)


class Host:
    """The other side of the contacts."""

    def __init__(self, card: Card, dice: Dice) -> None:
        self.card = card
        self.dice = dice

    def send(self, command: str | bytes) -> tuple[bytes, int]:
        raw = bytes.fromhex(command) if isinstance(command, str) else command
        answer = self.card.transmit(raw)
        return answer[:-2], int.from_bytes(answer[-2:], "big")

    def ok(self, command: str | bytes) -> bytes:
        data, sw = self.send(command)
        assert sw == 0x9000, f"{sw:04X}"
        return data

    def sw(self, command: str | bytes) -> int:
        return self.send(command)[1]

    def challenge(self, length: int = 4) -> bytes:
        return self.ok(bytes((0, 0x84, 0, 0, length)))

    def protected(
        self, header: str, data: bytes, line: bytes, cipher: bool = False, le: int | None = None
    ) -> tuple[bytes, int]:
        """A command under line protection."""
        if cipher:
            data = crypto.sm_encrypt(line, data)
        challenge = self.challenge()
        head = bytes.fromhex(header) + bytes((len(data) + 4,))
        mac = crypto.sm_mac(line, crypto.sm_iv(challenge), head + data)
        tail = b"" if le is None else bytes((le,))
        return self.send(head + data + mac + tail)

    def protected_ok(
        self, header: str, data: bytes, line: bytes, cipher: bool = False, le: int | None = None
    ) -> bytes:
        answer, sw = self.protected(header, data, line, cipher, le)
        assert sw == 0x9000, f"{sw:04X}"
        return answer

    def authenticate(self, value: bytes, key_id: int = 0) -> int:
        block = self.challenge().ljust(8, b"\x00")
        return self.sw(bytes((0, 0x82, 0, key_id, 8)) + crypto.des_encrypt(value, block))

    def select(self, name: bytes) -> bytes:
        return self.ok(bytes((0, 0xA4, 4, 0, len(name))) + name + b"\x00")

    def create(self, fid: int, body: bytes) -> int:
        return self.sw(b"\x80\xe0" + fid.to_bytes(2, "big") + bytes((len(body),)) + body)

    # -- purse --

    def initialize(self, p1: int, purse: int, amount: int, key_id: int = 1) -> tuple[bytes, int]:
        body = bytes((key_id,)) + amount.to_bytes(4, "big") + TERMINAL
        return self.send(bytes((0x80, 0x50, p1, purse, 0x0B)) + body)

    def load(self, amount: int, purse: int = 2, load_key: bytes | None = None) -> bytes:
        """A whole load; returns the TAC."""
        answer, sw = self.initialize(0, purse, amount)
        assert sw == 0x9000, f"{sw:04X}"
        session = crypto.purse_session_key(
            load_key or key("load"), answer[8:12], answer[4:6], b"\x80\x00"
        )
        text = amount.to_bytes(4, "big") + bytes((purse,)) + TERMINAL + WHEN
        return self.ok(bytes.fromhex("805200000B") + WHEN + crypto.purse_mac(session, text))

    def debit_command(self, answer: bytes, amount: int, kind: int, serial: int = 0) -> bytes:
        """The second command of a purchase whose INITIALIZE gave `answer`."""
        term = serial.to_bytes(4, "big")
        session = crypto.purse_session_key(key("purchase"), answer[11:15], answer[4:6], term[2:])
        text = amount.to_bytes(4, "big") + bytes((kind,)) + TERMINAL + WHEN
        mac1 = crypto.purse_mac(session, text)
        return bytes.fromhex("805401000F") + term + WHEN + mac1

    def purchase(self, amount: int, purse: int = 2, serial: int = 0) -> bytes:
        """A whole purchase; returns TAC and MAC2."""
        answer, sw = self.initialize(1, purse, amount)
        assert sw == 0x9000, f"{sw:04X}"
        return self.ok(self.debit_command(answer, amount, 4 + purse, serial))

    def balance(self, purse: int = 2) -> int:
        return int.from_bytes(self.ok(bytes((0x80, 0x5C, 0, purse, 4))), "big")


def white(kind: str = "permit", **options: object) -> Host:
    """A white card."""
    dice = Dice()
    card = Card.blank(kind=kind, rng=dice, serial=b"CHIP0001", **options)  # type: ignore[arg-type]
    return Host(card, dice)


def bank(
    keys: dict[int, bytes] | None = None,
    key_id: int = 1,
    alg: int = 0,
    t0: bool = False,
    version: int = 1,
) -> Host:
    """A white card with an ED and an EP under open rights: the "bank" test profile.

    `keys` replaces key values by type (0x34, 0x3E, ...). File 18 is the EP's log, 08 the ED's.
    """
    values = {
        0x34: key("tac"), 0x3E: key("purchase"), 0x3F: key("load"),
        0x3D: key("unload"), 0x3C: key("overdraft"), **(keys or {}),
    }  # fmt: skip
    host = white(t0=t0)
    name = PURSE_AID
    assert host.create(0x3F01, bytes.fromhex("380A00F0F095FFFF") + name) == 0x9000
    host.card.transmit(bytes((0, 0xA4, 4, 0, len(name))) + name + b"\x00")
    assert host.create(0, bytes.fromhex("3F018095F0FFFF")) == 0x9000
    for kind, value in values.items():
        kid = 0 if kind == 0x34 else key_id
        body = bytes((kind, 0xF0, 0xF0, version, alg)) + value
        host.ok(bytes((0x80, 0xD4, 1, kid, len(body))) + body)
    for kind, label in ((0x39, "control"), (0x36, "line"), (0x37, "unblock"), (0x38, "reload")):
        third = 0x22 if kind == 0x39 else 0xFF
        body = bytes((kind, 0xF0, 0xF0, third, 0x33)) + key(label)
        host.ok(bytes((0x80, 0xD4, 1, 0, len(body))) + body)
    host.ok("80D4010008" + "3AF0EF1133" + PIN.hex())
    for fid, body in (
        (0x15, "A8001EF0F0FFFF"),
        (0x08, "2E0A17F0EFFFFF"),
        (0x18, "2E0A17F0EFFFFF"),
        (0x19, "2C0100F0F0FFFF"),
        (0x1A, "2A0310F0F0FFFF"),
        (1, "2F0208F000FF08"),
        (2, "2F0208F000FF18"),
    ):
        assert host.create(fid, bytes.fromhex(body)) == 0x9000
    host.select(name)  # from now on the rights count
    return host


LABEL = {0x39: "control", 0x36: "line", 0x34: "tac", 0x3E: "purchase", 0x3F: "load", 0x37: "unblock",
         0x30: "intern"}  # fmt: skip


def _directory(host: Host, profile: spec.DirectorySpec, parent_key: bytes) -> None:
    """Personalize one ADF in one visit, in the order of purse-card.md 12.3."""
    host.select(profile.name)
    assert host.create(profile.key_file.fid, profile.key_file.create_body()) == 0x9000
    control = parent_key
    for item in profile.keys:
        if item.hsm_usage is None:
            body = item.prefix + bytes(3)
            host.ok(bytes((0x80, 0xD4, 1, item.id, len(body))) + body)
            continue
        label = "reader" if item.type & 0x3F == 0x39 and item.id == 1 else LABEL[item.type & 0x3F]
        value = key(label)
        host.protected_ok(f"84D401{item.id:02X}", item.prefix + value, control, cipher=True)
        if item.type & 0x3F == 0x39 and item.id == 0:
            control = value
    for file in profile.files:
        assert host.create(file.fid, file.create_body()) == 0x9000


def permit() -> Host:
    """A chip of a delivered lot, personalized with the permit's profile by commands."""
    dice = Dice()
    host = Host(Card.blank("permit", dice, b"CHIP0001", key("transport")), dice)
    assert host.authenticate(key("transport")) == 0x9000
    mf = spec.MF_PROFILE
    control, line = mf.keys
    host.protected_ok("84D43900", control.prefix + MF_KEY, key("transport"), cipher=True)
    host.protected_ok("84D40100", line.prefix + key("mf line"), MF_KEY, cipher=True)
    for file in mf.files:
        assert host.create(file.fid, file.create_body()) == 0x9000
    for profile in (spec.PURSE_PROFILE, spec.RESIDENCE_PROFILE):
        assert host.create(profile.fid, profile.create_body()) == 0x9000
    for profile in (spec.PURSE_PROFILE, spec.RESIDENCE_PROFILE):
        host.ok("00A40000023F00")
        _directory(host, profile, MF_KEY)
    application = (
        spec.ISSUER_ID + b"\x02\x01" + bytes(3) + bytes.fromhex("07001000000102") + bytes(10)
    )
    host.ok("00A40000023F00")
    host.select(PURSE_AID)
    host.protected_ok("04D69500", application, key("line"))
    return host


def psam() -> Host:
    """A PSAM with the purchase master of vector ds-psam1, issued by commands."""
    data = vector("ds-psam1")["inputs"]
    host = white("psam")
    assert host.create(0x15, bytes.fromhex("28000EF0F0FFFF")) == 0x9000
    assert host.create(0x16, bytes.fromhex("280006F0F0FFFF")) == 0x9000
    host.ok("00D6960006" + data["terminal_id"])
    host.ok("00D695000E" + "00000000000000000001" + "01" + "00" + "0000")
    assert host.create(0xDF01, bytes.fromhex("380200F0F000FFFF") + PURSE_AID) == 0x9000
    host.select(PURSE_AID)
    assert host.create(0, bytes.fromhex("3F010095F0FFFF")) == 0x9000
    host.protected_ok(
        "84D40100", bytes.fromhex("F9F0F02233") + key("psam control"), WHITE, cipher=True
    )
    for usage, version, value in (
        ("22", "01", data["psam_master_purchase_key"]),
        ("25", "01", key("maintenance").hex()),
        ("04", "01", key("tac master").hex()),
        ("28", "01", key("both").hex()),
    ):
        plain = bytes.fromhex(usage + version + "00" + value)
        host.protected_ok("84D40000", plain, key("psam control"), cipher=True)
    assert host.create(0x17, bytes.fromhex("280019F0F0FFFF")) == 0x9000
    assert host.create(0x18, bytes.fromhex("280004F0EFFFFF")) == 0x9000
    host.select(PURSE_AID)  # from now on the rights count
    return host
