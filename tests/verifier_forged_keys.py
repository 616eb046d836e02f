"""Forgeries of keys, check values and use counters: the second half of `tests.verifier_forgeries`."""

import hashlib

from hsm_sim import canonical
from hsm_sim.ceremony import verifier
from tests.verifier_attacks import CLOSE, OPEN, SIGNED_AGAIN, STEP, USE


def made_with_a_deactivated_key(a):
    a.insert(a.index("use.reserve"), "key.expire", {"kid": "dlk-01", "reason": "end date"})
    for count in [c for line in a.lines if line["type"] == USE for c in line["body"]["counts"]]:
        count["cmd"] = "46" if count["kid"] == "dlk-01" else count["cmd"]
    first = a.index("use.reserve")
    a.insert(first, USE, {"counts": [], "interval": 1, "ops": 0, "ops_sha256": "0" * 64})
    a.rebuild()


def entry_changed(a, kid, **members):
    entries = a.directory()
    next(entry for entry in entries if entry["kid"] == kid).update(members)
    a.write_directory(entries)
    a.rebuild(SIGNED_AGAIN)


def exported_before_activation(a):
    event = {"client": "issue", "kcv": "ABCDEF", "kid": "dpk-01", "method": "14", "under": "zmk"}
    a.insert(a.index(STEP, 0, action="activate", cid=2), "export", event)
    a.rebuild(SIGNED_AGAIN)


def step_appended(a, action, args, result):
    body = canonical.decode(canonical.encode(a.body(STEP, 0, action="generate")))
    body.update(action=action, args=args, result=result, step=8)
    a.insert(a.index(CLOSE, 1), STEP, body)
    a.rebuild(SIGNED_AGAIN)


def exported_though_not_exportable(a):
    step_appended(a, "export", {"kid": "dlk-01", "under": "dpk-01"}, {"kcv": "ABCDEF"})


def exported_under_a_ghost(a):
    step_appended(a, "export", {"kid": "dlk-01", "under": "zmk-99"}, {"kcv": "ABCDEF"})


def batch_of_a_ghost(a):
    terms = {
        "batch": "b",
        "cards": 1,
        "expires": "2027-01-01",
        "masters": ["dpk-99"],
        "methods": ["R"],
    }
    step_appended(a, "batch-open", terms, {"batch": "b"})


def imported_with_another_value(a):
    born = {
        "alg": "T2",
        "export": "N",
        "kid": "new-01",
        "mode": "X",
        "usage": "10",
        "version": "01",
    }
    args = {**born, "kcv": "000001", "under": "dpk-01"}
    step_appended(a, "import", args, {"fp": "1" * 32, "kcv": "000002"})


def activated_twice(a):
    place = a.index(STEP, 0, action="activate", cid=2)
    a.body(STEP, 1, action="activate", cid=2)["args"] = a.lines[place]["body"]["args"]
    a.rebuild(SIGNED_AGAIN)


def other_state_in_directory(a):
    entry_changed(a, "dlk-01", state="SUSPENDED")


def used_while_suspended(a):
    place = a.index("use.reserve", 1)
    a.insert(place, "key.suspend", {"kid": "dlk-01", "reason": "suspicion"})
    entry_changed(a, "dlk-01", state="SUSPENDED")


def dated(a, **days):
    a.body(STEP, action="generate")["args"].update(days)
    for count in [c for line in a.lines if line["type"] == USE for c in line["body"]["counts"]]:
        count["cmd"] = "14" if count["kid"] == "dlk-01" else count["cmd"]
    entry_changed(a, "dlk-01", **days)


def used_after_its_last_day(a):
    dated(a, until="2026-02-28")


def exported_after_its_last_day(a):
    dated(a, until="2026-03-01")
    event = {"client": "issue", "kcv": "ABCDEF", "kid": "dlk-01", "method": "14", "under": "zmk"}
    a.insert(len(a.lines) - 1, "export", event)
    for line in a.lines[-2:]:
        line["ts"] = "2026-03-01T16:00:00.000Z"  # midnight in Shanghai
    a.rebuild(SIGNED_AGAIN)


def used_before_its_first_day(a):
    dated(a, **{"from": "2026-03-02"})


