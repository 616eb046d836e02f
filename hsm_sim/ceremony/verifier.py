#!/usr/bin/env python3
"""Check the audit bundle of key ceremonies: off line, one file, nothing but Python's standard library.

    python verifier.py verify BUNDLE --trust trust.json [--json] [--remember]

The rules are hsm-and-ceremony.md 11 and 12. Each check is a function named after its code and its docstring is
the rule; all checks run, all findings are told. Exit: 0 pass, 1 findings, 2 usage or unreadable, 70 bug.
The trust file is the auditor's own and never comes out of the bundle: ``{"vkey": .., "genesis": .., "nonce": ..,
"last_seen": null or {"size": n, "root": hex}}``, and maybe "cosigners", keys of auditors not on the roster.
"""
# Set by hand, to fit on few sheets of paper.
# fmt: off

import argparse
import base64
import hashlib
import json
import os
import re
import sys
import unicodedata
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

VERSION, MAX_LINE_BYTES, MAX_INTEGER, ZERO_HASH = "1", 16_384, 2**53 - 1, "0" * 64
README_SHA256 = "1e93f8e8094dea9b79d997505400e241e8a2c855c17f68d290d6607d4e6d3fc6"
NOT_PROVED = """\
That the HSM program did what it logged: the owner of a simulator can run other code.
That no key was used after the last reserve line by somebody who then went back to an older state.
That check values belong to the right keys: this program has no keys.
That two different people are two people, or that the room was locked."""

def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

def leaf_hash(line: bytes) -> str:
    """RFC 6962 hash of one line, hex."""
    return sha256(b"\x00" + line)

def tree_root(leaves: Sequence[str]) -> str:
    """RFC 6962 root over leaf hashes, hex: equal subtrees are merged from the left like carries."""
    stack: list[bytes] = []
    for index, leaf in enumerate(leaves):
        node = bytes.fromhex(leaf)
        while index & 1:
            node, index = hashlib.sha256(b"\x01" + stack.pop() + node).digest(), index >> 1
        stack.append(node)
    node = stack.pop() if stack else hashlib.sha256(b"").digest()
    while stack:
        node = hashlib.sha256(b"\x01" + stack.pop() + node).digest()
    return node.hex()

def parse(text: bytes) -> Any:
    """The value of JSON text; ValueError for anything else and for a duplicate member."""
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError("duplicate member")
        return found
    try:
        return json.loads(text.decode(), object_pairs_hook=members)
    except RecursionError:
        raise ValueError("nested too deeply") from None

def parse_or_none(text: bytes) -> Any:
    try:
        return parse(text)
    except ValueError:
        return None

def canonical(value: Any) -> bytes:
    """RFC 8785; b"" for null, floats, integers above 2^53-1, names beyond ASCII and text outside NFC."""
    def allowed(item: Any) -> bool:
        if isinstance(item, dict):
            return all(name.isascii() and allowed(member) for name, member in item.items())
        if isinstance(item, list):
            return all(map(allowed, item))
        if isinstance(item, str):
            return unicodedata.is_normalized("NFC", item)
        return isinstance(item, int) and abs(item) <= MAX_INTEGER
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode() if allowed(value) else b""
    except (UnicodeEncodeError, RecursionError):
        return b""

# Ed25519 (RFC 8032 5.1.7), strict: S below L, canonical points, no key of small order, R compared as bytes.

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]

