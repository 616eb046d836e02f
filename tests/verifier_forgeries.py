"""What a forger could try beyond the 43 numbered attacks: for every rule of 12.2 something only that rule stops.

Where a forger is said to collude, the people named sign again; otherwise only the HSM's key signs.
"""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hsm_sim import canonical, note
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.people import Person
from tests.verifier_attacks import CLOSE, OPEN, SIGNED_AGAIN, STEP


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


def strange_cosigner(a):
    text = note.split(a.newest().read_text("utf-8"))[0]
    other = note.NoteKey("nobody.example", Ed25519PrivateKey.generate())
    a.newest().write_text(a.newest().read_text("utf-8") + other.line(text), "utf-8")


# Walking and witnessing.


def excused_only_afterwards(a):
    place = a.index(STEP, 1, action="activate", cid=2)
    step = a.lines[place]["body"]["step"]
    a.lines[place]["body"]["args"]["kid"] = "dpk-01"
    approvals = [{"id": "iw1", "role": "IW", "sig": ""}]
    excuse = {"approvals": approvals, "cid": 2, "step": step, "text": "it went wrong"}
    a.insert(place + 1, "ceremony.exception", excuse)
    a.rebuild((*SIGNED_AGAIN, "ceremony.exception"))


def excused_by_the_administrator(a):
    exception_excuses_a_step(a)
    body = a.body("ceremony.exception")
    body["approvals"] = [{"id": "ca1", "role": "CA", "sig": ""}]
    a.rebuild((*SIGNED_AGAIN, "ceremony.exception"))


def opened_twice(a):
    place = a.index(OPEN, 1)
    a.lines.insert(place, canonical.decode(canonical.encode(a.lines[place])))
    a.rebuild(SIGNED_AGAIN)


def closed_twice(a):
    place = a.index(CLOSE, 1)
    a.lines.insert(place, canonical.decode(canonical.encode(a.lines[place])))
    a.rebuild(SIGNED_AGAIN)


def step_number_skipped(a):
    a.body(STEP, 1, action="activate", cid=2)["step"] += 1
    a.rebuild(SIGNED_AGAIN)


def fewer_steps_read_out(a):
    a.body(CLOSE, 1)["steps"] -= 1
    a.rebuild(SIGNED_AGAIN)


def complete_before_the_end(a):
    del a.lines[a.index(STEP, 1, action="activate", cid=2)]
    a.body(CLOSE, 1)["steps"] -= 1
    a.rebuild(SIGNED_AGAIN)


def script_of_another_kind(a):
    a.body(OPEN, 1)["kind"] = "drill"
    a.rebuild(SIGNED_AGAIN)


def script_nobody_names(a):
    (a.folder / "scripts" / f"{'0' * 64}.json").write_bytes(b"{}")


def component_number_twice(a):
    a.body(STEP, 1, action="component", cid=2)["args"]["n"] = 1
    a.rebuild(SIGNED_AGAIN)


def fewer_components_than_the_policy(a):
    a.lines[0]["body"]["policy"]["min_components"] = 4
    a.rebuild(SIGNED_AGAIN)
    a.trust["genesis"] = verifier.leaf_hash(a.raw()[0])


# People and signatures.


def action_without_a_quorum(a):
    del a.lines[0]["body"]["policy"]["quorum"]["generate"]
    a.rebuild(SIGNED_AGAIN)
    a.trust["genesis"] = verifier.leaf_hash(a.raw()[0])


def enrol(a, entry, again=("roster.add",)):
    names = (("ca1", "CA"), ("iw1", "IW"), ("ea1", "EA"))
    approvals = [{"id": who, "role": role, "sig": ""} for who, role in names]
    a.insert(a.index(OPEN, 1), "roster.add", {"approvals": approvals, **entry})
    a.rebuild((*SIGNED_AGAIN, *again))


def hsm_as_a_person(a):
    enrol(a, {"id": "kc9", "role": "KC", "vkey": a.key.vkey})


