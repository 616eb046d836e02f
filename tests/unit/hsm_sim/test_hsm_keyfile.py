"""The key file at rest: sealed, refused when torn, edited, old or another's, and whole after any crash."""

import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.clock import FixedClock
from core.errors import CityError
from hsm_sim import generic_requests as generic
from hsm_sim import lmkfile
from hsm_sim.ceremony.actions import Birth
from hsm_sim.ceremony.city import ATTEND, STAFF, make_people
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script, Step, component_steps
from hsm_sim.device import Hsm
from hsm_sim.engine import Engine
from hsm_sim.keystore import State
from hsm_sim.local import LocalHsm
from tests.hsm_bench import CHEAP, HsmCity, hold

START = datetime(2026, 11, 27, 8, tzinfo=UTC)
NEW_KEY = {
    "alg": "T2",
    "export": "N",
    "mode": "X",
    "scope": "purse",
    "usage": "13",
    "version": "01",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> HsmCity:
    """A closed HSM; tests work on copies of its folder."""
    bench = hold(tmp_path_factory.mktemp("keyfile"), FixedClock(START))
    bench.hsm.close()
    return bench


@pytest.fixture
def home(made: HsmCity, tmp_path: Path) -> Path:
    copy = tmp_path / "hsm"
    shutil.copytree(made.city.home, copy, copy_function=shutil.copy)
    copy.chmod(0o700)
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return copy


def open_and_unlock(home: Path, made: HsmCity) -> Hsm:
    hsm = Hsm.open(home, FixedClock(START))
    try:
        hsm.unlock(made.city.unlock_secrets)
    except BaseException:
        hsm.log.close()
        raise
    return hsm


def test_locked_until_all_secrets_are_there(home: Path, made: HsmCity) -> None:
    hsm = Hsm.open(home, FixedClock(START))
    local = LocalHsm(Engine(hsm))
    good = made.city.unlock_secrets
    for wrong in ((), good[:1], good[::-1], (good[0], good[0]), (good[0], b"x" * 16)):
        with pytest.raises(CityError, match="HSM-UNLOCK"):
            hsm.unlock(wrong)
        with pytest.raises(CityError, match="HSM-F9"):
            local.call(generic.Echo(b"x"))
    hsm.unlock(good, ("so1",))
    assert local.call(generic.Echo(b"x")) == b"x"
    kinds = [event["type"] for event in hsm.log.events("auth.fail", "unlock")]
    assert kinds == ["auth.fail"] * 5 + ["unlock"]
    with pytest.raises(CityError, match="HSM-29"):
        hsm.unlock(good)
    hsm.close()


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one byte": lambda data: data[:200] + bytes((data[200] ^ 1,)) + data[201:],
    "a state": lambda data: data.replace(b'"state":"ACTIVE"', b'"state":"PRE_ACTIVE"', 1),
    "an export": lambda data: data.replace(b'"export":"N"', b'"export":"E"', 1),
    "spaces": lambda data: data.replace(b",", b", ", 1),
    "twice": lambda data: data + data,
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", ["keystore.json", "lmk.json", "policy.json"])
def test_an_edited_file_is_refused(home: Path, made: HsmCity, name: str, edit: str) -> None:
    path = home / name
    if not path.exists():
        path.write_bytes(made.hsm.policy.text())
        path.chmod(0o600)
    old = path.read_bytes()
    new = EDITS[edit](old if len(old) > 250 else old.ljust(250))
    if new == old:
        pytest.skip("this file has nothing of the kind")
    path.write_bytes(new)
    with pytest.raises(CityError, match=r"HSM-(STORE|UNLOCK)"):
        open_and_unlock(home, made)


@pytest.mark.parametrize("field", ["hsm", "lmk_kcv", "memory_kib", "root", "size", "salts"])
def test_the_header_is_under_the_seal(home: Path, made: HsmCity, field: str) -> None:
    path = home / "lmk.json"
    text = path.read_bytes()
    at = text.index(f'"{field}":'.encode()) + len(field) + 3
    digit = next(n for n in range(at, at + 40) if chr(text[n]).isalnum())
    other = b"1" if text[digit : digit + 1] != b"1" else b"2"
    path.write_bytes(text[:digit] + other + text[digit + 1 :])
    with pytest.raises(CityError, match=r"HSM-|LOG-"):
        open_and_unlock(home, made)


def test_an_old_key_file_beside_a_newer_log_is_refused(home: Path, made: HsmCity) -> None:
    old = (home / "keystore.json").read_bytes()
    hsm = open_and_unlock(home, made)
    hsm.suspend("purse-dlk-01", "lost card printer")
    hsm.close()
    newer = (home / "keystore.json").read_bytes()
    (home / "keystore.json").write_bytes(old)
    hsm = Hsm.open(home, FixedClock(START))
    with pytest.raises(CityError, match="HSM-STORE"):
        hsm.unlock(made.city.unlock_secrets)
    with pytest.raises(CityError, match="HSM-F9"):
        LocalHsm(Engine(hsm)).call(generic.Echo(b"x"))
    hsm.close()
    (home / "keystore.json").write_bytes(newer)
    hsm = open_and_unlock(home, made)
    store = hsm.keystore
    assert store is not None
    assert store.entries["purse-dlk-01"].state is State.SUSPENDED
    hsm.close()


def test_a_key_file_of_a_forked_log_is_refused(home: Path, made: HsmCity) -> None:
    """The same keys in the same states, but another past: two copies of one HSM went on apart."""
    other = home.parent / "other"
    shutil.copytree(home, other)
    for place, reason in ((home, "here"), (other, "there")):
        hsm = open_and_unlock(place, made)
        hsm.suspend("purse-dlk-01", reason)
        hsm.close()
    (home / "keystore.json").write_bytes((other / "keystore.json").read_bytes())
    hsm = Hsm.open(home, FixedClock(START))
    with pytest.raises(CityError, match="HSM-STORE"):
        hsm.unlock(made.city.unlock_secrets)
    hsm.close()


def test_an_old_log_beside_a_newer_lmk_file_is_refused(home: Path, made: HsmCity) -> None:
    """R-28: restoring only the log is noticed at the start, before anybody unlocks."""
    old = {path: path.read_bytes() for path in (home / "log.jsonl", home / "head.json")}
    hsm = open_and_unlock(home, made)
    hsm.log.checkpoint()
    hsm.close()
    for path, data in old.items():
        path.write_bytes(data)
    with pytest.raises(CityError, match="LOG-ROLLBACK"):
        Hsm.open(home, FixedClock(START))


def test_others_files_and_folders_are_refused(home: Path, made: HsmCity) -> None:
    for path in (home, home / "lmk.json", home / "keystore.json"):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | 0o040)
        with pytest.raises(CityError, match="HSM-HOME"):
            Hsm.open(home, FixedClock(START))
        path.chmod(mode)
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in made.city.home.rglob("*"))