def other_dates_in_directory(a):
    entry_changed(a, "dlk-01", until="2030-01-01")


def ceremony_of_another_number_in_directory(a):
    entry_changed(a, "dlk-01", cid=1)


def listed_twice(a):
    a.write_directory([*a.directory(), a.directory()[0]])
    a.rebuild()


def component_equals_the_key(a):
    kcv = a.body(STEP, action="combine", cid=2)["result"]["kcv"]
    a.body(STEP, 0, action="component", cid=2)["result"]["kcv"] = kcv
    a.rebuild(SIGNED_AGAIN)


def other_fingerprint_in_directory(a):
    entry_changed(a, "dlk-01", fp="2" * 32)


# Use.


def use_without_reserve(a):
    del a.lines[a.index("use.reserve", 1)]
    a.rebuild()


def reserved_twice(a):
    place = a.index("use.reserve", 1)
    a.insert(place, "use.reserve", a.lines[place]["body"])
    a.rebuild()


def interval_never_closed(a):
    a.insert(len(a.lines) - 1, "use.reserve", {"interval": 4, "limit": 10})
    a.rebuild()


def crashed_in_the_last_interval(a, body):
    place = a.index("use.reserve", 2)
    a.body(USE, 2)
    uses = sum(c["ok"] + c["fail"] for c in a.lines[place + 1]["body"]["counts"])
    a.lines[place + 1].update(type="boot", body=body)
    (a.folder / "ops" / "3.jsonl").unlink()
    entries = a.directory()
    next(entry for entry in entries if entry["kid"] == "dlk-01")["uses"] -= uses
    a.write_directory(entries)
    a.rebuild()


def crash_not_owned_up_to(a):
    crashed_in_the_last_interval(a, {"clean": False, "firmware": "0001-SIM0"})


def smaller_bound_after_a_crash(a):
    crashed_in_the_last_interval(a, {"clean": False, "firmware": "0001-SIM0", "unaccounted": 9})


def more_used_than_reserved(a):
    a.body("use.reserve", 1)["limit"] = 1
    a.rebuild()


def total_of_an_interval(a):
    a.body(USE, 0)["ops"] += 1
    a.rebuild()