def enrolled_twice(a):
    fresh = Person.of("kc1", "KC", "city.example", Ed25519PrivateKey.generate())
    enrol(a, fresh.entry())


def key_of_small_order(a):
    """With the neutral point as key, R = s*B for any message: OpenSSL would take it."""
    public = (1).to_bytes(32, "little")
    vkey = f"city.example/kc9+{note.key_id('city.example/kc9', public).hex()}+"
    vkey += base64.b64encode(note.ED25519 + public).decode()
    enrol(a, {"id": "kc9", "role": "KC", "vkey": vkey})
    a.body(OPEN, 1)["attend"].append({"id": "kc9", "role": "KC"})
    signature = base64.b64encode(public + bytes(32)).decode()
    a.body(STEP, 0, action="generate")["approvals"].append(
        {"id": "kc9", "role": "KC", "sig": signature}
    )
    a.rebuild((*SIGNED_AGAIN, "roster.add"))


def first_signature_changed(a, change):
    entry = a.body(CLOSE, 1)["signatures"][0]
    entry["sig"] = change(entry["sig"])
    a.rebuild()


def scalar_beyond_the_order(a):
    def change(text):
        data = base64.b64decode(text)
        scalar = int.from_bytes(data[32:], "little") + verifier.L
        return base64.b64encode(data[:32] + scalar.to_bytes(32, "little")).decode()

    first_signature_changed(a, change)


def signature_with_a_space(a):
    first_signature_changed(a, lambda text: text[:40] + " " + text[40:])


def signed_over_nothing(a):
    first_signature_changed(a, lambda text: "")


def attends_twice(a):
    attend = a.body(OPEN, 1)["attend"]
    attend.append(dict(attend[0]))
    a.rebuild(SIGNED_AGAIN)


def stranger_attends(a):
    a.body(OPEN, 1)["attend"].append({"id": "nobody", "role": "IW"})
    a.rebuild(SIGNED_AGAIN)


def auditor_left_out_of_an_enrolment(a):
    fresh = Person.of("kc9", "KC", "city.example", Ed25519PrivateKey.generate())
    approvals = [
        {"id": who, "role": role, "sig": ""} for who, role in (("ca1", "CA"), ("iw1", "IW"))
    ]
    a.insert(a.index(OPEN, 1), "roster.add", {"approvals": approvals, **fresh.entry()})
    a.rebuild((*SIGNED_AGAIN, "roster.add"))


# Checkpoints.


def resigned(a, *lines):
    text = note.split(a.newest().read_text("utf-8"))[0]
    a.newest().write_text(f"{text}\n" + "".join(line(text) for line in lines), "utf-8")


def hsm_signed_twice(a):
    resigned(a, a.key.line, a.key.line)


def auditor_instead_of_the_hsm(a):
    resigned(a, a.people["ea1"].key.line)


def administrator_as_cosigner(a):
    resigned(a, a.key.line, a.people["ca1"].key.line)


def checkpoint_of_a_shorter_log_only(a):
    a.newest().unlink()


def checkpoint_of_another_root(a):
    text = note.Checkpoint(a.key.name, 3, bytes(32)).text()
    (a.folder / "checkpoints" / "000.txt").write_text(a.key.sign(text), "utf-8")


def checkpoint_with_a_fourth_line(a):
    text = note.split(a.newest().read_text("utf-8"))[0] + "more\n"
    a.newest().write_text(a.key.sign(text), "utf-8")


# The log itself, and what the auditor brings.


def format_of_tomorrow(a):
    a.lines[0]["body"]["format"] = 2
    a.rebuild()


def version_of_tomorrow(a):
    a.lines[5]["v"] = 2
    a.rebuild()


def time_in_another_form(a):
    a.lines[-1]["ts"] = "2026-03-01 23:00:00"
    a.rebuild()


