"""The 43 attacks of hsm-and-ceremony.md 12.3 on an honest bundle, and a thousand random changes."""

import json
import random
import shutil
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hsm_sim import canonical, note
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.people import Person
from tests.ceremony_bench import City, Tamper

STEP, CLOSE, OPEN, USE = "ceremony.step", "ceremony.close", "ceremony.open", "use"
SIGNED_AGAIN = ("open", STEP, CLOSE)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An honest bundle with its auditor's trust file, and an older one of the same HSM."""
    place = tmp_path_factory.mktemp("honest")
    city = City(place / "hsm")
    city.hold_all()
    city.work()
    early = city.export(place / "early", "aa" * 10)
    city.clock.advance(timedelta(minutes=1))
    city.hsm.usage.count("dlk-01", "40", 1, 0, {"client": "purse", "rc": "00"})
    trust = city.export(place / "bundle")
    city.hsm.close()
    return place, city, trust, early


class Attack(Tamper):
    """A copy of the honest bundle."""

    def __init__(self, made, target):
        place, city, trust, _ = made
        shutil.copytree(place / "bundle", target)
        super().__init__(target, city.people, city.home)
        self.trust, self.place = dict(trust), place

    def codes(self):
        verdict = verifier.verify(self.folder, self.trust)
        return {entry["code"] for entry in verdict.findings}


@pytest.fixture
def attack(made, tmp_path):
    return Attack(made, tmp_path / "bundle")


def test_honest_control(attack):
    assert attack.codes() == set()
    attack.rebuild(SIGNED_AGAIN)
    assert attack.codes() == set()


# Attacker T has the files only.


def edit_attribute(a):
    a.body(STEP, action="combine", cid=2)["args"]["export"] = "E"
    a.write()


def delete_line(a):
    del a.lines[5]
    a.write()


def swap_lines(a):
    a.lines[5], a.lines[6] = a.lines[6], a.lines[5]
    a.write()


def repeat_last_line(a):
    a.write([*a.raw(), a.raw()[-1]])


def cut_tail_to_old_checkpoint(a):
    size = a.index(CLOSE, 1) + 1
    a.write(a.raw()[:size])
    for path in sorted((a.folder / "checkpoints").iterdir()):
        if int(path.read_text("utf-8").split("\n")[1]) > size:
            path.unlink()


def cut_tail(a):
    a.write(a.raw()[:-2])


def indent_line(a):
    raw = a.raw()
    raw[6] = raw[6].replace(b'":', b'": ')
    a.write(raw)


def duplicate_member(a):
    raw = a.raw()
    raw[6] = raw[6].replace(b'{"body"', b'{"v":1,"body"', 1)
    a.write(raw)


def raise_checkpoint_size(a):
    name, size, rest = a.newest().read_text("utf-8").split("\n", 2)
    a.newest().write_text(f"{name}\n{int(size) + 1}\n{rest}", "utf-8")


def sign_with_another_key(a):
    text = note.split(a.newest().read_text("utf-8"))[0]
    other = note.NoteKey(a.key.name, Ed25519PrivateKey.generate())
    a.newest().write_text(other.sign(text), "utf-8")


def add_key_to_directory(a):
    a.write_directory([*a.directory(), {**a.directory()[0], "kid": "dpk-99", "fp": "0" * 32}])


def lower_use_counter(a):
    entries = a.directory()
    entries[0]["uses"] -= 1
    a.write_directory(entries)


def change_script(a):
    path = a.folder / "scripts" / f"{a.body(OPEN, 1)['script']}.json"
    path.write_bytes(path.read_bytes().replace(b'"export":"N"', b'"export":"E"', 1))


def failure_to_success_in_ops(a):
    path = a.folder / "ops" / "1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"rc":"01"', b'"rc":"00"'))


def old_bundle_for_a_new_audit(a):
    a.trust["nonce"] = "ff" * 10


# R has the HSM's signing key and the machine.


def restore_from_backup(a):
    a.trust["last_seen"] = {"size": len(a.lines) + 1, "root": "ab" * 32}


def rewrite_everything(a):
    size = a.index(CLOSE, 1)
    root = verifier.tree_root([verifier.leaf_hash(line) for line in a.raw()[:size]])
    a.trust["last_seen"] = {"size": size, "root": root}
    a.body(STEP, action="combine", cid=1)["result"]["kcv"] = "ABCDEF"
    a.rebuild()


def close_without_auditor(a):
    signatures = a.body(CLOSE, 1)["signatures"]
    signatures[:] = [entry for entry in signatures if entry["role"] != "EA"]
    a.rebuild()


