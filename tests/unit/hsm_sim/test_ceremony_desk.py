"""``citycard ceremony`` on a real HSM's folder: people at a terminal, rehearsals, shares, exceptions, resuming."""

import base64
import json

import pytest
from typer.testing import CliRunner

from cli import ceremony
from core.clock import FixedClock
from core.errors import CityError, EvidenceMismatch, NotAllowed, NotFound, Rejected
from hsm_sim import shares
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.city import ATTEND
from hsm_sim.ceremony.desk import Desk, Quorum, load_roster, load_script
from hsm_sim.ceremony.rehearsal import Rehearsal
from hsm_sim.ceremony.room import UnattendedRoom, read_entry
from hsm_sim.lmkfile import Argon2
from tests.ceremony_bench import START, UNLOCK, City, scripts

NONCE = "ab" * 10
QUICK = Argon2(memory_kib=64, passes=1, lanes=1)


def call(*arguments, typed=""):
    return CliRunner().invoke(ceremony.app, [str(one) for one in arguments], input=typed)


def good(*arguments, typed=""):
    said = call(*arguments, typed=typed)
    assert said.exit_code == 0, said.output + repr(said.exception)
    return said


@pytest.fixture
def place(tmp_path):
    for script in scripts():
        (tmp_path / f"{script.cid}.json").write_bytes(script.text)
    (tmp_path / "rehearsal.json").write_text('{"seed": 7}')
    return tmp_path


def rehearse(place, number, *more):
    return call(
        "run", place / f"{number}.json", "--home", place / "hsm", "--attend", ",".join(ATTEND),
        "--rehearsal", place / "rehearsal.json", *more,
    )  # fmt: skip


def verdict_of(place):
    good(
        "export", "--home", place / "hsm", "--nonce", NONCE, "--out", place / "bundle",
        "--trust", place / "trust.json", "--rehearsal", place / "rehearsal.json",
    )  # fmt: skip
    trust = verifier.parse((place / "trust.json").read_bytes())
    return verifier.verify(place / "bundle", trust)


def test_two_ceremonies_unattended_give_a_bundle_that_passes(place):
    first = rehearse(place, 1, "--new", "hsm-01.city.example")
    assert first.exit_code == 0
    assert first.stdout.startswith("hsm-01.city.example\n10\n")
    second = rehearse(place, 2, "--json")
    assert json.loads(second.stdout)["status"] == "complete"
    verdict = verdict_of(place)
    assert (verdict.verdict, verdict.findings, verdict.warnings) == ("pass", [], [])
    assert verdict.summary["keys"] == 3
    said = good("verify", place / "bundle", "--trust", place / "trust.json", "--json")
    assert json.loads(said.stdout)["verdict"] == "pass"


def test_the_witness_records_an_exception_and_an_abort_is_a_normal_outcome(place):
    (place / "rehearsal.json").write_text(
        '{"seed": 7, "remarks": {"2": "the door was open", "3": "abort: a custodian is ill"}}'
    )
    said = rehearse(place, 1, "--new", "hsm-01.city.example", "--json")
    assert said.exit_code == 1
    assert json.loads(said.stdout)["status"] == "aborted"
    (place / "rehearsal.json").write_text(
        (place / "rehearsal.json").read_text().replace('"remarks"', '"unused"')
    )
    text = (place / "hsm" / "log.jsonl").read_text()
    assert "the door was open" in text
    again = scripts()[0].text.replace(b'"cid":1', b'"cid":2')
    (place / "2.json").write_bytes(again)
    assert rehearse(place, 2).exit_code == 0
    assert verdict_of(place).findings == []


def test_close_ends_a_ceremony_that_cannot_go_on(place):
    with _desk(place) as desk:
        for who in ATTEND:
            desk.console.sign_in(desk._room.sign(who, desk.console.challenge()))
        desk.console.open(scripts()[0])
    said = call(
        "close", "--home", place / "hsm", "--reason", "the power failed",
        "--rehearsal", place / "rehearsal.json", "--json",
    )  # fmt: skip
    assert said.exit_code == 1
    assert json.loads(said.stdout)["status"] == "aborted"
    nothing = call(
        "close", "--home", place / "hsm", "--reason", "x", "--rehearsal", place / "rehearsal.json"
    )
    assert isinstance(nothing.exception, CityError)
    assert nothing.exception.code == "CER-NONE-OPEN"


def _desk(place) -> Desk:
    acted = Rehearsal.load(place / "rehearsal.json")
    room = acted.room()
    roster = [one.entry() for one in acted.people().values()]
    clock = FixedClock(START)
    desk = Desk.make(place / "hsm", "hsm.example", clock, roster, room, Quorum(), QUICK)
    acted.keep(room.shares)
    return desk


