"""A ceremony: who may do what, in which order, and what happens after a crash."""

import threading
from datetime import timedelta

import pytest

from core.errors import CityError, Rejected
from hsm_sim.ceremony import console as console_module
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.city import ATTEND, STAFF, city_keys, city_scripts, hold_city_ceremonies
from hsm_sim.ceremony.console import NoQuorum, OffScript
from hsm_sim.ceremony.people import Person
from hsm_sim.ceremony.script import BadScript, Script, Step
from tests.ceremony_bench import City, make_hsm, scripts, state_of


@pytest.fixture
def city(tmp_path):
    city = City(tmp_path / "hsm")
    yield city
    city.hsm.close()


def opened(city: City, script: Script) -> None:
    for who in ATTEND:
        city.console.sign_in(city.people[who].sign(city.console.challenge()))
    city.console.open(script)


def enter(city: City, n: int, custodian: str, value: bytes = b"\x13" * 32):
    message = city.console.approval({"custodian": custodian})
    approvals = city.signed(message, custodian, "iw1")
    return city.console.step({"custodian": custodian}, approvals, bytearray(bytes([n]) + value[1:]))


def test_an_unattended_run_follows_the_script_and_ends_in_a_checkpoint(city):
    checkpoint = city.run(scripts()[0]).run()
    kinds = [event["type"] for event in city.hsm.log.events()]
    before = ["log.genesis", "boot", "config", "ceremony.open"]
    assert kinds == [*before, *["ceremony.step"] * 5, "ceremony.close"]
    assert checkpoint.startswith("hsm-01.city.example\n10\n")
    assert state_of(city.hsm, "lmk-1") == "ACTIVE"


def test_the_script_is_read_aloud_before_anything_happens(city):
    city.run(scripts()[0]).run()
    digest = scripts()[0].digest
    shown = "\n".join(city.room.shown)
    assert f"{digest[:4]} {digest[4:8]}" in shown
    assert shown.index("Read aloud") < shown.index("Step 1")


def test_the_whole_city_is_made_and_verified(tmp_path):
    from core.clock import SystemClock

    made = hold_city_ceremonies(tmp_path / "hsm", SystemClock(), 1, make_hsm, tmp_path / "audit")
    trust = verifier.parse(made.trust_path.read_bytes())
    verdict = verifier.verify(made.bundle_dir, trust)
    assert (verdict.verdict, verdict.findings, verdict.warnings) == ("pass", [], [])
    assert verdict.summary["ceremonies"] == 4
    assert verdict.summary["keys"] == len(city_keys()) + 3
    assert state_of(made.hsm, "purse-dlk-01") == "ACTIVE"
    made.hsm.close()


def test_the_pin_pads_get_the_key_the_hsm_has(tmp_path):
    from core import crypto
    from core.clock import SystemClock

    made = hold_city_ceremonies(tmp_path / "hsm", SystemClock(), 1, make_hsm, tmp_path / "audit")
    got = []
    made.room.hand_over("pinpad-transport-01", lambda key: got.append(crypto.des_kcv(bytes(key))))
    known = {entry["kid"]: entry["kcv"] for entry in made.hsm.directory()}
    made.hsm.close()
    assert [value.hex().upper() for value in got] == [known["pinpad-transport-01"]]
    with pytest.raises(Rejected, match="CER-NO-ENVELOPE"):
        made.room.hand_over("pinpad-transport-01", lambda key: None)


def test_a_second_audit_needs_a_bundle_for_its_own_nonce(tmp_path):
    from core.clock import SystemClock

    made = hold_city_ceremonies(tmp_path / "hsm", SystemClock(), 1, make_hsm, tmp_path / "audit")
    first = verifier.parse(made.trust_path.read_bytes())
    made.audit(tmp_path / "second", "ab" * 10)
    second = verifier.parse(made.trust_path.read_bytes())
    made.hsm.close()
    assert verifier.verify(made.bundle_dir, first).verdict == "pass"
    assert verifier.verify(tmp_path / "second", second).verdict == "pass"
    found = verifier.verify(made.bundle_dir, second)
    assert {entry["code"] for entry in found.findings} == {"BND-NONCE"}


@pytest.mark.parametrize(
    "signers",
    [
        [("kc1", b"")],  # no witness
        [("iw1", b"")],  # no custodian
        [("kc1", b""), ("kc1", b"")],  # one person twice
        [("kc1", b""), ("ca1", b"")],  # the administrator is no witness
        [("kc4", b""), ("iw1", b"")],  # a custodian who does not attend
        [("kc1", b"x"), ("iw1", b"")],  # a signature over something else
    ],
)
def test_a_step_without_its_quorum_does_nothing(city, signers):
    opened(city, scripts()[0])
    size = city.hsm.log.size
    message = city.console.approval({"custodian": "kc1"})
    approvals = [city.people[who].sign(message + extra) for who, extra in signers]
    with pytest.raises((NoQuorum, OffScript)):
        city.console.step({"custodian": "kc1"}, approvals, bytearray(32))
    assert city.hsm.log.size == size


