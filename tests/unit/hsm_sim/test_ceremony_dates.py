"""A script gives a key its days; when the last is over the HSM says so, restarts with it, and the audit passes."""

from datetime import timedelta
from pathlib import Path

from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.script import Script, Step
from tests.ceremony_bench import City, reopen, scripts, state_of

LAST = "2026-03-31"
BORN = {"alg": "T2", "export": "N", "kid": "drak-01", "mode": "X", "usage": "22", "version": "01"}


def test_a_key_ends_on_its_day_and_the_audit_knows(tmp_path: Path) -> None:
    city = City(tmp_path / "hsm")
    city.run(scripts()[0]).run()
    dated = Step("generate", {**BORN, "from": "2026-03-01", "until": LAST})
    city.run(Script(2, "key-generate", (dated, Step("activate", {"kid": "drak-01"})))).run()
    city.clock.advance(timedelta(days=30))
    city.hsm.tick()
    assert state_of(city.hsm, "drak-01") == "ACTIVE"
    city.clock.advance(timedelta(days=1))
    city.hsm.tick()
    assert state_of(city.hsm, "drak-01") == "DEACTIVATED"
    city.hsm.close()
    city.hsm = reopen(city.home, city.clock)
    assert state_of(city.hsm, "drak-01") == "DEACTIVATED"
    verdict = verifier.verify(tmp_path / "bundle", city.export(tmp_path / "bundle"))
    assert (verdict.findings, verdict.warnings) == ([], [])
    city.hsm.close()
