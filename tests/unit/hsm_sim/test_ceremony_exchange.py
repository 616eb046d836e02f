"""Two HSMs under one zone key: a key leaves the one in a ceremony and comes into the other in another."""

import pytest

from core.errors import CityError
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.console import OffScript
from hsm_sim.ceremony.rehearsal import Rehearsal
from hsm_sim.ceremony.room import TerminalRoom
from hsm_sim.ceremony.script import Script, Step, component_steps
from tests.ceremony_bench import City, reopen, scripts, state_of

ZONE = {"alg": "A3", "export": "N", "mode": "B", "usage": "K0", "version": "01"}
MAC_KEY = {"alg": "T2", "export": "E", "kid": "tak-01", "mode": "C", "usage": "M3", "version": "01"}
UNDER = {"kid": "tak-01", "under": "zmk-01"}


def zone_exchange(*more: Step) -> Script:
    """The zone key from components, then `more`."""
    load = [*component_steps("zmk-01", 3, ZONE), Step("activate", {"kid": "zmk-01"})]
    return Script(2, "zone-exchange", (*load, *more))


@pytest.fixture
def sender(tmp_path):
    city = City(tmp_path / "sender")
    city.run(scripts()[0]).run()
    yield city
    city.hsm.close()


@pytest.fixture
def receiver(tmp_path, sender):
    """Its custodians bring the same envelopes of the zone key."""
    city = City(tmp_path / "receiver")
    city.run(scripts()[0]).run()
    city.room = sender.room
    yield city
    city.hsm.close()


def sent(sender: City, **attributes: str) -> tuple[str, str]:
    """Export a key; the text for the partner and the check value read aloud."""
    born = Step("generate", {**MAC_KEY, **attributes})
    sender.run(
        zone_exchange(born, Step("activate", {"kid": "tak-01"}), Step("export", UNDER))
    ).run()
    said = [line for line in sender.room.shown if line.startswith("For the partner")][-1]
    [step] = [e for e in sender.hsm.log.events("ceremony.step") if e["body"]["action"] == "export"]
    assert set(step["body"]["result"]) == {"kcv"}
    return said.rpartition(": R")[2], step["body"]["result"]["kcv"]


def came_in(**args: str) -> Step:
    return Step("import", {**MAC_KEY, "form": "block", "under": "zmk-01", **args})


def test_a_key_travels_and_both_bundles_pass(tmp_path, sender, receiver):
    block, kcv = sent(sender)
    receiver.room.wrapped["tak-01"] = block, kcv
    receiver.run(zone_exchange(came_in())).run()
    assert state_of(receiver.hsm, "tak-01") == "PRE_ACTIVE"
    known = {entry["kid"]: entry["kcv"] for entry in receiver.hsm.directory()}
    assert known["tak-01"] == kcv
    for name, city in (("one", sender), ("two", receiver)):
        trust = city.export(tmp_path / name)
        verdict = verifier.verify(tmp_path / name, trust)
        assert (verdict.findings, verdict.warnings) == ([], [])
        assert block not in (tmp_path / name / "log.jsonl").read_text("utf-8")


def test_an_imported_key_is_there_after_a_restart(sender, receiver):
    receiver.room.wrapped["tak-01"] = sent(sender)
    receiver.run(zone_exchange(came_in())).run()
    receiver.hsm.close()
    receiver.hsm = reopen(receiver.home, receiver.clock)
    assert state_of(receiver.hsm, "tak-01") == "PRE_ACTIVE"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda block, kcv: (block, "000000"), "HSM-84"),
        (lambda block, kcv: (block[:-1] + ("0" if block[-1] != "0" else "1"), kcv), "HSM-A4"),
        (lambda block, kcv: ("", kcv), "HSM-83"),
        (lambda block, kcv: ("not é ASCII", kcv), "HSM-83"),
    ],
)
def test_another_key_than_the_one_on_the_form_stays_outside(sender, receiver, change, code):
    receiver.room.wrapped["tak-01"] = change(*sent(sender))
    with pytest.raises(CityError, match=code):
        receiver.run(zone_exchange(came_in())).run()
    steps = [event["body"]["action"] for event in receiver.hsm.log.events("ceremony.step")]
    assert "import" not in steps
    assert "tak-01" not in {entry["kid"] for entry in receiver.hsm.directory()}


def test_a_key_that_is_not_exportable_stays_inside(sender):
    with pytest.raises(CityError, match="HSM-AA"):
        sent(sender, export="N")
    assert not any(line.startswith("For the partner") for line in sender.room.shown)


@pytest.mark.parametrize("under", ["lmk-1", "tak-01", "nobody"])
def test_only_a_zone_key_wraps_for_a_partner(sender, under):
    steps = [Step("generate", MAC_KEY), Step("activate", {"kid": "tak-01"})]
    steps.append(Step("export", {"kid": "tak-01", "under": under}))
    with pytest.raises(CityError, match="HSM-10"):
        sender.run(zone_exchange(*steps)).run()


def test_a_wrapped_key_comes_with_its_own_step_only(sender):
    sender.console.standing = None
    for who in ("ca1", "iw1", "ea1", "kc1", "kc2", "kc3"):
        sender.console.sign_in(sender.people[who].sign(sender.console.challenge()))
    sender.console.open(Script(2, "zone-exchange", (came_in(),)))
    with pytest.raises(OffScript, match="CER-NOT-NEXT"):
        sender.console.approval({})
    message = sender.console.approval({"kcv": "123456"})
    approvals = sender.signed(message, "ca1", "iw1", "kc1", "kc2")
    with pytest.raises(OffScript, match="CER-NOT-NEXT"):
        sender.console.step({"kcv": "123456"}, approvals)


def test_at_a_terminal_the_text_and_the_check_value_are_asked_for(sender):
    answers = iter([" D0112M3T ", " abcdef "])
    room = TerminalRoom(
        print, lambda question: next(answers), lambda question: "", lambda who, _: sender.people[who], lambda: None
    )  # fmt: skip
    assert room.wrapped_key("tak-01", "zmk-01") == ("D0112M3T", "ABCDEF")


def test_a_rehearsal_brings_keys_to_import_along(tmp_path):
    path = tmp_path / "rehearsal.json"
    path.write_text('{"seed": 7, "wrapped": {"tak-01": ["D0112M3T", "ABCDEF"]}}')
    acted = Rehearsal.load(path)
    acted.keep(["some words"])
    room = Rehearsal.load(path).room()
    assert room.wrapped_key("tak-01", "zmk-01") == ("D0112M3T", "ABCDEF")
    with pytest.raises(CityError, match="CER-NO-ENVELOPE"):
        room.wrapped_key("tak-02", "zmk-01")
    path.write_text('{"seed": 7, "wrapped": {"tak-01": "D0112M3T"}}')
    with pytest.raises(CityError, match="CER-REHEARSAL"):
        Rehearsal.load(path)