def test_approvals_hold_for_one_position_only(city):
    opened(city, scripts()[0])
    message = city.console.approval({"custodian": "kc1"})
    approvals = city.signed(message, "kc1", "iw1")
    city.console.exception_message("door")
    city.console.exception("the door was open", city.signed(
        city.console.exception_message("the door was open"), "iw1"))  # fmt: skip
    with pytest.raises(NoQuorum, match="signed something else"):
        city.console.step({"custodian": "kc1"}, approvals, bytearray(b"\x11" * 32))


def test_one_custodian_enters_one_component_of_a_key(city):
    opened(city, scripts()[0])
    enter(city, 1, "kc1")
    with pytest.raises(OffScript, match="CER-CUSTODIAN"):
        enter(city, 2, "kc1")


def test_a_component_is_overwritten_even_when_refused(city):
    opened(city, scripts()[0])
    value = bytearray(32)
    message = city.console.approval({"custodian": "kc1"})
    with pytest.raises(Rejected, match="HSM-75"):
        city.console.step({"custodian": "kc1"}, city.signed(message, "kc1", "iw1"), value)
    held = bytearray(b"\x22" * 32)
    city.console.step({"custodian": "kc1"}, city.signed(message, "kc1", "iw1"), held)
    assert held == bytes(32)


def test_components_live_a_quarter_of_an_hour(city):
    opened(city, scripts()[0])
    enter(city, 1, "kc1")
    city.clock.advance(timedelta(minutes=16))
    with pytest.raises(OffScript, match="CER-LATE"):
        enter(city, 2, "kc2")


def test_components_are_overwritten_even_when_everybody_went_home(city, monkeypatch):
    monkeypatch.setattr(console_module, "COMPONENT_LIFE", timedelta(0))
    forgotten = threading.Event()
    real = city.hsm.actions.forget

    def forget(kid):
        real(kid)
        forgotten.set()

    monkeypatch.setattr(city.hsm.actions, "forget", forget)
    opened(city, scripts()[0])
    enter(city, 1, "kc1")
    assert forgotten.wait(30)
    assert city.hsm.actions._parts == {}


def test_a_ceremony_goes_on_after_a_crash_between_steps(city):
    run = city.run(scripts()[0])
    run.run()
    opened(city, scripts()[1])
    for n, who in ((1, "kc1"), (2, "kc2"), (3, "kc3")):
        enter(city, n, who, b"\x31" * 16)
    message = city.console.approval({})
    city.console.step({}, city.signed(message, "ca1", "iw1", "kc1", "kc2", "kc3"))
    city.restart()
    city.run(scripts()[1]).run()
    assert state_of(city.hsm, "dlk-01") == "ACTIVE"
    assert city.room.shown.count("Going on with ceremony 2 after an interruption.") == 1


def test_components_do_not_survive_a_restart_and_the_ceremony_is_aborted(city, tmp_path):
    opened(city, scripts()[0])
    enter(city, 1, "kc1")
    city.restart()
    with pytest.raises(OffScript, match="CER-COMPONENTS-LOST"):
        enter(city, 2, "kc2")
    city.run(scripts()[0]).abort("the HSM restarted and the component is gone")
    again = Script(2, "init", scripts()[0].plan)
    city.run(again).run()
    trust = city.export(tmp_path / "bundle")
    assert verifier.verify(tmp_path / "bundle", trust).findings == []


class _PowerCut(BaseException):
    pass


@pytest.mark.parametrize("after", [False, True])
def test_power_cut_around_the_log_line_leaves_a_step_done_and_logged_or_not_done(
    city, monkeypatch, after
):
    city.run(scripts()[0]).run()
    opened(city, scripts()[1])
    for n, who in ((1, "kc1"), (2, "kc2"), (3, "kc3")):
        enter(city, n, who, b"\x31" * 16)
    message = city.console.approval({})
    approvals = city.signed(message, "ca1", "iw1", "kc1", "kc2", "kc3")
    append = city.hsm.log.append

    def cut(kind, body, boot=None):
        if after:
            append(kind, body, boot)
        raise _PowerCut

    monkeypatch.setattr(city.hsm.log, "append", cut)
    monkeypatch.setattr(
        city.hsm.actions, "rollback", lambda: None
    )  # a dead process rolls nothing back
    with pytest.raises(_PowerCut):
        city.console.step({}, approvals)
    city.restart()
    assert (state_of(city.hsm, "dpk-01") is not None) is after
    assert (city.console.standing.at == 4) is after


def test_aborting_is_a_normal_outcome(city, tmp_path):
    opened(city, scripts()[0])
    city.run(scripts()[0]).abort("a custodian is ill")
    city.run(Script(2, "init", scripts()[0].plan)).run()
    trust = city.export(tmp_path / "bundle")
    verdict = verifier.verify(tmp_path / "bundle", trust)
    assert verdict.findings == []