def point_sum(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P

def point_double(p: Point) -> Point:
    a, b, c = p[0] * p[0] % P, p[1] * p[1] % P, 2 * p[2] * p[2] % P
    h, g, e = a + b, a - b, a + b - (p[0] + p[1]) * (p[0] + p[1]) % P
    return e * (c + g) % P, g * h % P, (c + g) * g % P, e * h % P

def point_decode(text: bytes) -> Point | None:
    number = int.from_bytes(text, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or v * x * x % P != u or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P

@lru_cache(maxsize=256)
def key_points(public: bytes) -> list[Point] | None:
    """i*B - j*A at place 4i + j for base B and public key A; None when A is no point or of small order."""
    base, key = point_decode(bytes.fromhex("58" + "66" * 31)), point_decode(public)
    if base is None or key is None:
        return None
    x, y, z, _ = point_double(point_double(point_double(key)))
    if x == 0 and y == z:
        return None
    rows: list[Point] = [(0, 1, 1, 0)]
    for i in range(1, 16):
        minus = (P - key[0], key[1], 1, P - key[3])
        rows.append(point_sum(rows[i - 1], minus) if i % 4 else point_sum(rows[i - 4], base))
    return rows

@lru_cache(maxsize=4096)
def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Strict Ed25519; a wrong length is False, never an exception."""
    s = int.from_bytes(signature[32:], "little")
    if len(public) != 32 or len(signature) != 64 or s >= L or (points := key_points(public)) is None:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    point = (0, 1, 1, 0)
    for shift in range(252, -2, -2):  # s*B - k*A, two bits of both numbers at a time
        point = point_double(point_double(point))
        point = point_sum(point, points[(s >> shift & 3) << 2 | k >> shift & 3])
    z = pow(point[2], -1, P)
    return (point[1] * z % P | (point[0] * z % P & 1) << 255).to_bytes(32, "little") == signature[:32]

# Keys and notes of C2SP (signed-note, tlog-checkpoint).

def decode64(text: str) -> bytes:
    """Base64 in its one canonical spelling, b"" for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode() == text else b""

def parse_vkey(text: str) -> tuple[str, bytes, bytes] | None:
    """Name, key id and public key of ``name+id+base64(01 || key)``; None when it is not one."""
    name, key_id, code = (*text.split("+", 2), "", "")[:3]
    data = decode64(code)
    digest = hashlib.sha256(name.encode(errors="replace") + b"\n" + data).digest()[:4]
    good = name and " " not in name and len(data) == 33 and data[0] == 1 and digest.hex() == key_id
    return (name, digest, data[1:]) if good else None

def parse_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Text with its last line feed, and (name, id and signature) of every signature line; no lines if malformed."""
    text, _, block = note.rpartition(b"\n\n")
    rows = [line.split(" ") for line in block.decode(errors="replace").removesuffix("\n").split("\n")]
    good = block.endswith(b"\n") and all(len(row) == 3 and row[0] == "\u2014" and row[1] for row in rows)
    return text + b"\n", [(row[1], decode64(row[2])) for row in rows] if good and text else []

def note_signers(note: bytes, vkeys: Sequence[str]) -> list[str]:
    """For each signature line the known key that made it, "" for none."""
    text, rows = parse_note(note)
    keys = [(key, vkey) for vkey in vkeys if (key := parse_vkey(vkey))]
    return [next((vkey for key, vkey in keys if name == key[0] and data[:4] == key[1]
                  and signature_holds(key[2], text, data[4:])), "") for name, data in rows]

# The forms of lines: "name:kind", "?" when it may be missing, "*" for a list. What is unknown is a finding.

FRAME = "body:obj boot:nat prev:hash seq:nat ts:str type:str v:nat"
BORN = "alg:str export:str kid:str mode:str usage:str version:str"
PATTERNS = {
    "str": ".*", "hash": "[0-9a-f]{64}", "fp": "[0-9a-f]{32}", "kcv": "[0-9A-F]{6}", "end": "complete|aborted",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",
}
SHAPES = {
    "person": "id:str role:str", "member": "id:str role:str vkey:str", "signed": "id:str role:str sig:str",
    "key": "fp:fp kcv:kcv kid:str", "entry": BORN + " cid:nat fp:fp kcv:kcv state:str uses:nat",
    "count": "cmd:str fail:nat kid:str ok:nat", "policy": "exclusive:str* min_components:nat quorum:quorum",
    "script": "cid:nat kind:str plan:task*", "task": "action:str args:obj", "seen": "root:hash size:nat",
}
FORMS = {
    "log.genesis": "format:nat hsm:str vkey:str policy:policy roster:member* instance?:str statement?:str",
    "boot": "clean:bool firmware:str unaccounted?:nat old_size?:nat new_size?:nat",
    "shutdown": "clean?:bool firmware?:str unaccounted?:nat",
    "unlock": "people:str*",
    "roster.add": "id:str role:str vkey:str approvals:signed*",
    "roster.revoke": "id:str reason:str approvals:signed*",
    "ceremony.open": "cid:nat kind:str script:hash prev_close:hash attend:person*",
    "ceremony.step": "cid:nat step:nat action:str args:obj result:obj approvals:signed*",
    "ceremony.exception": "cid:nat step:nat text:str approvals:signed*",
    "ceremony.close": "cid:nat status:end steps:nat keys:key* signatures:signed*",
    "key.suspend": "kid:str reason:str", "key.expire": "kid:str reason:str",
    "use.reserve": "interval:nat limit:nat", "use": "interval:nat counts:count* ops:nat ops_sha256:hash",
    "limit": "what:str client?:str kid?:str until:str", "auth.fail": "client:str reason:str",
    "export": "kid:str under:str kcv:kcv client:str method:str batch?:str",
    "config": "sha256:hash dev?:bool", "audit.export": "nonce:str keys:hash",
}
BIRTHS = ("combine", "generate", "import")
STEPS = {  # what the arguments and the result of a step need at least; a script may say more
    "component": ("kid:str n:nat", "kcv:kcv"), "combine": (BORN + " components:nat", "kcv:kcv fp:fp"),
    "generate": (BORN, "kcv:kcv fp:fp"), "import": (BORN + " under:str", "kcv:kcv fp:fp"),
    "export": ("kid:str under:str", "kcv:kcv"),
    "batch-open": ("batch:str masters:str* methods:str* cards:nat expires:str", ""),
    **dict.fromkeys(("activate", "deactivate", "resume", "compromise", "destroy"), ("kid:str", "")),
}
MOVES = {  # action: the states it starts from, the state it leads to (8.4)
    "activate": ("PRE_ACTIVE", "ACTIVE"), "suspend": ("ACTIVE", "SUSPENDED"), "resume": ("SUSPENDED", "ACTIVE"),
    "deactivate": ("ACTIVE SUSPENDED", "DEACTIVATED"),
    "compromise": ("PRE_ACTIVE ACTIVE SUSPENDED DEACTIVATED", "COMPROMISED"),
    "destroy": ("PRE_ACTIVE ACTIVE SUSPENDED DEACTIVATED COMPROMISED", "DESTROYED"),
}
MAKING = {  # commands that a DEACTIVATED key no longer does
    "12", "14", "28", "30", "32", "34", "46", "4A", "4E", "50", "52", "72", "80", "84", "A0", "A8", "M6"}
ON_THE_DAY = {"custodian", "kcv"}  # what a step may say beyond its script (10.4, 9.4)
WEAK = {"8CA64D", "921105", "DC95C0", "0B50E6", "AAE069", "763CBC", "66E94B", "219471", "9F1F7B"}  # all-zero keys

def is_kind(value: Any, kind: str) -> bool:
    """Whether a value is of a kind: a list, a shape, a pattern, a quorum table, or a plain type."""
    if kind.endswith("*"):
        return isinstance(value, list) and all(is_kind(item, kind[:-1]) for item in value)
    if kind in SHAPES:
        return fits(value, SHAPES[kind])
    if kind in PATTERNS:
        return isinstance(value, str) and re.fullmatch(PATTERNS[kind], value, re.DOTALL) is not None
    if kind in ("quorum", "need"):
        inner = "need" if kind == "quorum" else "nat"
        return isinstance(value, dict) and all(is_kind(item, inner) for item in value.values())
    if kind == "nat":
        return type(value) is int and value >= 0
    return type(value) is {"bool": bool, "obj": dict}[kind]

def fits(value: Any, form: str, exact: bool = True) -> bool:
    """Whether an object has the members a form names, each of its kind, and (exact) no others."""
    kinds = dict(part.split(":") for part in form.split())
    names = {name.rstrip("?"): kind for name, kind in kinds.items()}
    return (isinstance(value, dict) and all(name in value for name in kinds if not name.endswith("?"))
            and (not exact or set(value) <= set(names))
            and all(is_kind(member, names[name]) for name, member in value.items() if name in names))

# What was read. A signer is one entry of an approval or attendance list, judged where it stands (`held`: the role
# on the roster); an agreement has those whose signature counts, {id: role}, and the quorum (None: unknown action).

Checkpoint = namedtuple("Checkpoint", "where size root origin note")  # size -1: none
Signer = namedtuple("Signer", "where id role held good present revoked repeated")
Agreement = namedtuple("Agreement", "where need people")

class Line:
    """One line of the log; `body` is None when line or body lack the form of their type."""
    def __init__(self, n: int, raw: bytes) -> None:
        self.n, self.raw, self.where, self.type = n, raw, f"line {n}", ""
        self.body: Any = None
        self.value: Any = parse_or_none(raw if len(raw) <= MAX_LINE_BYTES else b"")
        if fits(self.value, FRAME) and self.value["v"] == 1:
            self.type, body = self.value["type"], self.value["body"]
            good = self.type in FORMS and fits(body, FORMS[self.type])
            if good and self.type == "ceremony.step":
                args, result = STEPS.get(body["action"], ("unknown:nat", ""))
                good = fits(body["args"], args, False) and fits(body["result"], result, False)
            self.body = body if good else None

@dataclass
class Ceremony:
    """From an open line to its close; `script` is None when the file is not what the line names."""
    line: Line
    script: Any
    nested: bool
    steps: list[Line] = field(default_factory=list)
    exceptions: set[int] = field(default_factory=set)
    close: Line | None = None

@dataclass
class Key:
    """A key as its ceremony made it, its state, and the states held since the last use line."""
    cid: int
    args: dict[str, Any]
    result: dict[str, Any]
    state: str = "PRE_ACTIVE"
    since: set[str] = field(default_factory=lambda: {"PRE_ACTIVE"})

class Facts:
    """The bundle's files, and what one walk through the log gathers for the checks to compare."""
    def __init__(self, bundle: Path, trust: dict[str, Any]) -> None:
        self.trust, self.hsm = trust, (parse_vkey(trust["vkey"]) or ("",))[0]
        paths = sorted(path for path in bundle.rglob("*") if path.is_file())
        self.files = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in paths}
        self.log = self.files.get("log.jsonl", b"")
        raw = self.log.removesuffix(b"\n").split(b"\n") if self.log else []
        self.lines = [Line(n, text) for n, text in enumerate(raw)]
        self.leaves = [leaf_hash(text) for text in raw]
        self.scripts = self.folder(r"scripts/([0-9a-f]{64})\.json")
        self.ops = self.folder(r"ops/([1-9][0-9]*)\.jsonl")
        self.checkpoints = [self.checkpoint(*item) for item in self.folder(r"(checkpoints/[0-9]+\.txt)").items()]
        entries = parse_or_none(self.files.get("keys.json", b""))
        self.directory: list[Any] = entries if is_kind(entries, "entry*") else []
        self.policy: dict[str, Any] = {"quorum": {}, "min_components": 0}
        self.roster: dict[str, tuple[str, str]] = {}
        self.revoked: set[str] = set()
        self.twins: list[tuple[str, str]] = []  # one person, or one signing key, enrolled twice
        self.attendance: list[Any] = []
        self.signers: list[Any] = []
        self.agreements: dict[int, Any] = {}
        self.ceremonies: list[Ceremony] = []
        self.current: Ceremony | None = None
        self.strays: list[Line] = []  # ceremony lines outside their ceremony
        self.components: dict[tuple[int, str], list[Any]] = {}
        self.keys: dict[str, Key] = {}
        self.moves: list[tuple[str, str, str, str]] = []  # where, kid, state before, action
        self.uses: list[tuple[str, Any, set[str]]] = []  # where, count, states
        for line in self.lines:
            walk = getattr(self, "on_" + line.type.split(".")[0], None)
            if line.body is not None and walk is not None:
                walk(line, line.body)
        self.births = list(self.steps(*BIRTHS))
        known = [trust["vkey"], *trust.get("cosigners", []), *(vkey for _, vkey in self.roster.values())]
        self.note_signers = {c.where: note_signers(c.note, known) for c in self.checkpoints}
        self.export: Any = self.lines[-1].body if self.lines and self.lines[-1].type == "audit.export" else None

    def folder(self, pattern: str) -> dict[str, bytes]:
        """The files of a folder by what the pattern's group catches."""
        found = ((re.fullmatch(pattern, name), data) for name, data in self.files.items())
        return {match[1]: data for match, data in found if match}

    def checkpoint(self, name: str, note: bytes) -> Any:
        text, rows = parse_note(note)
        parts = text.decode(errors="replace").split("\n")
        root = decode64(parts[2]) if len(parts) == 4 and rows else b""
        good = len(root) == 32 and re.fullmatch("0|[1-9][0-9]{0,15}", parts[1])
        return Checkpoint(name, int(parts[1]) if good else -1, root.hex(), parts[0], note)

    def of(self, *types: str) -> Iterator[Line]:
        """Well formed lines of these types."""
        return (line for line in self.lines if line.type in types and line.body is not None)

    def steps(self, *actions: str) -> Iterator[Line]:
        """Well formed steps with these actions, in a ceremony or not."""
        return (line for line in self.of("ceremony.step") if line.body["action"] in actions)

    def judge(self, line: Line, action: str, names: str, given: Any, kind: str = "approval") -> None:
        """Look at a line's signatures: what was signed is 11.4, who may sign the roster says now."""
        signed = canonical({name: line.body[name] for name in names.split()})
        text = f"hsm-sim {kind} v1\n{line.value['prev']}\n".encode() + signed
        here = {person["id"] for person in self.current.line.body["attend"]} if self.current else None
        people: dict[str, str] = {}
        for count, entry in enumerate(given):
            who, (role, vkey) = entry["id"], self.roster.get(entry["id"], ("", ""))
            key = parse_vkey(vkey)
            good = key is not None and signed != b"" and signature_holds(key[2], text, decode64(entry["sig"]))
            there, gone = here is None or who in here, who in self.revoked
            twice = any(other["id"] == who for other in given[:count])
            self.signers.append(Signer(f"{line.where}, {who}", who, entry["role"], role, good, there, gone, twice))
            if good and there and not gone and not twice and entry["role"] == role:
                people[who] = role
        need = self.policy["quorum"].get(action, {"IW": 1} if action == "exception" else None)
        self.agreements[line.n] = Agreement(line.where, need, people)

    def enrol(self, line: Line, person: dict[str, str]) -> None:
        for other, (_, vkey) in self.roster.items():
            if other == person["id"] or vkey.split("+")[-1] == person["vkey"].split("+")[-1]:
                self.twins.append((line.where, f"{other} and {person['id']}"))
        self.roster[person["id"]] = (person["role"], person["vkey"])

    def on_log(self, line: Line, body: Any) -> None:
        if line.n == 0:
            self.policy = body["policy"]
            for person in body["roster"]:
                self.enrol(line, person)

    def on_roster(self, line: Line, body: Any) -> None:
        if line.type == "roster.add":
            self.judge(line, "roster", "id role vkey", body["approvals"])
            self.enrol(line, body)
        else:
            self.judge(line, "roster", "id reason", body["approvals"])
            self.revoked.add(body["id"])

    def on_ceremony(self, line: Line, body: Any) -> None:
        if line.type == "ceremony.open":
            return self.begin(line, body)
        here = self.current if self.current and self.current.line.body["cid"] == body["cid"] else None
        if here is None:
            self.strays.append(line)
        if line.type == "ceremony.exception":
            self.judge(line, "exception", "cid step text", body["approvals"])
            if here and self.agreements[line.n].people:
                here.exceptions.add(body["step"])
        elif line.type == "ceremony.close":
            self.judge(line, "close", "cid keys status steps", body["signatures"], "close")
            if here:
                here.close, self.current = line, None
        else:
            self.judge(line, body["action"], "cid step action args", body["approvals"])
            if here:
                here.steps.append(line)
            self.act(line, body["cid"], body["action"], body["args"], body["result"])

    def act(self, line: Line, cid: int, action: str, args: Any, result: Any) -> None:
        if action == "component":
            self.components.setdefault((cid, args["kid"]), []).append(line.body)
        elif action in BIRTHS:
            self.keys.setdefault(args["kid"], Key(cid, args, result))
        elif action in MOVES:
            key = self.keys.get(args["kid"])
            self.moves.append((line.where, args["kid"], key.state if key else "(none)", action))
            if key is not None:
                key.state = MOVES[action][1]
                key.since.add(key.state)

    def begin(self, line: Line, body: Any) -> None:
        for count, person in enumerate(body["attend"]):
            who, twice = person["id"], any(person["id"] == other["id"] for other in body["attend"][:count])
            role, gone = self.roster.get(who, ("", ""))[0], who in self.revoked
            where = f"{line.where}, {who}"
            self.attendance.append(Signer(where, who, person["role"], role, True, True, gone, twice))
        text = self.scripts.get(body["script"], b"")
        script = parse_or_none(text)
        same = is_kind(script, "script") and script["cid"] == body["cid"] and script["kind"] == body["kind"]
        good = same and canonical(script) == text and sha256(text) == body["script"]
        self.current = Ceremony(line, script if good else None, self.current is not None)
        self.ceremonies.append(self.current)

    def on_key(self, line: Line, body: Any) -> None:
        self.act(line, 0, "suspend" if line.type == "key.suspend" else "deactivate", body, {})

    def on_use(self, line: Line, body: Any) -> None:
        for count in body.get("counts", []):
            key = self.keys.get(count["kid"])
            self.uses.append((line.where, count, set(key.since) if key else set()))
        for key in self.keys.values() if line.type == "use" else ():
            key.since = {key.state}  # a use belongs to a state held since the last use line

# The checks. Each yields (holds, or None for a warning; where; expected; found) for everything it examines.

Results = Iterator[tuple[bool | None, str, Any, Any]]

def log_parse(f: Facts) -> Results:
    """Each line is a JSON object without duplicate members, and ends with a line feed."""
    yield f.log.endswith(b"\n"), "log.jsonl", "a line feed at the end", "none"
    for line in f.lines:
        yield type(line.value) is dict, line.where, "a JSON object", "something else"
def log_canon(f: Facts) -> Results:
    """The bytes of each line are the canonical form of what it says."""
    for line in f.lines:
        yield line.value is None or canonical(line.value) == line.raw, line.where, "canonical bytes", "other bytes"
def log_type(f: Facts) -> Results:
    """Version, type and members of each line are known."""
    for line in f.lines:
        yield line.value is None or line.body is not None, line.where, "a known form", line.type or "no line"
def log_seq(f: Facts) -> Results:
    """seq is the line number; boot counts the starts."""
    boot = 1
    for line in filter(lambda line: line.type, f.lines):
        yield line.value["seq"] == line.n, line.where, line.n, line.value["seq"]
        step = line.value["boot"] - boot
        yield step == 0 or (step == 1 and line.type == "boot"), line.where, f"boot {boot}", line.value["boot"]
        boot += step
def log_chain(f: Facts) -> Results:
    """prev is the hash of the line before, zeros in the first line."""
    for line, before in zip(f.lines, [ZERO_HASH, *f.leaves], strict=False):
        if line.type:
            yield line.value["prev"] == before, line.where, before, line.value["prev"]
def log_time(f: Facts) -> Results:
    """Time is UTC with milliseconds and never runs backwards."""
    last = ""
    for line in filter(lambda line: line.type, f.lines):
        stamp = line.value["ts"]
        try:
            good = is_kind(stamp, "time") and datetime.fromisoformat(stamp) is not None
        except ValueError:
            good = False
        yield good and stamp >= last, line.where, f"a time from {last or 'any day'} on", stamp
        last = max(last, stamp) if good else last

def tru_genesis(f: Facts) -> Results:
    """The first line, and only that, is the genesis the auditor saw."""
    yield f.leaves[:1] == [f.trust["genesis"]], "line 0", f.trust["genesis"], "".join(f.leaves[:1])
    found = [line.n for line in f.lines if line.type == "log.genesis"]
    yield found == [0], "log.jsonl", "genesis in line 0", f"in lines {found}"
def tru_key(f: Facts) -> Results:
    """The genesis names the HSM and the log key the auditor knows."""
    for line in f.of("log.genesis"):
        found = line.body["hsm"], line.body["vkey"]
        yield found == (f.hsm, f.trust["vkey"]), line.where, (f.hsm, f.trust["vkey"]), found

def chk_form(f: Facts) -> Results:
    """Each checkpoint is a signed note with name, size and root."""
    for c in f.checkpoints:
        yield c.size >= 0, c.where, "a checkpoint", "something else"
def chk_origin(f: Facts) -> Results:
    """Each checkpoint bears the name of this HSM."""
    for c in f.checkpoints:
        yield c.size < 0 or c.origin == f.hsm, c.where, f.hsm, c.origin
def chk_sig(f: Facts) -> Results:
    """The HSM signed each checkpoint once, and every other signature is a known auditor's."""
    for where, signers in f.note_signers.items():
        good = "" not in signers and signers.count(f.trust["vkey"]) == 1
        yield good, where, "good signatures, one of the HSM", [vkey or "unknown or bad" for vkey in signers]
def chk_size(f: Facts) -> Results:
    """No checkpoint covers more lines than there are."""
    for c in f.checkpoints:
        yield c.size <= len(f.lines), c.where, f"at most {len(f.lines)} lines", c.size
def chk_root(f: Facts) -> Results:
    """The root of each checkpoint is the root of that many lines."""
    for c in f.checkpoints:
        if 0 <= c.size <= len(f.lines):
            yield (root := tree_root(f.leaves[: c.size])) == c.root, c.where, root, c.root
def chk_stale(f: Facts) -> Results:
    """The newest good checkpoint covers the last line."""
    good = [c.size for c in f.checkpoints if c.origin == f.hsm and f.trust["vkey"] in f.note_signers[c.where]
            and c.size == len(f.lines) and c.root == tree_root(f.leaves)]
    yield good != [] != f.lines, "checkpoints/", f"a good checkpoint of {len(f.lines)} lines", "none"
def chk_rollback(f: Facts) -> Results:
    """The log is not shorter than the auditor saw it."""
    if seen := f.trust.get("last_seen"):
        yield seen["size"] <= len(f.lines), "log.jsonl", f"at least {seen['size']} lines", len(f.lines)
def chk_fork(f: Facts) -> Results:
    """The log begins with the lines the auditor saw."""
    if (seen := f.trust.get("last_seen")) and seen["size"] <= len(f.lines):
        root = tree_root(f.leaves[: seen["size"]])
        yield root == seen["root"], f"first {seen['size']} lines", seen["root"], root

def cer_num(f: Facts) -> Results:
    """Ceremonies are numbered 1, 2, 3 without gap or repeat."""
    for due, c in enumerate(f.ceremonies, 1):
        yield c.line.body["cid"] == due, c.line.where, due, c.line.body["cid"]
def cer_prev(f: Facts) -> Results:
    """Each open line names the close line before it."""
    last = ZERO_HASH
    for line in f.of("ceremony.open", "ceremony.close"):
        if line.type == "ceremony.open":
            yield line.body["prev_close"] == last, line.where, last, line.body["prev_close"]
        last = f.leaves[line.n] if line.type == "ceremony.close" else last
def cer_open(f: Facts) -> Results:
    """Each ceremony was closed, once, before the next one."""
    for c in f.ceremonies:
        yield not c.nested and c.close is not None, c.line.where, "opened after a close and closed", "still open"
    for line in f.strays:
        yield line.type != "ceremony.close", line.where, "an open ceremony to close", "none"
def cer_script(f: Facts) -> Results:
    """Each ceremony's script is here and unchanged, and there is no other script."""
    for c in f.ceremonies:
        yield c.script is not None, c.line.where, c.line.body["script"], "missing, changed or not for it"
    named = {c.line.body["script"] for c in f.ceremonies}
    for name in f.scripts:
        yield name in named, f"scripts/{name}.json", "a script some ceremony names", "nobody names it"
def cer_step(f: Facts) -> Results:
    """Steps stand in their ceremony, in order, as the script says or under a witnessed exception (warning)."""
    for line in f.strays:
        yield line.type == "ceremony.close", line.where, "inside its open ceremony", "outside"
    for c in f.ceremonies:
        plan, at = (c.script or {"plan": []})["plan"], 0
        for due, line in enumerate(c.steps, 1):
            yield line.body["step"] == due, line.where, f"step {due}", line.body["step"]
            task, args = plan[at] if at < len(plan) else {"action": "the end", "args": {}}, line.body["args"]
            said = {name: args[name] for name in args if name in task["args"] or name not in ON_THE_DAY}
            same = line.body["action"] == task["action"] and canonical(said) == canonical(task["args"])
            holds = None if not same and line.body["step"] in c.exceptions else same
            yield holds, line.where, f"{task['action']} {task['args']}", f"{line.body['action']} {args}"
            at += holds is not None
        if c.close:
            done = at == len(plan) or c.close.body["status"] == "aborted"
            want, steps = f"{len(c.steps)} steps, all {len(plan)} of the script", c.close.body["steps"]
            yield done and steps == len(c.steps), c.close.where, want, f"{steps}, script done to {at}"
def cer_comp(f: Facts) -> Results:
    """Each combined key has all its components, each once, and not fewer than the policy's minimum."""
    for line in f.steps("combine"):
        count, least = line.body["args"]["components"], f.policy["min_components"]
        parts = f.components.get((line.body["cid"], line.body["args"]["kid"]), [])
        found = sorted(body["args"]["n"] for body in parts)
        good = found == list(range(1, len(found) + 1)) and len(found) == count >= least
        yield good, line.where, f"components 1 to {count}, at least {least}", found

def quo_role(f: Facts) -> Results:
    """Everybody who attends or signs is on the roster, in that role."""
    for s in f.attendance + f.signers:
        yield s.role == s.held, s.where, s.held or "a person of the roster", s.role
def quo_sig(f: Facts) -> Results:
    """Each signature verifies at this position in the log."""
    for s in f.signers:
        yield s.good, s.where, "a signature over this line and its past", "one that does not verify"
def quo_count(f: Facts) -> Results:
    """Each action has its quorum of good signatures."""
    for a in f.agreements.values():
        counted = Counter(a.people.values())
        good = a.need is not None and all(counted[role] >= n for role, n in a.need.items())
        yield good, a.where, a.need or "an action with a quorum", dict(counted)
def quo_dup(f: Facts) -> Results:
    """Nobody counts twice, under one name or two, and nobody enters two components of one key."""
    for s in f.attendance + f.signers:
        yield not s.repeated, s.where, "each person once", "again"
    for where, names in f.twins:
        yield False, where, "one enrolment for a person and a signing key", names
    for (_, kid), parts in f.components.items():
        custodians = [str(body["args"].get("custodian")) for body in parts]
        yield len(set(custodians)) == len(custodians), kid, "different custodians", custodians
def quo_absent(f: Facts) -> Results:
    """Everybody who signs attends."""
    for s in f.signers:
        yield s.present, s.where, "a person who attends", "somebody else"
def quo_revoked(f: Facts) -> Results:
    """Nobody attends or signs after being revoked."""
    for s in f.attendance + f.signers:
        yield not s.revoked, s.where, "a person not revoked", "revoked"
def quo_custodian(f: Facts) -> Results:
    """The custodian whom a component names approved it."""
    for line in f.steps("component"):
        name, people = str(line.body["args"].get("custodian")), f.agreements[line.n].people
        yield people.get(name) == "KC", line.where, f"approval of custodian {name}", sorted(people)

def key_origin(f: Facts) -> Results:
    """Each key listed, used, exported or changed came from a recorded ceremony."""
    found = [("keys.json", e["kid"]) for e in f.directory] + [(where, kid) for where, kid, _, _ in f.moves]
    found += [(where, count["kid"]) for where, count, _ in f.uses if count["kid"]]
    found += [(line.where, line.body["kid"]) for line in f.of("export")]
    for where, kid in found + [(line.where, line.body["args"]["kid"]) for line in f.steps("export")]:
        yield kid in f.keys, where, "a key made in a ceremony", kid
def key_lost(f: Facts) -> Results:
    """No key of a ceremony is missing unless it was destroyed."""
    listed = {entry["kid"] for entry in f.directory}
    for kid, key in f.keys.items():
        yield kid in listed or key.state == "DESTROYED", "keys.json", kid, "not listed"
def key_attr(f: Facts) -> Results:
    """The attributes of each key are those of its ceremony."""
    for entry in f.directory:
        if key := f.keys.get(entry["kid"]):
            want = {"cid": key.cid, **{n: key.args[n] for n in ("alg", "export", "mode", "usage", "version")}}
            yield want == {n: entry[n] for n in want}, entry["kid"], want, {n: entry[n] for n in want}
def key_state(f: Facts) -> Results:
    """States change only as 8.4 draws it, the directory shows the last one, and only keys in force were used."""
    for where, kid, before, action in f.moves:
        short = action == "destroy" and before in ("ACTIVE", "SUSPENDED")  # the drawing deactivates first
        yield None if short else before in MOVES[action][0].split(), f"{where}, {kid}", MOVES[action][0], before
    for line in f.steps(*MOVES):
        want = MOVES[line.body["action"]][1]
        yield line.body["result"].get("state", want) == want, line.where, want, line.body["result"]
    for e in f.directory:
        if key := f.keys.get(e["kid"]):
            yield e["state"] == key.state, e["kid"], key.state, e["state"]
    for where, count, states in f.uses:
        able = "ACTIVE" in states or ("DEACTIVATED" in states and count["cmd"] not in MAKING)
        if count["ok"] and count["kid"] in f.keys:
            yield able, f"{where}, {count['kid']}", "a key in force", sorted(states)
def key_dup(f: Facts) -> Results:
    """No key identifier and no key value appears twice."""
    born = [(line.where, line.body["args"]["kid"], line.body["result"]["fp"]) for line in f.births]
    for rows in (born, [("keys.json", e["kid"], e["fp"]) for e in f.directory]):
        kids, values = Counter(kid for _, kid, _ in rows), Counter(fp for _, _, fp in rows)
        for where, kid, fp in rows:
            yield kids[kid] == 1 == values[fp], where, f"{kid} and its value once", "again"

def kcv_close(f: Facts) -> Results:
    """The keys read out at the close are the keys the steps made."""
    for c in f.ceremonies:
        made = [(line.body["args"]["kid"], line.body["result"]) for line in c.steps if line in f.births]
        want = sorted((kid, result["kcv"], result["fp"]) for kid, result in made)
        read = sorted((key["kid"], key["kcv"], key["fp"]) for key in c.close.body["keys"]) if c.close else want
        yield want == read, c.close.where if c.close else c.line.where, want, read
def kcv_dir(f: Facts) -> Results:
    """Check value and fingerprint of each key are those of its ceremony."""
    for entry in f.directory:
        if key := f.keys.get(entry["kid"]):
            want, found = ((source["kcv"], source["fp"]) for source in (key.result, entry))
            yield want == found, entry["kid"], want, found
def kcv_weak(f: Facts) -> Results:
    """No component or key is all zero, and no component equals another or the key."""
    for line in f.steps("component", *BIRTHS):
        yield line.body["result"]["kcv"] not in WEAK, line.where, "no all-zero value", line.body["result"]["kcv"]
    for line in f.steps("combine"):
        parts = f.components.get((line.body["cid"], line.body["args"]["kid"]), [])
        values = [body["result"]["kcv"] for body in (line.body, *parts)]
        yield len(set(values)) == len(values), line.where, "different check values", values

def use_gap(f: Facts) -> Results:
    """Intervals are numbered without gap; one that a crash cut short is owned up to at the next boot."""
    due, held = 1, False
    for line in f.of("use.reserve", "use", "boot"):
        if line.type == "boot":
            yield not held or "unaccounted" in line.body, line.where, f"the loss of interval {due}", "nothing said"
            due, held = due + held, False
        else:
            good = line.body["interval"] == due and not (held and line.type == "use.reserve")
            yield good, line.where, f"interval {due}", line.body["interval"]
            due, held = line.body["interval"] + (line.type == "use"), line.type == "use.reserve"
    yield not held, "end of log", f"the use line of interval {due}", "none"
def use_sum(f: Facts) -> Results:
    """Counters add up: within an interval, within what was reserved, with the ops file, with the directory."""
    limits = {line.body["interval"]: line.body["limit"] for line in f.of("use.reserve")}
    sums = Counter[str]()
    for line in f.of("use"):
        body, total = line.body, sum(count["ok"] + count["fail"] for count in line.body["counts"])
        yield total == body["ops"] <= limits.get(body["interval"], total), line.where, total, body["ops"]
        want = Counter({(c["kid"], c["cmd"], end): c[end] for c in body["counts"] for end in ("ok", "fail")})
        found = recount(f.ops.get(str(body["interval"]), b"")) if f.ops else +want
        yield +want == found, line.where, "the counts of the ops file", dict(found)
        sums.update({kid: sum(want[key] for key in want if key[0] == kid) for kid, _, _ in want})
    for entry in f.directory:
        yield entry["uses"] == sums[entry["kid"]], entry["kid"], sums[entry["kid"]], entry["uses"]
def recount(data: bytes) -> Counter[tuple[str, str, str]]:
    """Uses by key, command and outcome in an ops file; a frame of many records says how many were good and bad."""
    found = Counter[tuple[str, str, str]]()
    for line in map(parse_or_none, data.splitlines()):
        if fits(line, "cmd:str kid:str n:nat rc:str good?:nat bad?:nat", False):
            one = int(line["rc"] == "00")
            found[line["kid"], line["cmd"], "ok"] += line.get("good", one)
            found[line["kid"], line["cmd"], "fail"] += line.get("bad", 1 - one)
    return +found
def use_ops(f: Facts) -> Results:
    """Each ops file has the digest its use line gives; when there are ops files, none is missing or extra."""
    digests = {str(line.body["interval"]): line.body["ops_sha256"] for line in f.of("use")}
    for name in sorted(set(f.ops) | (set(digests) if f.ops else set())):
        found = sha256(f.ops[name]) if name in f.ops else "no file"
        yield digests.get(name) == found, f"ops/{name}.jsonl", digests.get(name, "no use line"), found
def use_unacc(f: Facts) -> Results:
    """Uses that a crash left uncounted are bounded (a warning with the bound)."""
    held = 0
    for line in f.of("use.reserve", "use", "boot"):
        if line.type == "boot" and (bound := max(held, line.body.get("unaccounted", 0))):
            yield None, line.where, "every use counted", f"up to {bound} uses not counted"
        held = line.body["limit"] if line.type == "use.reserve" else 0

def dev_mode(f: Facts) -> Results:
    """The HSM did not run in development mode."""
    for line in f.of("boot", "config"):
        dev = line.body.get("dev", False) or "DEV" in line.body.get("firmware", "")
        yield not dev, line.where, "an HSM in earnest", "development mode"
def bnd_export(f: Facts) -> Results:
    """The last line is the audit export."""
    yield f.export is not None, "last line", "audit.export", f.lines[-1].type if f.lines else "no line"
def bnd_nonce(f: Facts) -> Results:
    """The export answers this audit's nonce."""
    found = f.export["nonce"] if f.export else "no export"
    yield found == f.trust["nonce"], "last line", f.trust["nonce"], found
def bnd_keys(f: Facts) -> Results:
    """keys.json is the directory the export names: canonical, sorted, complete entries."""
    data, want = f.files.get("keys.json", b""), f.export["keys"] if f.export else "no export"
    yield sha256(data) == want, "keys.json", want, sha256(data)
    kids = [entry["kid"] for entry in f.directory]
    good = canonical(f.directory) == data and kids == sorted(kids)
    yield good, "keys.json", "a canonical sorted directory", "something else"
def bnd_files(f: Facts) -> Results:
    """Papers are named by the log, the README is the known one; other files prove nothing (warning)."""
    known = r"log\.jsonl|keys\.json|checkpoints/[0-9]+\.txt|scripts/[0-9a-f]{64}\.json|ops/[1-9][0-9]*\.jsonl"
    for name, data in f.files.items():
        if name.startswith("paper/"):
            yield sha256(data).encode() in f.log, name, "a digest in the log", sha256(data)
        elif name == "README.md":
            yield sha256(data) == README_SHA256, name, README_SHA256, sha256(data)
        elif not re.fullmatch(known, name):
            yield None, name, "a file of the bundle's format", "not checked"

CHECKS: tuple[Callable[[Facts], Results], ...] = (
    log_parse, log_canon, log_type, log_seq, log_chain, log_time, tru_genesis, tru_key, chk_form, chk_origin,
    chk_sig, chk_size, chk_root, chk_stale, chk_rollback, chk_fork, cer_num, cer_prev, cer_open, cer_script,
    cer_step, cer_comp, quo_role, quo_sig, quo_count, quo_dup, quo_absent, quo_revoked, quo_custodian, key_origin,
    key_lost, key_attr, key_state, key_dup, kcv_close, kcv_dir, kcv_weak, use_gap, use_sum, use_ops, use_unacc,
    dev_mode, bnd_export, bnd_nonce, bnd_keys, bnd_files,
)

@dataclass
class Verdict:
    """What `verify` found; findings and warnings are {code, where, expected, found}, checks {code, examined}."""
    verdict: str
    findings: list[dict[str, str]]
    warnings: list[dict[str, str]]
    checks: list[dict[str, Any]]
    summary: dict[str, Any]

def verify(bundle: Path, trust: dict[str, Any]) -> Verdict:
    """Run every check over a bundle; ValueError when the trust file or the bundle folder cannot be used."""
    form = "vkey:str genesis:hash nonce:str cosigners?:str*"
    if not fits(trust, form, False) or not trust["nonce"] or parse_vkey(trust["vkey"]) is None:
        raise ValueError("the trust file needs vkey, genesis and nonce")
    if trust.get("last_seen") is not None and not is_kind(trust["last_seen"], "seen"):
        raise ValueError("last_seen in the trust file has another form")
    if not bundle.is_dir():
        raise ValueError(f"{bundle} is not a folder")
    facts, result = Facts(bundle, trust), Verdict("pass", [], [], [], {})
    for check in CHECKS:
        code, examined = check.__name__.upper().replace("_", "-"), 0
        for holds, where, expected, found in check(facts):
            examined += 1
            if not holds:
                entry = {"code": code, "where": where, "expected": str(expected), "found": str(found)}
                (result.warnings if holds is None else result.findings).append(entry)
        result.checks.append({"code": code, "examined": examined})
    root = tree_root(facts.leaves)
    result.verdict = "fail" if result.findings else "pass"
    result.summary = {
        "hsm": facts.hsm, "lines": len(facts.lines), "ceremonies": len(facts.ceremonies), "keys": len(facts.keys),
        "uses": sum(count["ok"] + count["fail"] for _, count, _ in facts.uses),
        "root": root, "words": " ".join(pgp_words(bytes.fromhex(root))), "verifier": VERSION,
        "verifier_sha256": sha256(Path(__file__).read_bytes()), "not_proved": NOT_PROVED.split("\n"),
    }
    return result

def report(result: Verdict) -> str:
    """The verdict first, a line for every check with its rule, then a summary to read aloud."""
    s, bad = result.summary, {entry["code"] for entry in result.findings}
    said = "VALID" if result.verdict == "pass" else "INVALID"
    lines = [f"KEY CEREMONIES {s['hsm']}  {said}  {len(CHECKS) - len(bad)} of {len(CHECKS)} checks"]
    for check, count in zip(CHECKS, result.checks, strict=True):
        mark = "FAILED" if count["code"] in bad else "ok"
        lines.append(f"  {mark:7}{count['code']:14}{check.__doc__}  [{count['examined']}]")
    for title, entries in (("FINDING", result.findings), ("WARNING", result.warnings)):
        form = title + " {code} at {where}: expected {expected}, found {found}"
        lines += [form.format(**entry) for entry in entries]
    lines.append("{lines} lines, {ceremonies} ceremonies, {keys} keys, {uses} uses; root {root}".format(**s))
    lines.append(f"Root, read aloud: {s['words']}")
    lines += [f"Not proved: {text}" for text in s["not_proved"]]
    return "\n".join([*lines, f"Verifier {s['verifier']}, SHA-256 {s['verifier_sha256']}"])

def remember(path: Path, trust: dict[str, Any], result: Verdict) -> None:
    """Keep size and root of a log that passed: the next bundle must extend it."""
    seen = {"size": result.summary["lines"], "root": result.summary["root"]}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({**trust, "last_seen": seen}, ensure_ascii=False, indent=1) + "\n", "utf-8")
    os.replace(fresh, path)

