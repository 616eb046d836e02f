"""Bundles one rule away from another verdict: fair ones, and forgeries that a weaker verifier lets pass."""

import hashlib

from hsm_sim import canonical, note
from hsm_sim.ceremony import verifier
from tests.verifier_attacks import CLOSE, OPEN, SIGNED_AGAIN, STEP, USE
from tests.verifier_forged_keys import (
    entry_changed,
    fair_exception,
    made_with_a_deactivated_key,
    rescripted,
    step_appended,
)

WITNESSED = (*SIGNED_AGAIN, "ceremony.exception")


def key_made(a, kid, **members):
    """One more key of ceremony 2, generated before the others are activated and read out at the close."""
    place = a.index(STEP, 0, action="activate", cid=2)
    body = canonical.decode(canonical.encode(a.body(STEP, action="generate")))
    body["args"].update(kid=kid, **members)
    body["result"] = {"fp": hashlib.sha256(kid.encode()).hexdigest()[:32], "kcv": "0A0B0C"}
    a.insert(place, STEP, body)
    a.body(CLOSE, 1)["keys"].append({"kid": kid, **body["result"]})
    return {**body["args"], **body["result"], "cid": 2, "uses": 0}


def step_after(a, action, kid):
    """A step of ceremony 2 behind its last one."""
    place = a.index(CLOSE, 1)
    body = canonical.decode(canonical.encode(a.body(STEP, action="generate")))
    body.update(action=action, args={"kid": kid}, result={})
    a.insert(place, STEP, body)


def renumbered(a, cid=2):
    """Number the steps of a ceremony again and make its script of them."""
    steps = [x["body"] for x in a.lines if x["type"] == STEP and x["body"]["cid"] == cid]
    for number, body in enumerate(steps, 1):
        body["step"] = number
    a.body(CLOSE, cid=cid)["steps"] = len(steps)
    rescripted(a, cid)


def fair_destroyed_key(a):
    """No forgery: a key that was destroyed need not be listed."""
    key_made(a, "old-01")
    step_after(a, "destroy", "old-01")
    renumbered(a)


def fair_aborted_ceremony(a):
    """No forgery: a ceremony that was broken off before its first step."""
    place = a.index(CLOSE, 1) + 1
    plan = [{"action": "activate", "args": {"kid": "dlk-01"}}]
    text = canonical.encode({"cid": 3, "kind": "key-load", "plan": plan})
    name = hashlib.sha256(text).hexdigest()
    (a.folder / "scripts" / f"{name}.json").write_bytes(text)
    close = {**a.body(CLOSE, 1), "cid": 3, "keys": [], "status": "aborted", "steps": 0}
    opened = {**a.body(OPEN, 1), "cid": 3, "kind": "key-load", "script": name}
    a.insert(place, CLOSE, close)
    a.insert(place, OPEN, opened)
    a.rebuild(SIGNED_AGAIN)


def fair_export_of_an_exportable_key(a):
    """No forgery: a key that may leave left, in force."""
    entry = key_made(a, "zmk-01", export="E")
    step_after(a, "activate", "zmk-01")
    step_after(a, "export", "zmk-01")
    a.body(STEP, -1, cid=2).update(
        args={"kid": "zmk-01", "under": "dpk-01"}, result={"kcv": "0A0B0C"}
    )
    renumbered(a)
    a.write_directory([*a.directory(), {**entry, "state": "ACTIVE"}])
    sent = {"client": "issue", "kcv": "0A0B0C", "kid": "zmk-01", "method": "14", "under": "zmk"}
    a.insert(a.index("use.reserve"), "export", sent)
    a.rebuild(SIGNED_AGAIN)


def fair_refusals_of_a_sleeping_key(a):
    """No forgery: a suspended key was asked for, and failed each time."""
    a.insert(a.index("use.reserve"), "key.suspend", {"kid": "dlk-01", "reason": "suspicion"})
    for count in [c for x in a.lines if x["type"] == USE for c in x["body"]["counts"]]:
        if count["kid"] == "dlk-01":
            count.update(ok=0, fail=count["ok"] + count["fail"])
    without_ops(a)
    entry_changed(a, "dlk-01", state="SUSPENDED")


def fair_exception_nobody_needed(a):
    """No forgery: the witness excused a step that then went by the script."""
    place = a.index(STEP, 0, action="activate", cid=2)
    approvals = [{"id": "iw1", "role": "IW", "sig": ""}]
    step = a.lines[place]["body"]["step"]
    excuse = {"approvals": approvals, "cid": 2, "step": step, "text": "a slip of the tongue"}
    a.insert(place, "ceremony.exception", excuse)
    a.rebuild(WITNESSED)