def test_revoked_people_are_out_and_new_ones_are_in(city, tmp_path):
    city.hold_all()
    message = city.console.roster_message({"id": "kc3", "reason": "left"})
    city.console.revoke("kc3", "left", city.signed(message, "ca1", "iw1", "ea1"))
    with pytest.raises(NoQuorum):
        city.console.sign_in(city.people["kc3"].sign(city.console.challenge()))
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    fresh = Person.of("kc5", "KC", "city.example", Ed25519PrivateKey.generate())
    message = city.console.roster_message(fresh.entry())
    city.console.enrol(fresh.entry(), city.signed(message, "ca1", "iw1", "ea1"))
    city.people["kc5"] = fresh
    script = Script(
        3, "destroy", (Step("deactivate", {"kid": "dpk-01"}), Step("destroy", {"kid": "dpk-01"}))
    )
    attend = {**{who: STAFF[who] for who in ("ca1", "iw1", "ea1", "kc1")}, "kc5": "KC"}
    from hsm_sim.ceremony.run import CeremonyRun

    CeremonyRun(city.console, script, attend, city.room).run()
    trust = city.export(tmp_path / "bundle")
    assert verifier.verify(tmp_path / "bundle", trust).findings == []


def test_a_rotation_leaves_both_versions_and_a_clean_verdict(city, tmp_path):
    """A new version in force, the old one only reads, a suspended one comes back, a compromised one goes."""
    city.hold_all()
    fresh = {"alg": "T2", "export": "N", "mode": "X", "usage": "11", "version": "02", "scope": ""}
    plan = (
        Step("generate", {"kid": "dlk-02", **fresh}),
        Step("activate", {"kid": "dlk-02"}),
        Step("deactivate", {"kid": "dlk-01"}),
    )
    city.run(Script(3, "rotate", plan)).run()
    city.hsm.usage.count("dlk-01", "42", 1, 0, {"client": "purse", "rc": "00"})
    city.hsm.usage.count("dlk-02", "40", 1, 0, {"client": "purse", "rc": "00"})
    city.hsm.suspend("dpk-01", "a terminal was stolen")
    city.run(Script(4, "drill", (Step("resume", {"kid": "dpk-01"}),))).run()
    lost = (Step("compromise", {"kid": "dlk-01"}), Step("destroy", {"kid": "dlk-01"}))
    city.run(Script(5, "destroy", lost)).run()
    states = [state_of(city.hsm, kid) for kid in ("dlk-01", "dlk-02", "dpk-01")]
    assert states == ["DESTROYED", "ACTIVE", "ACTIVE"]
    trust = city.export(tmp_path / "bundle")
    verdict = verifier.verify(tmp_path / "bundle", trust)
    assert (verdict.findings, verdict.warnings) == ([], [])
    city.hsm.usage.count("dlk-01", "40", 1, 0, {"client": "purse", "rc": "00"})
    trust = city.export(tmp_path / "second")
    found = verifier.verify(tmp_path / "second", trust).findings
    assert {entry["code"] for entry in found} == {"KEY-STATE"}


def test_one_person_cannot_enrol_under_a_second_name(city):
    entry = {**city.people["kc1"].entry(), "id": "kc9"}
    message = city.console.roster_message(entry)
    with pytest.raises(NoQuorum, match="CER-ROSTER"):
        city.console.enrol(entry, city.signed(message, "ca1", "iw1", "ea1"))


def test_ceremonies_are_numbered_without_gap_and_one_at_a_time(city):
    with pytest.raises(OffScript, match="CER-NUMBER"):
        opened(city, Script(2, "init", scripts()[0].plan))
    opened(city, scripts()[0])
    with pytest.raises(OffScript, match="CER-OPEN-ALREADY"):
        city.console.open(scripts()[0])
    with pytest.raises(OffScript, match="CER-NOT-NEXT"):
        city.console.close_message("complete")


@pytest.mark.parametrize(
    "plan",
    [
        (),
        (Step("activate", {}),),
        (Step("activate", {"kid": "a", "more": 1}),),
        (Step("export-everything", {"kid": "a"}),),
    ],
)
def test_a_script_that_is_none_is_refused(plan):
    with pytest.raises(BadScript):
        Script(1, "init", plan)


def test_script_file_and_paper_copy_come_from_the_same_plan():
    script = city_scripts("07001", "2026-06-01")[1]
    assert Script.parse(script.text) == script
    paper = script.paper()
    assert paper.count("| generate |") == len(city_keys())
    assert script.digest[:4] in paper


def test_a_key_file_opens_with_its_passphrase_only(tmp_path, city):
    path = tmp_path / "kc1.pem"
    city.people["kc1"].save(path, b"correct horse")
    assert path.stat().st_mode & 0o777 == 0o600
    again = Person.load(path, b"correct horse", "kc1", "KC", "city.example")
    assert again.vkey == city.people["kc1"].vkey
    with pytest.raises(CityError, match="CER-KEYFILE"):
        Person.load(path, b"wrong", "kc1", "KC", "city.example")


def test_repr_shows_no_key(city):
    assert "Ed25519PrivateKey" not in repr(city.people["kc1"])
