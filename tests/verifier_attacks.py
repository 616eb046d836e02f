"""The 43 attacks of hsm-and-ceremony.md 12.3 on an honest bundle, each with the codes that must fire.

Each is a function of a `tests.ceremony_bench.Attack`: a copy of the bundle opened for tampering.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hsm_sim import canonical, note
from hsm_sim.ceremony import verifier

STEP, CLOSE, OPEN, USE = "ceremony.step", "ceremony.close", "ceremony.open", "use"
SIGNED_AGAIN = ("open", STEP, CLOSE)

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