def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(prog="verifier.py", description="Check the audit bundle of key ceremonies.")
    parser.add_argument("command", choices=["verify"])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trust", type=Path, required=True, help="the auditor's own trust file")
    parser.add_argument("--json", action="store_true", help="the verdict for programs")
    parser.add_argument("--remember", action="store_true", help="after a pass, keep what was seen")
    options = parser.parse_args(arguments)
    try:
        trust = parse(options.trust.read_bytes())
        result = verify(options.bundle, trust)
        if options.remember and result.verdict == "pass":
            remember(options.trust, trust, result)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot verify: {error}\n")
        return 2
    text = json.dumps(vars(result), ensure_ascii=False, indent=1) if options.json else report(result)
    sys.stdout.write(text + "\n")
    return 1 if result.findings else 0

def pgp_words(data: bytes) -> list[str]:
    """Bytes to be read aloud: even places from the two-syllable list, odd ones from the three-syllable list."""
    return [(PGP_ODD if place % 2 else PGP_EVEN)[byte] for place, byte in enumerate(data)]

PGP_EVEN = """
aardvark absurd accrue acme adrift adult afflict ahead aimless Algol allow alone ammo ancient apple artist assume
Athens atlas Aztec baboon backfield backward banjo beaming bedlamp beehive beeswax befriend Belfast berserk billiard
bison blackjack blockade blowtorch bluebird bombast bookshelf brackish breadline breakup brickyard briefcase Burbank
button buzzard cement chairlift chatter checkup chisel choking chopper Christmas clamshell classic classroom cleanup
clockwork cobra commence concert cowbell crackdown cranky crowfoot crucial crumpled crusade cubic dashboard deadbolt
deckhand dogsled dragnet drainage dreadful drifter dropper drumbeat drunken Dupont dwelling eating edict egghead
eightball endorse endow enlist erase escape exceed eyeglass eyetooth facial fallout flagpole flatfoot flytrap
fracture framework freedom frighten gazelle Geiger glitter glucose goggles goldfish gremlin guidance hamlet
highchair hockey indoors indulge inverse involve island jawbone keyboard kickoff kiwi klaxon locale lockup merit
minnow miser Mohawk mural music necklace Neptune newborn nightbird Oakland obtuse offload optic orca payday peachy
pheasant physique playhouse Pluto preclude prefer preshrunk printer prowler pupil puppy python quadrant quiver quota
ragtime ratchet rebirth reform regain reindeer rematch repay retouch revenge reward rhythm ribcage ringbolt robust
rocker ruffled sailboat sawdust scallion scenic scorecard Scotland seabird select sentence shadow shamrock showgirl
skullcap skydive slingshot slowdown snapline snapshot snowcap snowslide solo southward soybean spaniel spearhead
spellbind spheroid spigot spindle spyglass stagehand stagnate stairway standard stapler steamship sterling stockman
stopwatch stormy sugar surmount suspense sweatband swelter tactics talon tapeworm tempest tiger tissue tonic topmost
tracker transit trauma treadmill Trojan trouble tumor tunnel tycoon uncut unearth unwind uproot upset upshot vapor
village virus Vulcan waffle wallet watchword wayside willow woodlark Zulu
""".split()  # noqa: SIM905
PGP_ODD = """
adroitness adviser aftermath aggregate alkali almighty amulet amusement antenna applicant Apollo armistice article
asteroid Atlantic atmosphere autopsy Babylon backwater barbecue belowground bifocals bodyguard bookseller borderline
bottomless Bradbury bravado Brazilian breakaway Burlington businessman butterfat Camelot candidate cannonball
Capricorn caravan caretaker celebrate cellulose certify chambermaid Cherokee Chicago clergyman coherence combustion
commando company component concurrent confidence conformist congregate consensus consulting corporate corrosion
councilman crossover crucifix cumbersome customer Dakota decadence December decimal designing detector detergent
determine dictator dinosaur direction disable disbelief disruptive distortion document embezzle enchanting
enrollment enterprise equation equipment escapade Eskimo everyday examine existence exodus fascinate filament
finicky forever fortitude frequency gadgetry Galveston getaway glossary gossamer graduate gravity guitarist
hamburger Hamilton handiwork hazardous headwaters hemisphere hesitate hideaway holiness hurricane hydraulic
impartial impetus inception indigo inertia infancy inferno informant insincere insurgent integrate intention
inventive Istanbul Jamaica Jupiter leprosy letterhead liberty maritime matchmaker maverick Medusa megaton microscope
microwave midsummer millionaire miracle misnomer molasses molecule Montana monument mosquito narrative nebula
newsletter Norwegian October Ohio onlooker opulent Orlando outfielder Pacific pandemic Pandora paperweight paragon
paragraph paramount passenger pedigree Pegasus penetrate perceptive performance pharmacy phonetic photograph pioneer
pocketful politeness positive potato processor provincial proximate puberty publisher pyramid quantity racketeer
rebellion recipe recover repellent replica reproduce resistor responsive retraction retrieval retrospect revenue
revival revolver sandalwood sardonic Saturday savagery scavenger sensation sociable souvenir specialist speculate
stethoscope stupendous supportive surrender suspicious sympathy tambourine telephone therapist tobacco tolerance
tomorrow torpedo tradition travesty trombonist truncated typewriter ultimate undaunted underfoot unicorn unify
universe unravel upcoming vacancy vagabond vertigo Virginia visitor vocalist voyager warranty Waterloo whimsical
Wichita Wilmington Wyoming yesteryear Yucatan
""".split()  # noqa: SIM905

if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as bug:  # an auditor must be able to tell "no" from "broken"
        sys.stderr.write(f"bug in the verifier: {type(bug).__name__}\n")
        sys.exit(70)
