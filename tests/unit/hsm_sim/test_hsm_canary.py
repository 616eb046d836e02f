"""Known keys and a known PIN through every command, every error and a crash: their bytes are nowhere (R-36, R-37).

Searched for as raw bytes, hex in both cases, base64 at each of its three alignments, and for the PIN as digits, BCD
and clear PIN block: in answers, logs, ops files, key files, bundle, exceptions with their chains, repr.
"""

import base64
import copy
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import crypto
from core.errors import CityError
from hsm_sim import data_requests as data
from hsm_sim import generic_requests as generic
from hsm_sim import issue_requests as issue
from hsm_sim import keyblock, pinblock
from hsm_sim import terminal_requests as terminal
from hsm_sim.ceremony.actions import Birth
from hsm_sim.ceremony.bundle import export_bundle
from hsm_sim.channel import Channel
from hsm_sim.client import Request, Role
from hsm_sim.derive import card_key
from hsm_sim.policy import RULES
from hsm_sim.secret import SecretKey
from hsm_sim.work import HANDLERS, Client
from tests.hsm_bench import CARD, KnownKeys
from tests.unit.hsm_sim.test_hsm_policy import ATTRIBUTES, SAMPLES, sample

PIN = "739182645017"
ACCOUNT = "345678901234"
SHORTEST = 8  # characters of base64 that cannot turn up by chance


def forms(secret: bytes) -> set[bytes]:
    """Every way these bytes could show up."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for lead in range(3):  # base64 depends on where in a run of bytes they stand
        skipped = -lead % 3  # bytes that share a group with what is before them
        whole = secret[skipped : skipped + 3 * ((len(secret) - skipped) // 3)]
        text = base64.b64encode(whole)
        if len(text) >= SHORTEST:
            found.add(text)
    return found


class Canaries:
    """What must never be seen, with a name for the message."""

    def __init__(self) -> None:
        self.forms: dict[bytes, str] = {}

    def add(self, name: str, secret: bytes) -> bytes:
        for form in forms(secret):
            self.forms[form] = name
        if len(secret) in (16, 24, 32):
            for start in range(0, len(secret), 8):
                for form in forms(secret[start : start + 8]):
                    self.forms[form] = name
        return secret

    def seen_in(self, where: str, what: bytes | str) -> list[str]:
        text = what if isinstance(what, bytes) else what.encode("utf-8", "backslashreplace")
        return [f"{name} in {where}" for form, name in self.forms.items() if form in text]


class Watched(KnownKeys):
    """An HSM full of canaries; `seen` gathers everything that came out of it."""

    def __init__(self, home: Path) -> None:
        self.canaries = Canaries()
        self.seen: list[tuple[str, bytes | str]] = []
        self.home = home
        super().__init__(home)
        for number, (usage, alg, mode) in enumerate(ATTRIBUTES):
            size = {"T2": 16, "A3": 32, "H2": 32, "ED": 32}[alg]
            key = bytes((31 * number + 7 * n * n + 90) % 251 for n in range(size))
            super().load(
                f"key-{usage}{mode}", self.canaries.add(f"key {usage}{mode}", key), alg, usage, mode,
                export="S", scope="psam" if usage == "19" else "test",
            )  # fmt: skip
            if mode == "X":
                made = crypto.diversify(key, CARD)
                self.canaries.add(f"card key {usage}", made)
        store = self.hsm.keystore
        assert store is not None
        store.save()
        self.canaries.add("lmk", self.hsm.lmk.reveal())
        self.canaries.add("pin", PIN.encode())
        self.canaries.add("pin", bytes.fromhex(PIN))
        self.canaries.add("pin", pinblock.write(pinblock.ISO_0, PIN, ACCOUNT))
        self.hsm.policy = replace(self.hsm.policy, switched_on=frozenset({"46", "48"}))
        self.hsm.limiter.off = True
        self.hsm.batches.count = lambda *_: "batch"  # type: ignore[method-assign]

    def ask(self, request: Request[Any], role: Role | None = None) -> str:
        """Send it; keep the bytes of the answer and what the client's side makes of it."""
        client = Client("test", role or request.roles[0])
        body = b"0000" + request.code.encode() + request.encode()
        answer = self.engine.execute(client, body, bulk=request.bulk)
        assert answer is not None
        self.seen.append((f"answer of {type(request).__name__}", answer))
        self.seen.append(("repr", repr(client) + repr(type(request))))
        try:
            result = self.local.call(request)
            self.seen.append((f"repr of {type(request).__name__}", repr(result)))
        except CityError as refused:
            self.seen.append((f"error of {type(request).__name__}", _everything(refused)))
        return answer[6:8].decode()

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(self.home.rglob("*")):
            if path.is_file():
                yield path.name, path.read_bytes()

    def check(self, log_text: str = "") -> None:
        found = []
        for where, what in [*self.seen, *self.files(), ("program's log", log_text)]:
            found += self.canaries.seen_in(where, what)
        assert found == []