def test_any_two_of_three_officers_open_the_hsm_and_one_does_not(place):
    with _desk(place) as desk:
        given = list(desk._room.shares)
    for chosen in ((0, 1), (2, 0), (1, 2)):
        room = UnattendedRoom({}, shares=[given[number] for number in chosen])
        Desk.open(place / "hsm", FixedClock(START), room).hsm.close()
    with pytest.raises(Rejected, match="CER-SHARE"):
        Desk.open(place / "hsm", FixedClock(START), UnattendedRoom({}, shares=given[:1]))
    twice = UnattendedRoom({}, shares=[given[0], given[0]])
    with pytest.raises(shares.BadShares):
        Desk.open(place / "hsm", FixedClock(START), twice)
    strange = UnattendedRoom({}, shares=shares.split(bytes(32), 2, 2))
    with pytest.raises(NotAllowed, match="HSM-UNLOCK"):
        Desk.open(place / "hsm", FixedClock(START), strange)
    log = (place / "hsm" / "log.jsonl").read_text()
    assert log.count('"type":"unlock"') == 3
    assert '"reason":"unlock"' in log
    assert not any(words in log for words in given)


def test_the_log_must_extend_what_the_auditor_saw(place):
    with _desk(place) as desk:
        log = desk.hsm.log
        trust = {"genesis": desk.console.genesis, "last_seen": None}
        desk.show_extends(trust)
        seen = {"size": log.size, "root": log.root().hex()}
        log.append("limit", {"what": "x", "until": "y"})
        desk.show_extends({**trust, "last_seen": seen})
        for bad in (
            {**trust, "genesis": "00" * 32},
            {**trust, "last_seen": {**seen, "root": "00" * 32}},
            {**trust, "last_seen": {**seen, "size": 999}},
        ):
            with pytest.raises(EvidenceMismatch, match="CER-NOT-SEEN"):
                desk.show_extends(bad)


def test_the_roster_changes_with_three_signatures(place):
    with _desk(place):
        pass
    said = good("person", "kc5", "KC", "--people", place / "people", typed="words\nwords\n")
    (place / "kc5.json").write_text(said.stdout)
    more = ("--home", place / "hsm", "--rehearsal", place / "rehearsal.json")
    alone = call("enrol", place / "kc5.json", "--by", "ca1", *more)
    assert isinstance(alone.exception, NotAllowed)
    assert alone.exception.code == "HSM-F2"
    assert good("enrol", place / "kc5.json", "--by", "ca1,iw1,ea1", *more).stdout == "kc5 KC\n"
    good("revoke", "kc4", "--by", "ca1,iw1,ea1", "--reason", "left the office", *more)
    again = call("revoke", "kc4", "--by", "ca1,iw1,ea1", "--reason", "left the office", *more)
    assert isinstance(again.exception, NotAllowed)
    (place / "kc5.json").write_text("[]")
    assert (
        call("enrol", place / "kc5.json", "--by", "ca1,iw1,ea1", *more).exception.code
        == "CER-ROSTER"
    )


def people_made(place):
    entries = []
    for who, role in (
        ("ca1", "CA"), ("iw1", "IW"), ("ea1", "EA"), ("kc1", "KC"), ("kc2", "KC"), ("kc3", "KC"),
    ):  # fmt: skip
        said = good("person", who, role, "--people", place / "people", typed=f"{who} pass\n" * 2)
        entries.append(json.loads(said.stdout))
    (place / "roster.json").write_text(json.dumps(entries))


def test_real_people_at_a_terminal(place):
    people_made(place)
    components = {"kc1": "11" * 32, "kc2": "26" * 32, "kc3": "4c" * 32}
    typed = ["Yes"] * 6  # three officers look at their share, one after the other
    typed += [f"{who} pass" for who in ATTEND] + ["Yes"]
    for who, value in components.items():
        typed += ["", "iw1 pass", f"{who} pass", value, value]
    typed += ["", "ca1 pass", "iw1 pass", "kc1 pass", "kc2 pass", "kc3 pass"]
    typed += ["", "ca1 pass", "iw1 pass"]
    typed += ["ca1 pass", "ea1 pass", "iw1 pass"]
    said = good(
        "run", place / "1.json", "--home", place / "hsm", "--attend", ",".join(ATTEND),
        "--people", place / "people", "--new", "hsm-01.city.example",
        "--roster", place / "roster.json", typed="\n".join(typed) + "\n",
    )  # fmt: skip
    assert said.stdout.startswith("hsm-01.city.example\n")
    assert not any(value in said.output for value in components.values())
    assert "a rehearsal, not a key ceremony under PCI rules" in said.stderr
    assert "Genesis of this log" in said.stderr
    assert said.stderr.count("Check value") == 4


def test_a_wrong_passphrase_opens_no_key(place):
    people_made(place)
    said = call(
        "run", place / "1.json", "--home", place / "hsm", "--attend", "ca1", "--people",
        place / "people", "--new", "h", "--roster", place / "roster.json", typed="Yes\n" * 6 + "no\n",
    )  # fmt: skip
    assert isinstance(said.exception, NotAllowed)
    assert said.exception.code == "CER-KEYFILE"