def administrator_counted_twice(a):
    approvals = a.body(STEP, action="activate", cid=2)["approvals"]
    approvals[:] = [approvals[0], {**approvals[0], "role": "IW"}]
    a.rebuild(SIGNED_AGAIN)


def one_custodian_two_components(a):
    body = a.body(STEP, 1, action="component", cid=2)
    body["args"]["custodian"] = "kc1"
    for entry in body["approvals"]:
        entry["id"] = "kc1" if entry["role"] == "KC" else entry["id"]
    a.rebuild(SIGNED_AGAIN)


def custodian_who_was_not_there(a):
    body = a.body(STEP, 1, action="component", cid=2)
    body["args"]["custodian"] = "kc4"
    for entry in body["approvals"]:
        entry["id"] = "kc4" if entry["role"] == "KC" else entry["id"]
    a.rebuild(SIGNED_AGAIN)


def use_before_activation(a):
    place = a.index(STEP, 1, action="activate", cid=2)
    use = a.lines.pop(a.index(USE))
    a.lines.insert(place, use)
    a.rebuild(SIGNED_AGAIN)


def leave_ceremony_open(a):
    del a.lines[a.index(CLOSE, 1)]
    a.rebuild(SIGNED_AGAIN)


def extra_step(a):
    place = a.index(STEP, action="activate", cid=2)
    body = canonical.decode(canonical.encode(a.body(STEP, action="generate")))
    body["args"]["kid"], body["result"]["fp"] = "dlk-02", "0" * 32
    a.insert(place, STEP, body)
    step = 0
    for line in a.lines:
        if line["type"] == STEP and line["body"]["cid"] == 2:
            step += 1
            line["body"]["step"] = step
    close = a.body(CLOSE, 1)
    close["steps"] = step
    close["keys"].append({"fp": "0" * 32, "kcv": body["result"]["kcv"], "kid": "dlk-02"})
    a.write_directory(
        [*a.directory(), {**next(e for e in a.directory() if e["kid"] == "dlk-01"), "kid": "dlk-02",
                          "fp": "0" * 32, "state": "PRE_ACTIVE", "uses": 0}])  # fmt: skip
    a.rebuild(SIGNED_AGAIN)


def exportable_beyond_the_script(a):
    a.body(STEP, action="generate")["args"]["export"] = "E"
    entries = a.directory()
    for entry in entries:
        entry["export"] = "E" if entry["kid"] == "dlk-01" else entry["export"]
    a.write_directory(entries)
    a.rebuild(SIGNED_AGAIN)


def one_value_two_names(a):
    result = a.body(STEP, action="combine", cid=2)["result"]
    a.body(STEP, action="generate")["result"].update(result)
    a.body(CLOSE, 1)["keys"][1].update(result)
    entries = a.directory()
    for entry in entries:
        if entry["kid"] == "dlk-01":
            entry.update(result)
    a.write_directory(entries)
    a.rebuild(SIGNED_AGAIN)


def all_zero_component(a):
    a.body(STEP, 0, action="component", cid=2)["result"]["kcv"] = "8CA64D"
    a.rebuild(SIGNED_AGAIN)


def another_check_value_in_directory(a):
    entries = a.directory()
    entries[0]["kcv"] = "123456"
    a.write_directory(entries)
    a.rebuild()


def exportable_after_the_ceremony(a):
    entries = a.directory()
    entries[0]["export"] = "E"
    a.write_directory(entries)
    a.rebuild()


def drop_key(a):
    a.write_directory([entry for entry in a.directory() if entry["kid"] != "lmk-1"])
    a.rebuild()


def ghost_key(a):
    a.write_directory(
        [*a.directory(), {**a.directory()[0], "kid": "tmk-77", "fp": "1" * 32, "uses": 0}]
    )
    a.rebuild()


def revoked_custodian(a):
    approvals = [
        {"id": who, "role": role, "sig": ""}
        for who, role in (("ca1", "CA"), ("iw1", "IW"), ("ea1", "EA"))
    ]
    a.insert(
        a.index(OPEN, 1), "roster.revoke", {"approvals": approvals, "id": "kc3", "reason": "left"}
    )
    a.rebuild((*SIGNED_AGAIN, "roster.revoke"))


def administrator_revokes_alone(a):
    approvals = [{"id": "ca1", "role": "CA", "sig": ""}]
    a.insert(
        a.index("use.reserve"),
        "roster.revoke",
        {"approvals": approvals, "id": "iw1", "reason": "in the way"},
    )
    a.rebuild(("roster.revoke",))