def _everything(problem: BaseException) -> str:
    """Message, chain, traceback and arguments of an exception."""
    told = "".join(traceback.format_exception(problem))
    return f"{told}{problem!r}{problem.args!r}{getattr(problem, 'facts', '')!r}"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("canary") / "hsm")
    yield made
    made.hsm.log.close()


def test_the_search_finds_what_it_should() -> None:
    """The test can fail: each form is found where it is."""
    canaries = Canaries()
    secret = canaries.add("key", bytes(range(100, 116)))
    for text in (secret, secret.hex(), secret.hex().upper().encode(), secret[8:].hex(),
                 base64.b64encode(b"xy" + secret + b"z"), base64.b64encode(secret)):  # fmt: skip
        assert canaries.seen_in("here", text)
    assert canaries.seen_in("here", bytes(64)) == []


def test_every_command_good_and_bad(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for form in RULES:
            if form not in SAMPLES:
                continue
            good = sample(watched, form)
            watched.ask(good)
            watched.ask(good, next(role for role in Role if role not in form.roles))
            for name in RULES[form].keys:
                for wrong in ("KFFF", "K000", "SD0112P0AE00E0000" + "0" * 96):
                    watched.ask(replace(good, **{name: wrong}))  # type: ignore[type-var]
    watched.check(caplog.text)


def test_work_keys_cards_and_pins(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """The commands that handle secrets in earnest, all the way through."""
    store = watched.hsm.keystore
    assert store is not None

    def slot(name: str) -> str:
        return f"K{store.entries[name].slot:03X}"

    zone, pin_key = bytes(range(33, 65)), watched.canaries.add("pin key", bytes(range(150, 166)))
    with caplog.at_level(logging.DEBUG):
        zone_field = watched.load("zone", zone, "A3", "K0", "B")
        block = keyblock.wrap(zone, keyblock.BlockHeader("P0", "T", "B", "00", "E"), pin_key)
        token, _ = watched.local.call(generic.ImportWorkKey(zone_field, "R" + block))
        pin_block = crypto.des_encrypt(pin_key, pinblock.write(pinblock.ISO_0, PIN, ACCOUNT))
        translate = generic.TranslateTerminalPin(token, token, pin_block, ACCOUNT)
        assert watched.ask(translate) == "00"
        for account in ("999999999999", "000000000000"):
            assert watched.ask(replace(translate, account=account)) in ("20", "24")
        challenge = issue.challenge(b"abcd")
        unblock = issue.UnblockPin(slot("key-16X"), (CARD,), challenge, token, ACCOUNT, pin_block)
        assert watched.ask(unblock) == "00"
        assert watched.ask(replace(unblock, account="999999999999")) in ("20", "24")
        protect = issue.ProtectCardKey(slot("key-11X"), (CARD,), slot("key-18X"), (CARD,), challenge,
                                       bytes.fromhex("84D401011C"), bytes(5))  # fmt: skip
        assert watched.ask(protect) == "00"
        psam = terminal.ProtectPsamKey(slot("key-10X"), (), slot("key-19X"), (CARD,), challenge,
                                       bytes.fromhex("84D400011C"), bytes(3))  # fmt: skip
        assert watched.ask(psam) == "00"
        export = issue.ExportCardKey(slot("key-11X"), (CARD,), slot("key-K1B"))
        assert watched.ask(export) == "00"
        tmk = watched.local.call(generic.GenerateWorkKey("K0", mode="B"))
        assert watched.ask(terminal.MakeWorkKeys(tmk[0], "7")) == "00"
        (sealed,) = watched.local.call(
            data.EncryptFields(slot("key-D0B"), (data.Entry(b"c", PIN.encode()),))
        )
        watched.seen.append(("sealed field", sealed))
    watched.check(caplog.text)


def test_errors_inside(watched: Watched, caplog: pytest.LogCaptureFixture,
                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A bug that quotes its key: the answer is 41, the log names the place only."""

    def broken(work: Any, request: Any) -> bytes:
        raise ValueError(f"bad key {work.secret('master').reveal().hex()}")

    with caplog.at_level(logging.DEBUG):
        for form in RULES:
            if form in SAMPLES and "master" in RULES[form].keys:
                monkeypatch.setitem(HANDLERS, form, broken)
                assert watched.ask(sample(watched, form)) == "41"
    assert "ValueError" in caplog.text
    watched.check(caplog.text)


def test_ceremony_errors(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    actions, store = watched.hsm.actions, watched.hsm.keystore
    assert store is not None
    component = watched.canaries.add("component", bytes(range(200, 216)))
    known = watched.hsm.keystore.secret(store.entries["key-11X"]).reveal()
    with caplog.at_level(logging.DEBUG):
        actions.begin(watched.hsm.log.size)
        actions.component("c", 1, bytearray(component))
        for wrong in (component, bytes(16), component[:7], component + component):
            with pytest.raises(CityError) as refused:
                actions.component("c", 2, bytearray(wrong))
            watched.seen.append(("component error", _everything(refused.value)))
        with pytest.raises(CityError) as refused:
            actions.combine(Birth("c", "T2", "11", "X", "01", "N", "test", 1), 3)
        watched.seen.append(("combine error", _everything(refused.value)))
        actions.component("c", 2, bytearray(crypto.xor(known, component)))
        with pytest.raises(CityError, match="HSM-29") as refused:  # the same key under another name
            actions.combine(Birth("c", "T2", "11", "X", "01", "N", "test", 1), 2)
        watched.seen.append(("twice error", _everything(refused.value)))
        watched.seen.append(("repr", repr(actions.__dict__.keys())))
        actions.forget("c")
        actions.rollback()
    watched.check(caplog.text)


def test_objects_show_nothing(watched: Watched) -> None:
    store = watched.hsm.keystore
    assert store is not None
    entry = store.entries["key-11X"]
    secret = store.secret(entry)
    key = watched.hsm.keys.key(
        f"K{entry.slot:03X}", RULES[type(SAMPLES[issue.CardKeyCheckValue])].keys["master"]
    )
    made = card_key(secret, (CARD,))
    kmc = store.secret(store.entries["key-E5X"])
    channel = Channel("02", 0x15, kmc, "1", "3", 1)
    opened = keyblock.unwrap(watched.hsm.lmk.reveal(), entry.block)
    for thing in (secret, key, made, made.session(b"abcd", 1), channel, opened, entry, store,
                  watched.hsm, watched.engine, watched.local, watched.hsm.lmk):  # fmt: skip
        watched.seen.append((type(thing).__name__, f"{thing!r} {thing!s}"))
    for spread in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError) as refused:
            spread(secret)
        watched.seen.append(("copying", _everything(refused.value)))
    assert secret != SecretKey("T2", secret.reveal())
    with SecretKey("T2", bytes(range(16))) as short:
        pass
    with pytest.raises(ValueError, match="cleared"):
        short.reveal()
    watched.check()


def test_the_audit_bundle(watched: Watched, tmp_path: Path) -> None:
    hsm = watched.hsm
    export_bundle(hsm.log, hsm.usage, hsm.directory(), watched.home, tmp_path / "bundle", "ab" * 16)
    for path in (tmp_path / "bundle").rglob("*"):
        if path.is_file():
            watched.seen.append((f"bundle {path.name}", path.read_bytes()))
    watched.check()


CRASH = """
import faulthandler, os, resource, sys
from pathlib import Path
from hsm_sim.hardening import harden
harden()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
from tests.hsm_bench import KnownKeys
bench = KnownKeys(Path(sys.argv[1]))
bench.load("dlk", bytes(range(60, 76)), "T2", "11", "X")
faulthandler.enable()
os.abort()
"""


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """Memory stays in the process: no core file, and what was printed on the way out holds nothing."""
    canaries = Canaries()
    canaries.add("key", bytes(range(60, 76)))
    command = [sys.executable, "-c", CRASH, str(tmp_path / "hsm")]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
    )
    assert done.returncode == -6, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["hsm"]
    found = canaries.seen_in("output", done.stdout + done.stderr)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            found += canaries.seen_in(path.name, path.read_bytes())
    assert found == []