def ops_rewritten(a, change):
    path = a.folder / "ops" / "1.jsonl"
    path.write_bytes(change(path.read_bytes()))
    a.body(USE, 0)["ops_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    a.rebuild()


def command_counted_as_another(a):
    ops_rewritten(a, lambda data: data.replace(b'"cmd":"40"', b'"cmd":"42"'))


def operation_without_a_number(a):
    ops_rewritten(a, lambda data: data + b'{"cmd":"42","kid":"dpk-01","rc":"00"}\n')


def operations_renumbered(a):
    ops_rewritten(a, lambda data: data.replace(b'"n":1,', b'"n":9,'))


def ops_file_nobody_counted(a):
    (a.folder / "ops" / "9.jsonl").write_bytes(b"")


def one_ops_file_missing(a):
    (a.folder / "ops" / "2.jsonl").unlink()


def rescripted(a, cid, open_on_the_day=("custodian",)):
    """Make the script again from the steps as they are now, as if it had been so from the beginning."""
    opened = a.body(OPEN, cid=cid)
    steps = [
        line["body"] for line in a.lines if line["type"] == STEP and line["body"]["cid"] == cid
    ]
    plan = [
        {
            "action": step["action"],
            "args": {
                name: said for name, said in step["args"].items() if name not in open_on_the_day
            },
        }
        for step in steps
    ]
    text = canonical.encode({"cid": cid, "kind": opened["kind"], "plan": plan})
    (a.folder / "scripts" / f"{opened['script']}.json").unlink()
    opened["script"] = hashlib.sha256(text).hexdigest()
    (a.folder / "scripts" / f"{opened['script']}.json").write_bytes(text)
    a.rebuild(SIGNED_AGAIN)


def fair_days_and_a_crash(a):
    """No forgery: a key with days that was used within them, and a crash that is owned up to."""
    a.body(STEP, action="generate")["args"].update({"from": "2026-03-01", "until": "2026-03-01"})
    rescripted(a, 2)
    entry_changed(a, "dlk-01", **{"from": "2026-03-01", "until": "2026-03-01"})
    crashed_in_the_last_interval(
        a, {"clean": False, "firmware": "0001-SIM0", "unaccounted": 10_000}
    )
    a.rebuild(SIGNED_AGAIN)


def fair_reading_with_an_old_key(a):
    """No forgery: a key past its last day, deactivated, still verifies."""
    a.body(STEP, action="combine", cid=2)["args"]["until"] = "2026-02-28"
    rescripted(a, 2)
    a.insert(a.index("use.reserve"), "key.expire", {"kid": "dpk-01", "reason": "2026-02-28"})
    a.rebuild(SIGNED_AGAIN)
    for kid, days in (("dpk-01", {"until": "2026-02-28", "state": "DEACTIVATED"}),):
        entry_changed(a, kid, **days)


def fair_exception(a):
    """No forgery: a batch off the script, after the witness's exception."""
    place = a.index(STEP, 1, action="activate", cid=2)
    body = canonical.decode(canonical.encode(a.lines[place]["body"]))
    terms = {
        "batch": "b",
        "cards": 1,
        "expires": "2027-01-01",
        "masters": ["dpk-01"],
        "methods": ["R"],
    }
    body.update(action="batch-open", args=terms, result={"batch": "b"})
    a.lines[place]["body"]["step"] += 1
    a.body(CLOSE, 1)["steps"] += 1
    a.insert(place, STEP, body)
    approvals = [{"id": "iw1", "role": "IW", "sig": ""}]
    excuse = {"approvals": approvals, "cid": 2, "step": body["step"], "text": "a batch is needed"}
    a.insert(place, "ceremony.exception", excuse)
    a.rebuild((*SIGNED_AGAIN, "ceremony.exception"))


def fair_cosignature(a):
    """No forgery: the auditor of the roster signed the newest checkpoint too."""
    text, gap, rest = a.newest().read_text("utf-8").partition("\n\n")
    a.newest().write_text(text + gap + rest + a.people["ea1"].key.line(text + "\n"), "utf-8")


def fair_memory(a):
    """No forgery: the auditor remembers the beginning of this very log."""
    root = verifier.tree_root([verifier.leaf_hash(line) for line in a.raw()[:5]])
    a.trust["last_seen"] = {"size": 5, "root": root}


FAIR = [
    fair_days_and_a_crash,
    fair_reading_with_an_old_key,
    fair_exception,
    fair_cosignature,
    fair_memory,
]
KEY_FORGERIES = [
    (exported_under_a_ghost, "KEY-ORIGIN"),
    (batch_of_a_ghost, "KEY-ORIGIN"),
    (other_dates_in_directory, "KEY-ATTR"),
    (ceremony_of_another_number_in_directory, "KEY-ATTR"),
    (exported_though_not_exportable, "KEY-ATTR KCV-DIR"),
    (made_with_a_deactivated_key, "KEY-STATE"),
    (exported_before_activation, "KEY-STATE"),
    (activated_twice, "KEY-STATE"),
    (other_state_in_directory, "KEY-STATE"),
    (used_while_suspended, "KEY-STATE"),
    (used_after_its_last_day, "KEY-STATE"),
    (exported_after_its_last_day, "KEY-STATE"),
    (used_before_its_first_day, "KEY-STATE"),
    (listed_twice, "KEY-DUP"),
    (imported_with_another_value, "KCV-CLOSE"),
    (other_fingerprint_in_directory, "KCV-DIR"),
    (component_equals_the_key, "KCV-WEAK"),
    (use_without_reserve, "USE-GAP"),
    (reserved_twice, "USE-GAP"),
    (interval_never_closed, "USE-GAP"),
    (crash_not_owned_up_to, "USE-GAP"),
    (smaller_bound_after_a_crash, "USE-GAP"),
    (more_used_than_reserved, "USE-SUM"),
    (total_of_an_interval, "USE-SUM"),
    (command_counted_as_another, "USE-SUM"),
    (operation_without_a_number, "USE-OPS"),
    (operations_renumbered, "USE-OPS"),
    (ops_file_nobody_counted, "USE-OPS"),
    (one_ops_file_missing, "USE-OPS"),
]