def test_somebody_signs_on_a_machine_of_their_own(place):
    city = City(place / "bench")
    message = place / "message.txt"
    for who in ATTEND:
        city.console.sign_in(city.people[who].sign(city.console.challenge()))
    city.console.open(scripts()[0])
    message.write_bytes(city.console.approval({"custodian": "kc1"}))
    city.people["kc1"].save(place / "kc1.pem", b"secret words")
    said = good(
        "sign", message, "--key", place / "kc1.pem", "--id", "kc1", "--role", "KC",
        typed="secret words\n",
    )  # fmt: skip
    entry = read_entry(said.stdout)
    other = city.signed(message.read_bytes(), "iw1")
    city.console.step({"custodian": "kc1"}, [entry, *other], bytearray(b"\x13" * 32))
    city.hsm.close()
    message.write_bytes(b"pay 1000 to bearer")
    refused = call("sign", message, "--key", place / "kc1.pem", "--id", "kc1", "--role", "KC")
    assert isinstance(refused.exception, NotAllowed)
    for bad in ("[]", "{", '{"id":"x"}'):
        with pytest.raises(Rejected, match="CER-ENTRY"):
            read_entry(bad)


def test_scripts_of_the_city_are_written_with_their_paper(place):
    names = json.loads(good("script", "--city", place / "city", "--json").stdout)["scripts"]
    assert len(names) == 4
    shown = good("script", names[1], "--paper", place / "paper.md", "--json")
    said = json.loads(shown.stdout)
    assert said["sha256"] == load_script(place / "city" / "02-key-generate.json").digest
    assert len(said["words"].split()) == 32
    assert said["sha256"][:4] in (place / "paper.md").read_text("utf-8")
    assert call("script").exit_code == 2


def test_shares_are_joined_into_a_pipe(place):
    secret = bytes(range(32))
    words = shares.split(secret, 2, 3)
    said = good("join", typed=f"{words[2]}\n{words[0]}\n")
    assert said.stdout == secret.hex() + "\n\n"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{}",
        '[{"id":"a"}]',
        '[{"id":"a","role":"KC","vkey":"v"},{"id":"a","role":"KC","vkey":"w"}]',
    ],
)
def test_rosters_that_are_none(place, text):
    (place / "roster.json").write_text(text)
    with pytest.raises(Rejected, match="CER-ROSTER"):
        load_roster(place / "roster.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed":"7"}', '{"seed":1,"remarks":{"a":"b"}}'])
def test_rehearsals_that_are_none(place, text):
    (place / "rehearsal.json").write_text(text)
    with pytest.raises(Rejected, match="CER-REHEARSAL"):
        Rehearsal.load(place / "rehearsal.json")


def test_a_file_that_is_not_there_is_named(place):
    with pytest.raises(NotFound, match="CER-FILE"):
        load_script(place / "none.json")
    with pytest.raises(NotFound, match="CER-NO-HSM"):
        Desk.open(place / "none", FixedClock(START), UnattendedRoom({}))


def forms(secret: bytes) -> list[bytes]:
    """A secret as it might leak: raw, hex both ways, base64, decimal."""
    return [
        secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret),
        str(int.from_bytes(secret)).encode(), repr(secret).encode(),
    ]  # fmt: skip


def test_no_component_key_share_or_passphrase_is_left_anywhere(place, caplog):
    """A canary: known components through steps, refusals, an abort and a restart; then look everywhere."""
    parts = [
        bytes([n]) + b"canary component of the LMK" + bytes([n]) * 4 for n in (0x31, 0x52, 0x64)
    ]
    key = bytes(a ^ b ^ c for a, b, c in zip(*parts, strict=True))
    city = City(place / "bench")
    room = UnattendedRoom(city.people)
    room._envelopes = {("lmk-1", n): bytearray(part) for n, part in enumerate(parts, 1)}
    city.room = room
    faults = []
    with pytest.raises(CityError) as refused:
        city.console.step({"custodian": "kc1"}, [], bytearray(parts[0]))
    faults.append(repr(refused.value))
    city.hold_all()
    city.work()
    city.hsm.log.close()
    with pytest.raises(CityError, match="HSM-UNLOCK") as refused:
        Desk.open(place / "bench", city.clock, UnattendedRoom({}, shares=shares.split(key, 2, 2)))
    faults.append(repr(refused.value))
    city.restart()
    city.export(place / "bundle")
    secrets = [*parts, key, *UNLOCK]
    seen = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    seen += ["\n".join([*room.shown, *faults, caplog.text, repr(city.hsm), repr(room)]).encode()]
    city.hsm.close()
    assert sum(map(len, seen)) > 20_000
    for secret in secrets:
        for form in forms(secret):
            assert not any(form in data for data in seen)