def test_a_weak_hash_cannot_be_written_into_the_header(home: Path, made: HsmCity) -> None:
    header, _, _ = lmkfile.read_header(home)
    assert len(header.salts) == 2
    path = home / "lmk.json"
    path.write_bytes(path.read_bytes().replace(b'"passes":1', b'"passes":99'))
    with pytest.raises(CityError, match="HSM-STORE"):
        open_and_unlock(home, made)


# -- kill -9 ----------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
kill_at, home, secrets = int(sys.argv[1]), Path(sys.argv[2]), [bytes.fromhex(one) for one in sys.argv[3:]]
calls, real, real_data = [0], os.fsync, os.fdatasync
def counted(act):
    def sync(descriptor):
        calls[0] += 1
        if calls[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        act(descriptor)
        if calls[0] == -kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    return sync
from tests.unit.hsm_sim.test_hsm_keyfile import START, ceremony, init_ceremony
from core.clock import FixedClock
from hsm_sim.device import Hsm
hsm = Hsm.open(home, FixedClock(START))
hsm.unlock(secrets)
os.fsync, os.fdatasync = counted(real), counted(real_data)
(ceremony if hsm.unlocked else init_ceremony)(hsm, home)
print(calls[0])
"""


def ceremony(hsm: Hsm, home: Path) -> None:
    """One more key: born and activated."""
    script = Script(5, "key-generate", (Step("generate", {"kid": "purse-dulk-01", **NEW_KEY}),
                                        Step("activate", {"kid": "purse-dulk-01"})))  # fmt: skip
    _run(hsm, home, script)


def init_ceremony(hsm: Hsm, home: Path) -> None:
    """The LMK from three components."""
    lmk = {"alg": "A3", "export": "N", "mode": "N", "usage": "K1", "version": "01"}
    steps = (*component_steps("lmk-1", 3, lmk), Step("activate", {"kid": "lmk-1"}))
    _run(hsm, home, Script(1, "init", steps))


def _run(hsm: Hsm, home: Path, script: Script) -> None:
    console = Console(hsm.log, hsm.actions, home, FixedClock(START))
    people = make_people(7)
    CeremonyRun(console, script, {who: STAFF[who] for who in ATTEND}, UnattendedRoom(people)).run()


def _crash(home: Path, made: HsmCity, kill_at: int) -> subprocess.CompletedProcess[bytes]:
    given = [one.hex() for one in made.city.unlock_secrets]
    command = [sys.executable, "-c", CHILD, str(kill_at), str(home), *given]
    return subprocess.run(command, capture_output=True, check=False, timeout=120)


def _told(hsm: Hsm) -> dict[str, State]:
    """The new key's state as the log tells it."""
    states: dict[str, State] = {}
    for event in hsm.log.events("ceremony.step"):
        body = event["body"]
        if body["args"].get("kid") == "purse-dulk-01":
            states["purse-dulk-01"] = (
                State.ACTIVE if body["action"] == "activate" else State.PRE_ACTIVE
            )
    return states


def _after(home: Path, made: HsmCity) -> State | None:
    """Reopen; keys and log must tell the same, and everything else must be there."""
    hsm = open_and_unlock(home, made)
    store = hsm.keystore
    assert store is not None
    found = {kid: e.state for kid, e in store.entries.items() if kid == "purse-dulk-01"}
    assert found == _told(hsm)
    assert len([e for e in store.entries.values() if e.state is State.ACTIVE]) >= 22
    assert LocalHsm(Engine(hsm)).call(generic.Echo(b"on")) == b"on"
    hsm.close()
    return found.get("purse-dulk-01")


def _places(home: Path, made: HsmCity, step: int) -> Iterator[int]:
    spare = home.parent / "counting"
    shutil.copytree(home, spare, copy_function=shutil.copy2)
    done = _crash(spare, made, 0)
    total = int(done.stdout)
    yield from range(1, total + 1, step)
    yield from (-place for place in range(1, total + 1, step))


def _sweep(
    home: Path, made: HsmCity, step: int, after: Callable[[Path, HsmCity], State | None]
) -> set[State | None]:
    """Kill at every `step`-th sync, before and after it; the states found after the restarts."""
    seen = set()
    for place in _places(home, made, step):
        copy = home.parent / f"at{place}"
        shutil.copytree(home, copy, copy_function=shutil.copy2)
        done = _crash(copy, made, place)
        assert done.returncode == -signal.SIGKILL, done.stderr
        seen.add(after(copy, made))
        shutil.rmtree(copy)
    return seen


def _fresh(folder: Path, made: HsmCity) -> Path:
    """An HSM before its first ceremony."""
    roster = [person.entry() for person in make_people(7).values()]
    secrets = made.city.unlock_secrets
    Hsm.make(folder, "hsm.fresh", FixedClock(START), roster, POLICY, secrets, CHEAP).close()
    return folder


def _after_init(home: Path, made: HsmCity) -> State | None:
    """There is an LMK exactly when the log says so, and a second ceremony can be held when there is none."""
    hsm = open_and_unlock(home, made)
    told = [event["body"] for event in hsm.log.events("ceremony.step")]
    born = any(body["action"] == "combine" for body in told)
    active = any(body["action"] == "activate" for body in told)
    store = hsm.keystore
    assert (store is not None) == born == bool(hsm.lmk_check_value)
    state = None if store is None else store.entries["lmk-1"].state
    assert state == (None if not born else State.ACTIVE if active else State.PRE_ACTIVE)
    if not born:
        with pytest.raises(CityError, match="HSM-17"):
            hsm.actions.generate(Birth("x", "T2", "11", "X", "01", "N", "purse", 1))
    hsm.close()
    return state


EVERY_STATE = {None, State.PRE_ACTIVE, State.ACTIVE}


@pytest.mark.slow
def test_killed_in_the_middle_of_a_key(home: Path, made: HsmCity) -> None:
    """The step is done and logged, or not done."""
    assert {None, State.ACTIVE} <= _sweep(home, made, 11, _after)


@pytest.mark.slow
def test_killed_while_the_lmk_is_born(tmp_path: Path, made: HsmCity) -> None:
    assert None in _sweep(_fresh(tmp_path / "hsm", made), made, 16, _after_init)


@pytest.mark.slow
def test_killed_at_every_sync_of_a_key(home: Path, made: HsmCity) -> None:
    assert _sweep(home, made, 1, _after) == EVERY_STATE


@pytest.mark.slow
def test_killed_at_every_sync_of_the_lmk(tmp_path: Path, made: HsmCity) -> None:
    assert _sweep(_fresh(tmp_path / "hsm", made), made, 1, _after_init) == EVERY_STATE
