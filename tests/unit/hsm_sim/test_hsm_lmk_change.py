"""A ceremony changes the LMK (8.5): every key moves under it, nothing else changes, and a crash loses nothing."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.errors import CityError
from hsm_sim import generic_requests as generic
from hsm_sim import keyblock
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.script import Script, Step, component_steps
from hsm_sim.device import Hsm
from hsm_sim.engine import Engine
from hsm_sim.keystore import LMK_SCOPE
from hsm_sim.local import LocalHsm
from tests.ceremony_bench import City, reopen, scripts, state_of

NEW_LMK = {
    "alg": "A3", "export": "N", "mode": "N", "scope": LMK_SCOPE, "usage": "K1", "version": "02",
}  # fmt: skip
KEY = {"alg": "T2", "export": "N", "kid": "dulk-01", "mode": "X", "usage": "13", "version": "01"}
SEAL = {"alg": "ED", "export": "N", "kid": "seal-01", "mode": "S", "usage": "S0", "version": "01"}


class Cut(BaseException):
    """The process is gone."""


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path / "hsm")
    made.run(scripts()[0]).run()
    born = [Step("generate", one) for one in (KEY, SEAL)]
    active = [Step("activate", {"kid": one["kid"]}) for one in (KEY, SEAL)]
    made.run(Script(2, "key-generate", (*born, *active))).run()
    yield made
    made.hsm.close()


def brought(cid: int = 3) -> Script:
    """The new LMK from its custodians; it does nothing yet."""
    return Script(cid, "lmk-migrate", tuple(component_steps("lmk-2", 3, NEW_LMK)))


def changed(cid: int = 4) -> Script:
    return Script(cid, "lmk-migrate", (Step("activate", {"kid": "lmk-2"}),))


def shown(hsm: Hsm) -> dict[str, tuple[str, str]]:
    """Check value and fingerprint of each key."""
    return {row["kid"]: (row["kcv"], row["fp"]) for row in hsm.directory()}


def call(hsm: Hsm, request: Any) -> Any:
    return LocalHsm(Engine(hsm)).call(request)


def test_every_key_moves_and_nothing_else_changes(city: City, tmp_path: Path) -> None:
    token, kcv = call(city.hsm, generic.GenerateWorkKey("M3", mode="C"))
    card, before, check = (
        city.hsm.keys.pseudonym((b"\x01" * 8,)),
        shown(city.hsm),
        city.hsm.lmk_check_value,
    )
    city.run(brought()).run()
    city.run(changed()).run()
    for _ in range(2):  # now, and after a restart
        assert {kid: row for kid, row in shown(city.hsm).items() if kid != "lmk-2"} == before
        assert city.hsm.lmk_check_value == shown(city.hsm)["lmk-2"][0] != check
        assert city.hsm.keys.lmk_kid == "lmk-2"
        assert city.hsm.keys.pseudonym((b"\x01" * 8,)) == card
        assert call(city.hsm, generic.CheckValue(token)) == kcv
        store = city.hsm.keystore
        assert store is not None
        opened = keyblock.unwrap(city.hsm.lmk.reveal(), store.entries["dulk-01"].block)
        assert opened.material == store.secret(store.entries["dulk-01"]).reveal()
        city.hsm.close()
        city.hsm = reopen(city.home, city.clock)
        city.console = city.new_console()
    verdict = verifier.verify(tmp_path / "bundle", city.export(tmp_path / "bundle"))
    assert (verdict.findings, verdict.warnings) == ([], [])


def test_tokens_go_with_the_old_lmk(city: City) -> None:
    """They open until a ceremony destroys it; only then may the next one be activated."""
    old, _ = call(city.hsm, generic.GenerateWorkKey("M3", mode="C"))
    city.run(brought()).run()
    city.run(changed()).run()
    new, kcv = call(city.hsm, generic.GenerateWorkKey("M3", mode="C"))
    third = component_steps("lmk-3", 3, {**NEW_LMK, "version": "03"})
    city.run(Script(5, "lmk-migrate", tuple(third))).run()
    with pytest.raises(CityError, match="HSM-17"):
        city.run(Script(6, "lmk-migrate", (Step("activate", {"kid": "lmk-3"}),))).run()
    assert call(city.hsm, generic.CheckValue(old))
    city.hsm.actions.begin(city.hsm.log.size)
    city.hsm.actions.destroy("lmk-1")
    city.hsm.actions.commit()
    with pytest.raises(CityError, match="HSM-A4"):
        call(city.hsm, generic.CheckValue(old))
    assert call(city.hsm, generic.CheckValue(new)) == kcv


def cut_at(place: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do it until so many syncs have happened; how many there were."""
    count = 0

    def sync(real: Callable[[int], None]) -> Callable[[int], None]:
        def counted(descriptor: int) -> None:
            nonlocal count
            count += 1
            if 0 < place <= count:
                raise Cut
            real(descriptor)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync(os.fsync))
        patch.setattr(os, "fdatasync", sync(os.fdatasync))
        with suppress(Cut):
            act()
    return count


@pytest.mark.slow
def test_a_crash_at_any_sync_loses_no_key(
    city: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is done and logged, or not done; either way every key opens after the restart."""
    city.run(brought()).run()
    before = shown(city.hsm)
    city.hsm.close()
    kept, place, seen = tmp_path / "kept", 0, set()
    shutil.copytree(city.home, kept)
    total = 1
    while place < total:
        place += 1
        shutil.rmtree(city.home)
        shutil.copytree(kept, city.home)
        city.hsm = reopen(city.home, city.clock)
        city.console = city.new_console()
        run = city.run(changed())
        total = max(total, cut_at(place, run.run, monkeypatch) + 1)
        if city.hsm.log._file >= 0:
            city.hsm.log.close()
        city.hsm.batches.close()
        city.hsm = reopen(city.home, city.clock)
        assert shown(city.hsm) == before
        state = state_of(city.hsm, "lmk-2")
        seen.add(state)
        in_force = "lmk-2" if state == "ACTIVE" else "lmk-1"
        assert city.hsm.keys.lmk_kid == in_force, (place, total)
        assert city.hsm.lmk_check_value == before[in_force][0]
        city.hsm.close()
    city.hsm = reopen(city.home, city.clock)
    assert seen == {"PRE_ACTIVE", "ACTIVE"}