def fair_exception_without_a_rule(a):
    """No forgery: where the policy is silent, an exception needs the internal witness."""
    a.lines[0]["body"]["policy"]["quorum"].pop("exception", None)
    fair_exception(a)
    a.rebuild(WITNESSED)
    a.trust["genesis"] = verifier.leaf_hash(a.raw()[0])


def fair_script_that_names_the_custodian(a):
    """No forgery: the script said who brings the component."""
    rescripted(a, 2, open_on_the_day=())


def fair_command_without_a_key(a):
    """No forgery: a command that uses no key is counted under none."""
    use = a.body(USE, 0)
    use["counts"].insert(0, {"cmd": "NC", "fail": 0, "kid": "", "ok": 1})
    use["ops"] += 1
    without_ops(a)
    a.rebuild()


def without_ops(a):
    """The ops files are optional; without them the counts stand alone."""
    for path in (a.folder / "ops").iterdir():
        path.unlink()


def with_a_last_day(a, day):
    """The load master ends on a day, and every use of it made something."""
    a.body(STEP, action="generate")["args"]["until"] = day
    rescripted(a, 2)
    for count in [c for x in a.lines if x["type"] == USE for c in x["body"]["counts"]]:
        count["cmd"] = "14" if count["kid"] == "dlk-01" else count["cmd"]
    without_ops(a)
    entry_changed(a, "dlk-01", until=day)


def fair_use_before_midnight(a):
    """No forgery: an interval that was reserved on a key's last day was closed on the next."""
    with_a_last_day(a, "2026-03-01")
    for line in a.lines[a.index(USE, -1) :]:
        line["ts"] = "2026-03-01T16:00:01.000Z"  # past midnight in Shanghai
    a.rebuild()


def used_too_late_and_never_reserved(a):
    with_a_last_day(a, "2026-02-28")
    a.lines = [line for line in a.lines if line["type"] != "use.reserve"]
    a.rebuild()


def made_with_a_key_listed_as_deactivated(a):
    made_with_a_deactivated_key(a)
    without_ops(a)
    entry_changed(a, "dlk-01", state="DEACTIVATED")


def born_again_with_another_use(a):
    key_made(a, "dlk-01", usage="13")
    renumbered(a)


def ghost_that_left(a):
    step_appended(a, "export", {"kid": "zmk-99", "under": "dpk-01"}, {"kcv": "0A0B0C"})


def step_with_a_remark(a):
    a.body(STEP, action="generate")["remark"] = "as agreed"
    a.rebuild(SIGNED_AGAIN)


def no_log_at_all(a):
    (a.folder / "log.jsonl").write_bytes(b"")


def another_action_with_the_same_words(a):
    a.body(STEP, 0, action="activate", cid=2)["action"] = "resume"
    a.rebuild(SIGNED_AGAIN)


def excused_by_nobody(a):
    place = a.index(STEP, 0, action="activate", cid=2)
    body = a.lines[place]["body"]
    body["args"]["kid"] = "dlk-01"
    excuse = {"approvals": [], "cid": 2, "step": body["step"], "text": "never mind"}
    a.insert(place, "ceremony.exception", excuse)
    a.rebuild(WITNESSED)


def excused_in_another_ceremony(a):
    place = a.index(STEP, 0, action="activate", cid=2)
    body = a.lines[place]["body"]
    body["args"]["kid"] = "dlk-01"
    approvals = [{"id": "iw1", "role": "IW", "sig": ""}]
    excuse = {"approvals": approvals, "cid": 1, "step": body["step"], "text": "never mind"}
    a.insert(place, "ceremony.exception", excuse)
    a.rebuild(WITNESSED)


def approved_in_another_role(a):
    a.body(STEP, 0, action="component", cid=2)["approvals"][0] = {
        "id": "ca1",
        "role": "IW",
        "sig": "",
    }
    a.rebuild(SIGNED_AGAIN)


def export_of_a_ghost(a):
    sent = {"client": "issue", "kcv": "0A0B0C", "kid": "zmk-99", "method": "14", "under": "zmk"}
    a.insert(a.index("use.reserve"), "export", sent)
    a.rebuild(SIGNED_AGAIN)


def step_with_an_odd_result(a):
    a.body(STEP, action="generate")["result"] = {"kcv": "0A0B0C"}
    a.rebuild(SIGNED_AGAIN)