def cut_link_to_previous_ceremony(a):
    a.body(OPEN, 1)["prev_close"] = "0" * 64
    a.rebuild()


def remove_a_ceremony(a):
    first, last = a.index(OPEN, 0), a.index(CLOSE, 0)
    del a.lines[first : last + 1]
    a.rebuild()


def remove_use_interval(a):
    del a.lines[a.index("use.reserve", 0) : a.index(USE, 0) + 1]
    a.rebuild()


def under_report_uses(a):
    body = a.body(USE, 1)
    body["counts"][0]["ok"] -= 1
    body["ops"] -= 1
    a.rebuild()


def check_value_in_step(a):
    a.body(STEP, action="combine", cid=2)["result"]["kcv"] = "654321"
    a.rebuild()


def check_value_in_close(a):
    a.body(CLOSE, 1)["keys"][0]["kcv"] = "654321"
    a.rebuild()


def copy_approvals(a):
    a.body(STEP, 1, action="activate", cid=2)["approvals"] = a.body(
        STEP, 0, action="activate", cid=2
    )["approvals"]
    a.rebuild()


def clock_back(a):
    a.lines[-1]["ts"] = "2026-02-28T08:00:00.000Z"
    a.rebuild()


def unknown_event(a):
    a.insert(a.index("use.reserve"), "debug.dump", {"note": "x"})
    a.rebuild()


def destroy_outside_a_ceremony(a):
    body = canonical.decode(canonical.encode(a.body(STEP, action="activate", cid=2)))
    body.update(action="destroy", args={"kid": "dpk-01"}, result={"state": "DESTROYED"}, step=8)
    a.insert(a.index(USE, 1) + 1, STEP, body)
    a.rebuild((STEP,))


ATTACKS = [
    (1, edit_attribute, "LOG-CHAIN CHK-ROOT"),
    (2, delete_line, "LOG-SEQ CHK-SIZE"),
    (3, swap_lines, "LOG-SEQ LOG-CHAIN"),
    (4, repeat_last_line, "LOG-SEQ CHK-STALE"),
    (5, cut_tail_to_old_checkpoint, "BND-EXPORT USE-SUM"),
    (6, cut_tail, "CHK-SIZE BND-EXPORT"),
    (7, indent_line, "LOG-CANON LOG-CHAIN"),
    (8, duplicate_member, "LOG-PARSE"),
    (9, raise_checkpoint_size, "CHK-SIG"),
    (10, sign_with_another_key, "CHK-SIG"),
    (11, add_key_to_directory, "KEY-ORIGIN BND-KEYS"),
    (12, lower_use_counter, "USE-SUM BND-KEYS"),
    (13, change_script, "CER-SCRIPT"),
    (14, failure_to_success_in_ops, "USE-OPS"),
    (15, old_bundle_for_a_new_audit, "BND-NONCE"),
    (16, restore_from_backup, "CHK-ROLLBACK"),
    (17, rewrite_everything, "CHK-FORK QUO-SIG"),
    (18, close_without_auditor, "QUO-COUNT"),
    (19, administrator_counted_twice, "QUO-DUP QUO-COUNT"),
    (20, one_custodian_two_components, "QUO-DUP"),
    (21, custodian_who_was_not_there, "QUO-ABSENT"),
    (22, use_before_activation, "KEY-STATE"),
    (23, leave_ceremony_open, "CER-OPEN"),
    (24, extra_step, "CER-STEP"),
    (25, exportable_beyond_the_script, "CER-STEP"),
    (26, one_value_two_names, "KEY-DUP"),
    (27, all_zero_component, "KCV-WEAK"),
    (28, another_check_value_in_directory, "KCV-DIR"),
    (29, exportable_after_the_ceremony, "KEY-ATTR"),
    (30, drop_key, "KEY-LOST"),
    (31, ghost_key, "KEY-ORIGIN"),
    (32, revoked_custodian, "QUO-REVOKED"),
    (33, administrator_revokes_alone, "QUO-COUNT"),
    (34, cut_link_to_previous_ceremony, "CER-PREV QUO-SIG"),
    (35, remove_a_ceremony, "CER-NUM CER-PREV KEY-ORIGIN"),
    (36, remove_use_interval, "USE-GAP USE-SUM"),
    (37, under_report_uses, "USE-SUM"),
    (38, check_value_in_step, "KCV-CLOSE KCV-DIR QUO-SIG"),
    (39, check_value_in_close, "KCV-CLOSE QUO-SIG"),
    (40, copy_approvals, "QUO-SIG"),
    (41, clock_back, "LOG-TIME"),
    (42, unknown_event, "LOG-TYPE"),
    (43, destroy_outside_a_ceremony, "CER-STEP"),
]