def time_of_no_day(a):
    a.lines[-1]["ts"] = "2026-04-31T08:00:00.000Z"
    a.rebuild()


def no_line_feed_at_the_end(a):
    path = a.folder / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-1])


def hsm_of_another_name(a):
    a.lines[0]["body"]["hsm"] = "other.example"
    a.rebuild()


def development_firmware(a):
    a.body("boot")["firmware"] = "0001-DEV0"
    a.rebuild()


def directory_out_of_order(a):
    (a.folder / "keys.json").write_bytes(canonical.encode(a.directory()[::-1]))
    a.rebuild()


def forked_before_the_memory(a):
    a.trust["last_seen"] = {"size": 5, "root": "ab" * 32}


def exported_for_somebody_else(a):
    a.lines[-1]["body"]["nonce"] = "bb" * 10
    a.rebuild()


def line_after_the_export(a):
    a.insert(len(a.lines), "shutdown", {"clean": True, "firmware": "0001-SIM0"})
    a.rebuild()


FORGERIES = [
    (second_genesis, "TRU-GENESIS"),
    (other_genesis, "TRU-GENESIS"),
    (other_hsm_key, "TRU-KEY"),
    (hsm_of_another_name, "TRU-KEY"),
    (broken_checkpoint, "CHK-FORM"),
    (checkpoint_with_a_fourth_line, "CHK-FORM"),
    (checkpoint_of_another_name, "CHK-ORIGIN"),
    (strange_cosigner, "CHK-SIG"),
    (administrator_as_cosigner, "CHK-SIG"),
    (hsm_signed_twice, "CHK-SIG"),
    (auditor_instead_of_the_hsm, "CHK-SIG CHK-STALE"),
    (checkpoint_of_a_shorter_log_only, "CHK-STALE"),
    (checkpoint_of_another_root, "CHK-ROOT"),
    (forked_before_the_memory, "CHK-FORK"),
    (opened_twice, "CER-OPEN CER-NUM"),
    (closed_twice, "CER-OPEN"),
    (script_of_another_kind, "CER-SCRIPT"),
    (script_nobody_names, "CER-SCRIPT"),
    (excused_only_afterwards, "CER-STEP"),
    (step_number_skipped, "CER-STEP"),
    (fewer_steps_read_out, "CER-STEP"),
    (complete_before_the_end, "CER-STEP"),
    (fewer_components, "CER-COMP"),
    (component_number_twice, "CER-COMP"),
    (fewer_components_than_the_policy, "CER-COMP"),
    (role_not_theirs, "QUO-ROLE"),
    (stranger_attends, "QUO-ROLE"),
    (excused_by_the_administrator, "QUO-COUNT"),
    (action_without_a_quorum, "QUO-COUNT"),
    (auditor_left_out_of_an_enrolment, "QUO-COUNT"),
    (key_of_small_order, "QUO-SIG"),
    (scalar_beyond_the_order, "QUO-SIG"),
    (signature_with_a_space, "QUO-SIG"),
    (signed_over_nothing, "QUO-SIG"),
    (attends_twice, "QUO-DUP"),
    (twin_in_the_roster, "QUO-DUP"),
    (enrolled_twice, "QUO-DUP"),
    (hsm_as_a_person, "QUO-DUP"),
    (component_without_its_custodian, "QUO-CUSTODIAN"),
    (development_mode, "DEV-MODE"),
    (development_firmware, "DEV-MODE"),
    (line_after_the_export, "BND-EXPORT"),
    (exported_for_somebody_else, "BND-NONCE"),
    (directory_out_of_order, "BND-KEYS"),
    (unknown_member, "LOG-TYPE"),
    (format_of_tomorrow, "LOG-TYPE"),
    (version_of_tomorrow, "LOG-TYPE"),
    (time_in_another_form, "LOG-TIME"),
    (time_of_no_day, "LOG-TIME"),
    (no_line_feed_at_the_end, "LOG-PARSE"),
]