def time_in_microseconds(a):
    a.lines[3]["ts"] = a.lines[3]["ts"].replace("Z", "000Z")
    a.rebuild(SIGNED_AGAIN)


def script_in_another_spelling(a):
    opened = a.body(OPEN, 1)
    path = a.folder / "scripts" / f"{opened['script']}.json"
    text = path.read_bytes().replace(b'"cid":', b'"cid": ')
    path.unlink()
    opened["script"] = hashlib.sha256(text).hexdigest()
    (a.folder / "scripts" / f"{opened['script']}.json").write_bytes(text)
    a.rebuild(SIGNED_AGAIN)


def script_with_a_remark(a):
    opened = a.body(OPEN, 1)
    path = a.folder / "scripts" / f"{opened['script']}.json"
    text = canonical.encode({**canonical.decode(path.read_bytes()), "remark": "mind the gap"})
    path.unlink()
    opened["script"] = hashlib.sha256(text).hexdigest()
    (a.folder / "scripts" / f"{opened['script']}.json").write_bytes(text)
    a.rebuild(SIGNED_AGAIN)


def directory_in_another_spelling(a):
    (a.folder / "keys.json").write_bytes(canonical.encode(a.directory()) + b"\n")
    a.rebuild()


def checkpoint_rewritten(a, change):
    text = note.split(a.newest().read_text("utf-8"))[0]
    a.newest().write_text(a.key.sign(change(text)), "utf-8")


def checkpoint_size_with_a_zero_in_front(a):
    checkpoint_rewritten(a, lambda text: text.replace("\n", "\n0", 1))


def checkpoint_with_a_short_root(a):
    checkpoint_rewritten(a, lambda text: text.rsplit("\n", 2)[0] + "\nAAAA\n")


def checkpoint_nobody_signed(a):
    text = note.split(a.newest().read_text("utf-8"))[0]
    a.newest().write_text(f"{text}\n{a.people['kc1'].key.line(text)}", "utf-8")


def flag_as_a_number(a):
    a.body("boot")["clean"] = 1
    a.rebuild()


def unlocked(a, people):
    a.insert(a.index("use.reserve"), "unlock", {"people": people})
    a.rebuild()


def list_as_a_table(a):
    unlocked(a, {"so1": 1, "so2": 1})


def list_of_numbers(a):
    unlocked(a, [1, 2])


def check_value_in_small_letters(a):
    a.body(STEP, 0, action="component", cid=2)["result"]["kcv"] = "0a0b0c"
    a.rebuild(SIGNED_AGAIN)


FAIR_MISSES = [
    fair_destroyed_key,
    fair_aborted_ceremony,
    fair_export_of_an_exportable_key,
    fair_refusals_of_a_sleeping_key,
    fair_exception_nobody_needed,
    fair_exception_without_a_rule,
    fair_script_that_names_the_custodian,
    fair_command_without_a_key,
    fair_use_before_midnight,
]
NEAR_MISSES = [
    (another_action_with_the_same_words, "CER-STEP KEY-STATE"),
    (excused_by_nobody, "CER-STEP QUO-COUNT"),
    (excused_in_another_ceremony, "CER-STEP"),
    (approved_in_another_role, "QUO-ROLE QUO-COUNT"),
    (export_of_a_ghost, "KEY-ORIGIN"),
    (ghost_that_left, "KEY-ORIGIN"),
    (born_again_with_another_use, "KEY-DUP"),
    (made_with_a_key_listed_as_deactivated, "KEY-STATE"),
    (used_too_late_and_never_reserved, "KEY-STATE"),
    (step_with_a_remark, "LOG-TYPE"),
    (no_log_at_all, "BND-EXPORT TRU-GENESIS"),
    (step_with_an_odd_result, "LOG-TYPE"),
    (time_in_microseconds, "LOG-TIME"),
    (script_in_another_spelling, "CER-SCRIPT"),
    (script_with_a_remark, "CER-SCRIPT"),
    (directory_in_another_spelling, "BND-KEYS"),
    (checkpoint_size_with_a_zero_in_front, "CHK-FORM"),
    (checkpoint_with_a_short_root, "CHK-FORM"),
    (checkpoint_nobody_signed, "CHK-SIG CHK-STALE"),
    (flag_as_a_number, "LOG-TYPE"),
    (list_as_a_table, "LOG-TYPE"),
    (list_of_numbers, "LOG-TYPE"),
    (check_value_in_small_letters, "LOG-TYPE"),
]