@pytest.mark.parametrize(
    ("tamper", "codes"), [pytest.param(t, c, id=f"{n:02d}-{t.__name__}") for n, t, c in ATTACKS]
)
def test_attack(attack, tamper, codes):
    tamper(attack)
    assert set(codes.split()) <= attack.codes()


# What the rules say beyond the numbered attacks.


def exception_excuses_a_step(a):
    place = a.index(STEP, 1, action="activate", cid=2)
    body = a.lines[place]["body"]
    body["args"]["kid"] = "dpk-01"
    excuse = {
        "approvals": [{"id": "iw1", "role": "IW", "sig": ""}],
        "cid": 2,
        "step": body["step"],
        "text": "typo",
    }
    a.insert(place, "ceremony.exception", excuse)
    a.body(CLOSE, 1)["status"] = "aborted"
    a.rebuild((*SIGNED_AGAIN, "ceremony.exception"))


def test_a_witnessed_exception_turns_an_unscripted_step_into_a_warning(attack):
    exception_excuses_a_step(attack)
    verdict = verifier.verify(attack.folder, attack.trust)
    assert "CER-STEP" not in {entry["code"] for entry in verdict.findings}
    assert [entry["code"] for entry in verdict.warnings] == ["CER-STEP"]


def second_genesis(a):
    a.insert(a.index("use.reserve"), "log.genesis", a.lines[0]["body"])
    a.rebuild()


def other_hsm_key(a):
    a.trust["vkey"] = note.NoteKey(a.key.name, Ed25519PrivateKey.generate()).vkey


def other_genesis(a):
    a.trust["genesis"] = "ab" * 32


def broken_checkpoint(a):
    a.newest().write_text("not a note\n")


def checkpoint_of_another_name(a):
    text = note.split(a.newest().read_text("utf-8"))[0].replace(a.key.name, "other.example", 1)
    a.newest().write_text(a.key.sign(text), "utf-8")


def fewer_components(a):
    place = a.index(STEP, 2, action="component", cid=2)
    del a.lines[place]
    a.rebuild(SIGNED_AGAIN)


def role_not_theirs(a):
    a.body(OPEN, 1)["attend"][1]["role"] = "CA"
    a.rebuild(SIGNED_AGAIN)


def component_without_its_custodian(a):
    a.body(STEP, 0, action="component", cid=2)["args"]["custodian"] = "kc2"
    a.rebuild(SIGNED_AGAIN)


def twin_in_the_roster(a):
    person = Person.of("kc9", "KC", "city.example", a.people["kc1"].secret).entry()
    approvals = [
        {"id": who, "role": role, "sig": ""}
        for who, role in (("ca1", "CA"), ("iw1", "IW"), ("ea1", "EA"))
    ]
    a.insert(a.index(OPEN, 1), "roster.add", {"approvals": approvals, **person})
    a.rebuild((*SIGNED_AGAIN, "roster.add"))


def unknown_member(a):
    a.body("boot")["extra"] = 1
    a.rebuild()


def development_mode(a):
    a.insert(a.index("use.reserve"), "config", {"dev": True, "sha256": "0" * 64})
    a.rebuild()


def made_with_a_deactivated_key(a):
    a.insert(a.index("use.reserve"), "key.expire", {"kid": "dlk-01", "reason": "end date"})
    for count in [c for line in a.lines if line["type"] == USE for c in line["body"]["counts"]]:
        count["cmd"] = "46" if count["kid"] == "dlk-01" else count["cmd"]
    first = a.index("use.reserve")
    a.insert(first, USE, {"counts": [], "interval": 1, "ops": 0, "ops_sha256": "0" * 64})
    a.rebuild()


def strange_cosigner(a):
    text = note.split(a.newest().read_text("utf-8"))[0]
    other = note.NoteKey("nobody.example", Ed25519PrivateKey.generate())
    a.newest().write_text(a.newest().read_text("utf-8") + other.line(text), "utf-8")


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (second_genesis, "TRU-GENESIS"),
        (other_genesis, "TRU-GENESIS"),
        (other_hsm_key, "TRU-KEY"),
        (broken_checkpoint, "CHK-FORM"),
        (checkpoint_of_another_name, "CHK-ORIGIN"),
        (strange_cosigner, "CHK-SIG"),
        (fewer_components, "CER-COMP"),
        (role_not_theirs, "QUO-ROLE"),
        (component_without_its_custodian, "QUO-CUSTODIAN"),
        (twin_in_the_roster, "QUO-DUP"),
        (unknown_member, "LOG-TYPE"),
        (development_mode, "DEV-MODE"),
        (made_with_a_deactivated_key, "KEY-STATE"),
    ],
)
def test_further_tampering(attack, tamper, code):
    tamper(attack)
    assert code in attack.codes()


def test_a_roster_auditors_cosignature_is_welcome(attack):
    text = note.split(attack.newest().read_text("utf-8"))[0]
    line = attack.people["ea1"].key.line(text)
    attack.newest().write_text(attack.newest().read_text("utf-8") + line, "utf-8")
    assert attack.codes() == set()


def changed(data: bytes, dice: random.Random) -> bytes:
    """One byte replaced, dropped or added."""
    place = dice.randrange(len(data))
    kind = dice.randrange(4)
    if kind == 0:
        return data[:place] + data[place + 1 :]
    if kind == 1:
        return data[:place] + bytes([dice.randrange(256)]) + data[place:]
    other = data[place] ^ (1 << dice.randrange(8) if kind == 2 else dice.randrange(1, 256))
    return data[:place] + bytes([other]) + data[place + 1 :]


def missed_changes(attack, seed: int, count: int) -> list[tuple[str, int]]:
    """Random one-byte changes anywhere in the bundle that the verifier did not see."""
    dice = random.Random(seed)
    paths = sorted(path for path in attack.folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in paths]
    missed = []
    for number in range(count):
        path = dice.choices(paths, sizes)[0] if number % 2 else dice.choice(paths)
        data = path.read_bytes()
        fresh = changed(data, dice)
        path.write_bytes(fresh)
        if fresh != data and not attack.codes():
            missed.append((path.name, number))
        path.write_bytes(data)
    assert attack.codes() == set()
    return missed


def test_one_byte_changes_are_all_found(attack):
    assert missed_changes(attack, 7, 60) == []


@pytest.mark.slow
def test_a_thousand_one_byte_changes_are_all_found(attack):
    assert missed_changes(attack, 20261123, 1000) == []


@pytest.mark.slow
def test_lines_deleted_and_swapped_at_random_are_found(attack):
    dice = random.Random(1)
    raw = attack.raw()
    for number in range(100):
        lines = list(raw)
        one, two = dice.sample(range(len(lines)), 2)
        if number % 2:
            del lines[one]
        else:
            lines[one], lines[two] = lines[two], lines[one]
        attack.write(lines)
        assert attack.codes()


STRANGE = (
    None, True, False, 0, 1, -1, 2**53, 2**60, 1.5, "", "x", "kc1", "lmk-1", "\u001b[2J", "ab" * 32, [], [[]],
    [None], {}, {"kid": "x"}, {"x": {}}, "A" * 88, "e\u0301", "\ud800",
)  # fmt: skip


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else ()
    for name, member in enumerate(value) if isinstance(value, list) else inside:
        yield from places(member, (*path, name))


def put_strange(line, dice: random.Random) -> None:
    """Replace, drop or repeat something somewhere in a line."""
    path = dice.choice([path for path in places(line) if path])
    holder = line
    for name in path[:-1]:
        holder = holder[name]
    kind = dice.randrange(6)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[path[-1]])
    elif kind == 1:
        holder["more"] = dice.choice(STRANGE)
    else:
        holder[path[-1]] = dice.choice(STRANGE)


def strange_values(made, folder, seed: int, count: int) -> None:
    """R puts strange values anywhere and chains and signs anew: findings, and never a crash."""
    dice = random.Random(seed)
    for number in range(count):
        attack = Attack(made, folder / str(number))
        before = attack.raw()
        for _ in range(dice.randrange(1, 4)):
            put_strange(dice.choice(attack.lines), dice)
        attack.chain([loose(line) for line in attack.lines])
        assert attack.codes() or attack.raw() == before, number
        shutil.rmtree(attack.folder)


def loose(line) -> bytes:
    """JSON text of anything, canonical or not."""
    return json.dumps(line, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def test_strange_values_are_findings_and_never_a_crash(made, tmp_path):
    strange_values(made, tmp_path, 4, 15)


@pytest.mark.slow
def test_five_hundred_strange_values(made, tmp_path):
    strange_values(made, tmp_path, 5, 500)
