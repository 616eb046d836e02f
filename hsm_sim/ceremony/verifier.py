#!/usr/bin/env python3
# fmt: off
"""Check the audit bundle of key ceremonies: off line, one file, nothing but Python's standard library (3.10 on).

    python verifier.py verify BUNDLE --trust trust.json [--json] [--remember]

The rules are hsm-and-ceremony.md 11 and 12. Each check is a function named after its code, its docstring the rule;
all checks run, all findings are told. Exit status: 0 pass, 1 findings, 2 usage or unreadable input, 70 bug.
The trust file is the auditor's own, never out of a bundle: vkey, genesis, nonce, last_seen (null or size and root).
"""
import argparse, base64, functools, hashlib, itertools, json, os, re, sys, unicodedata  # noqa: E401, I001
from collections import Counter, defaultdict, namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace as Record
from typing import Any
VERSION, ZERO_HASH, SHANGHAI = "3", "0" * 64, timedelta(hours=8)
MAX_LINE_BYTES, MAX_INTEGER = 16_384, 2**53 - 1  # limits of the format (7, 11.2)
MAX_BUNDLE_BYTES, MAX_FILES, MAX_SHOWN = 2**30, 1_000_000, 4_000  # read; characters of a value shown
NOT_PROVED = ["That the HSM program did what it logged: the owner of a simulator can run other code.",
              "That no key was used after the last reserve line by somebody who then went back to an older state.",
              "That check values belong to the right keys: this program has no keys.",
              "That two different people are two people, or that the room was locked."]

# Hashes and JSON.
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
def leaf_hash(line: bytes) -> str:  # RFC 6962
    return sha256(b"\x00" + line)
def tree_root(leaves: Sequence[str]) -> str:
    """RFC 6962 root over leaf hashes, hex: the left subtree takes the largest power of two below the number."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + bytes.fromhex(tree_root(leaves[:half]) + tree_root(leaves[half:])))
def parse(text: bytes) -> Any:
    """The value of JSON text; None for anything else, for a duplicate member and for bottomless nesting."""
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError("duplicate member")
        return found
    try:
        return json.loads(text.decode(), object_pairs_hook=members)
    except (ValueError, RecursionError):
        return None
def spellable(value: Any) -> bool:
    """Whether a value has a canonical form: no null, float, large integer, name beyond ASCII or text beyond NFC."""
    if isinstance(value, dict):
        return all(name.isascii() and spellable(member) for name, member in value.items())
    if isinstance(value, list):
        return all(map(spellable, value))
    if isinstance(value, str):
        return unicodedata.is_normalized("NFC", value)
    return isinstance(value, int) and abs(value) <= MAX_INTEGER
ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
def canonical(value: Any) -> bytes:
    """RFC 8785; b"" for a value without a canonical form."""
    try:
        return ENCODER.encode(value).encode() if spellable(value) else b""
    except (UnicodeEncodeError, RecursionError):
        return b""

# Ed25519 (RFC 8032 5.1.7), strict: S below L, canonical points, no key of small order, R compared as bytes.
# Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z; the sum is complete, so it doubles too.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]
def point_sum(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P
def point_decode(text: bytes) -> Point | None:
    sign, y = divmod(int.from_bytes(text, "little"), 1 << 255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P  # the other root of minus one
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P
BASE = point_decode(bytes.fromhex("58" + "66" * 31)) or (0, 1, 1, 0)
@functools.lru_cache(maxsize=256)
def doublings(p: Point) -> list[Point]:  # p, 2p, 4p, ... as far as a scalar goes
    return list(itertools.accumulate(range(252), lambda row, _: point_sum(row, row), initial=p))
def point_times(n: int, p: Point) -> Point:
    return functools.reduce(point_sum, (row for bit, row in enumerate(doublings(p)) if n >> bit & 1), (0, 1, 1, 0))
@functools.lru_cache(maxsize=4096)
def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether R = s*B - k*A for a signature R || s and k = SHA-512(R || A || message); a wrong length is False."""
    minus = point_decode(public[:31] + bytes([public[31] ^ 128])) if len(public) == 32 else None  # -A
    s = int.from_bytes(signature[32:], "little")
    if minus is None or len(signature) != 64 or s >= L or point_times(8, minus)[0] == 0:  # 0: A of small order
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    x, y, z, _ = point_sum(point_times(s, BASE), point_times(k, minus))
    x, y = (part * pow(z, -1, P) % P for part in (x, y))
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]

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
def read_note(note: bytes, vkeys: Iterable[str]) -> tuple[bytes, list[str]]:
    """Text with its last line feed; for each signature line the known key that made it, "" for none."""
    match = re.fullmatch(rb"(.+\n)\n((?:\xe2\x80\x94 [^ \n]+ [^ \n]+\n)+)", note, re.DOTALL)  # a dash, name, base64
    text, block = match.groups() if match else (b"", b"")
    known, signers = {key[:2]: (key[2], vkey) for vkey in vkeys if (key := parse_vkey(vkey))}, []
    for _, name, code in (line.split(" ") for line in block.decode(errors="replace").split("\n")[:-1]):
        data = decode64(code)
        public, vkey = known.get((name, data[:4]), (b"", ""))
        signers.append(vkey if signature_holds(public, text, data[4:]) else "")
    return text, signers

# The forms of lines: "name:kind", "?" when it may be missing, "*" a list, "%" a table. Anything else is a finding.
BORN, MADE = "alg:str export:str kid:str mode:str usage:str version:str from?:day until?:day", "fp:fp kcv:kcv"
TRUST = "vkey:str genesis:hash nonce:str last_seen?:seen"
TEXTS = {
    "str": ".*", "hash": "[0-9a-f]{64}", "fp": "[0-9a-f]{32}", "kcv": "[0-9A-F]{6}", "end": "complete|aborted",
    "day": "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
}
SHAPES = {
    "line": "body:obj boot:nat prev:hash seq:nat ts:str type:str v:one", "seen": "root:hash size:nat",
    "person": "id:str role:str", "member": "id:str role:str vkey:str", "signed": "id:str role:str sig:str",
    "key": "fp:fp kcv:kcv kid:str", "entry": f"{BORN} {MADE} cid:nat state:str uses:nat",
    "count": "cmd:str fail:nat kid:str ok:nat", "policy": "exclusive:str* min_components:nat quorum:nat%%",
    "script": "cid:nat kind:str plan:task*", "task": "action:str args:obj",
}
FORMS = {  # bodies by type (11.3, 11.6, 13)
    "log.genesis": "format:one hsm:str vkey:str policy:policy roster:member* "
                   "instance?:str notice?:str statement?:str",
    "boot": "clean:bool firmware:str unaccounted?:nat old_size?:nat new_size?:nat", "unlock": "people:str*",
    "shutdown": "clean?:bool firmware?:str unaccounted?:nat", "config": "sha256:hash dev?:bool",
    "roster.revoke": "id:str reason:str approvals:signed*", "audit.export": "nonce:str keys:hash",
    "roster.add": "id:str role:str vkey:str approvals:signed*",
    "ceremony.open": "cid:nat kind:str script:hash prev_close:hash attend:person*",
    "ceremony.step": "cid:nat step:nat action:str args:obj result:obj approvals:signed*",
    "ceremony.exception": "cid:nat step:nat text:str approvals:signed*",
    "ceremony.close": "cid:nat status:end steps:nat keys:key* signatures:signed*",
    "key.suspend": "kid:str reason:str", "key.expire": "kid:str reason:str",
    "use.reserve": "interval:nat limit:nat", "use": "interval:nat counts:count* ops:nat ops_sha256:hash",
    "limit": "what:str client?:str kid?:str until:str", "auth.fail": "client:str reason:str",
    "export": "kid:str under:str kcv:kcv client:str method:str batch?:str",
}
STEPS = {  # what the arguments and the result of a step need at least; a script may say more
    "component": ("kid:str n:nat", "kcv:kcv"), "generate": (BORN, MADE), "export": ("kid:str under:str", "kcv:kcv"),
    "combine": (BORN + " components:nat", MADE), "import": (BORN + " under:str kcv:kcv", MADE),
    "batch-open": ("batch:str masters:str* methods:str* cards:nat expires:str", ""),
    **dict.fromkeys(("activate", "deactivate", "resume", "compromise", "destroy"), ("kid:str", "state?:str")),
}
OPERATION = "cmd:str kid:str n:nat rc:str good?:nat bad?:nat"  # a line of an ops file, which may say more
MOVES = {  # action: the states it starts from, the state it leads to (8.4)
    "activate": ("PRE_ACTIVE", "ACTIVE"), "suspend": ("ACTIVE", "SUSPENDED"),
    "resume": ("SUSPENDED", "ACTIVE"), "deactivate": ("ACTIVE SUSPENDED", "DEACTIVATED"),
    "compromise": ("PRE_ACTIVE ACTIVE SUSPENDED DEACTIVATED", "COMPROMISED"),
    "destroy": ("PRE_ACTIVE ACTIVE SUSPENDED DEACTIVATED COMPROMISED", "DESTROYED"),
}
CHANGES = {"key.suspend": "suspend", "key.expire": "deactivate", "export": "export"}  # outside ceremonies
SIGNED = {  # what people sign of a line (11.4)
    "ceremony.step": "cid step action args", "ceremony.exception": "cid step text", "roster.add": "id role vkey",
    "ceremony.close": "cid keys status steps", "roster.revoke": "id reason"}
BIRTHS, ON_THE_DAY = ("combine", "generate", "import"), {"custodian", "kcv"}  # the day may add these (10.4, 9.4)
MAKING = {  # commands that a DEACTIVATED key, or one past its last day, no longer does
    "12", "14", "28", "30", "32", "34", "46", "4A", "4E", "4G", "50", "52", "72", "80", "84", "A0", "A8", "M6"}
WEAK = {"8CA64D", "921105", "DC95C0", "0B50E6", "AAE069", "763CBC", "66E94B", "219471", "9F1F7B"}  # all-zero keys
def is_a(value: Any, kind: str) -> bool:
    """Whether a value is of a kind: a list, a table, a shape, a text, or a plain type."""
    if kind.endswith("*"):
        return isinstance(value, list) and all(is_a(item, kind[:-1]) for item in value)
    if kind.endswith("%"):
        return isinstance(value, dict) and all(is_a(item, kind[:-1]) for item in value.values())
    if kind in SHAPES:
        return fits(value, SHAPES[kind])
    if kind in TEXTS:
        return isinstance(value, str) and re.fullmatch(TEXTS[kind], value, re.DOTALL) is not None
    if kind in ("nat", "one"):
        return type(value) is int and (value >= 0 if kind == "nat" else value == 1)
    return type(value) is {"bool": bool, "obj": dict}[kind]
@functools.cache
def members(form: str) -> list[tuple[str, str, bool]]:
    """The members a form names: name, kind, whether it must be there."""
    return [(name.rstrip("?"), kind, "?" not in name) for name, kind in (part.split(":") for part in form.split())]
def fits(value: Any, form: str, exact: bool = True) -> bool:
    """Whether an object has the members a form names, each of its kind, and (exact) no others."""
    if not isinstance(value, dict) or (exact and not value.keys() <= {name for name, _, _ in members(form)}):
        return False
    return all(is_a(value[name], kind) if name in value else not must for name, kind, must in members(form))
def day_of(stamp: str) -> str:
    """The day in Shanghai (UTC+8), where keys' days count, of a UTC time with milliseconds; "" for no such time."""
    try:
        time = datetime.fromisoformat(stamp.removesuffix("Z"))
        return str((time + SHANGHAI).date()) if f"{time.isoformat(timespec='milliseconds')}Z" == stamp else ""
    except (ValueError, OverflowError):
        return ""

# The walk through the log. A signer is one entry of an attendance or approval list, judged where it stands: `held`
# is the role on the roster then, `good` None in an attendance list. An agreement has those whose signature counts.
# Records: a ceremony has line, plan (None: no such script), steps, exceptions {step: line of its excuse},
# close; a key has cid, args, result, first and last day, state, and since: its states since the last use line.
# Twins are people or signing keys enrolled twice, strays ceremony lines outside their ceremony.
Checkpoint = namedtuple("Checkpoint", "where size root origin signers")  # size -1: no checkpoint
Signer = namedtuple("Signer", "where id role held good present revoked repeated")
Agreement = namedtuple("Agreement", "where people need")  # {id: role}; need None: an action without quorum
Use = namedtuple("Use", "where kid cmd good making states first last")  # of a key, exports too, between two days

class Line:
    """One line of the log; `body` is None when the line or its body lacks the form of its type."""
    def __init__(self, n: int, raw: bytes) -> None:
        self.n, self.raw, self.where = n, raw, f"line {n}"
        self.value: Any = parse(raw if len(raw) <= MAX_LINE_BYTES else b"")
        framed = is_a(self.value, "line")
        self.type, self.day = (str(self.value["type"]), day_of(self.value["ts"])) if framed else ("", "")
        body: Any = self.value["body"] if framed else None
        good = self.type in FORMS and fits(body, FORMS[self.type])
        if good and self.type == "ceremony.step":
            args, result = STEPS.get(body["action"], ("unknown:nat", ""))
            good = fits(body["args"], args, False) and fits(body["result"], result, False)
        self.body: Any = body if good else None

class Facts:
    """The bundle's files, and what one walk through the log gathers for the checks to compare."""
    def __init__(self, files: dict[str, bytes], trust: dict[str, Any]) -> None:
        self.files, self.trust, self.log = files, trust, files.get("log.jsonl", b"")
        self.hsm = (parse_vkey(trust["vkey"]) or ("",))[0]
        raw = self.log.removesuffix(b"\n").split(b"\n") if self.log else []
        self.lines, self.leaves = [Line(n, text) for n, text in enumerate(raw)], [leaf_hash(text) for text in raw]
        self.read, self.framed = [x for x in self.lines if x.value is not None], [x for x in self.lines if x.type]
        self.root = functools.cache(lambda size: tree_root(self.leaves[:size]))
        self.seen: Any = trust.get("last_seen", {"root": self.root(0), "size": 0})
        self.scripts, self.ops = self.folder(r"scripts/(.{64})\.json"), self.folder(r"ops/(.+)\.jsonl")
        self.policy: dict[str, Any] = {"quorum": {}, "min_components": 0}
        self.roster, self.revoked = dict[str, tuple[str, str]](), set[str]()  # {id: (role, verifier key)}
        self.twins, self.moves = list[tuple[str, str]](), list[tuple[str, str, str, str]]()  # of states
        self.signers, self.agreements = list[Signer](), dict[int, Agreement]()
        self.ceremonies, self.current, self.strays = list[Record](), Record(line=None), list[Line]()
        self.components, self.keys = defaultdict[tuple[int, str], list[Any]](list), dict[str, Record]()
        self.uses, self.reserved = list[Use](), ""  # the day of the reserve line that is open
        for line in self.of(*FORMS):
            self.take(line, line.body)
        known = [trust["vkey"], *(vkey for role, vkey in self.roster.values() if role == "EA")]
        self.checkpoints = [self.checkpoint(*item, known) for item in self.folder(r"(checkpoints/.+\.txt)").items()]
        entries = parse(files.get("keys.json", b""))
        self.directory: list[Any] = entries if is_a(entries, "entry*") else []
        self.listed = [(e, self.keys[e["kid"]]) for e in self.directory if e["kid"] in self.keys]
        self.export: Any = self.lines[-1].body if self.lines and self.lines[-1].type == "audit.export" else None
    def folder(self, pattern: str) -> dict[str, bytes]:
        return {match[1]: data for name, data in self.files.items() if (match := re.fullmatch(pattern, name))}
    def of(self, *types: str) -> Iterator[Line]:
        return (line for line in self.lines if line.type in types and line.body is not None)
    def steps(self, *actions: str) -> Iterator[Line]:
        return (line for line in self.of("ceremony.step") if line.body["action"] in actions)
    def checkpoint(self, where: str, note: bytes, known: Iterable[str]) -> Checkpoint:
        text, signers = read_note(note, known)
        name, size, root = (*text.decode(errors="replace").split("\n"), "", "")[:3]
        good = text.count(b"\n") == 3 and re.fullmatch("0|[1-9][0-9]{0,15}", size)
        digest = decode64(root)
        return Checkpoint(where, int(size) if good and len(digest) == 32 else -1, digest.hex(), name, signers)
    def signer(self, line: Line, entry: Any, before: Sequence[Any], signed: bytes = b"") -> Signer:
        """Judge an entry with the roster of this moment; `signed` is what its signature should be over."""
        who, (role, vkey) = entry["id"], self.roster.get(entry["id"], ("", ""))
        attend = self.current.line.body["attend"] if self.current.line and signed else [entry]
        key = parse_vkey(vkey) or ("", b"", b"")
        good = signature_holds(key[2], signed, decode64(entry["sig"])) if signed else None
        there, twice = (any(other["id"] == who for other in people) for people in (attend, before))
        return Signer(f"{line.where}, {who}", who, entry["role"], role, good, there, who in self.revoked, twice)
    def agree(self, line: Line, body: Any) -> Agreement:
        """Look at a line's signatures; 11.4 says what was signed."""
        kind, given = ("close", "signatures") if line.type == "ceremony.close" else ("approval", "approvals")
        said = canonical({name: body[name] for name in SIGNED[line.type].split()})
        signed = f"hsm-sim {kind} v1\n{line.value['prev']}\n".encode() + said
        signers = [self.signer(line, entry, body[given][:n], signed) for n, entry in enumerate(body[given])]
        people = {s.id: s.role for s in signers if s.role == s.held and s[4:] == (True, True, False, False)}
        action = body.get("action", "roster" if line.type.startswith("roster") else line.type.split(".")[1])
        need = self.policy["quorum"].get(action, {"IW": 1} if action == "exception" else None)
        self.signers += signers
        self.agreements[line.n] = Agreement(line.where, people, need)
        return self.agreements[line.n]
    def enrol(self, line: Line, people: list[dict[str, str]]) -> None:
        for person in people:
            known = {"this HSM": ("", self.trust["vkey"]), **self.roster}
            self.twins += [(line.where, f"{other} and {person['id']}") for other, (_, vkey) in known.items()
                           if other == person["id"] or vkey.split("+")[-1] == person["vkey"].split("+")[-1]]
            self.roster[person["id"]] = (person["role"], person["vkey"])
    def take(self, line: Line, body: Any) -> None:
        """Gather what one line says."""
        agreed = self.agree(line, body).people if line.type in SIGNED else {}
        here = self.current.line is not None and self.current.line.body["cid"] == body.get("cid")
        if line.type in ("ceremony.step", "ceremony.exception", "ceremony.close") and not here:
            self.strays.append(line)
        match line.type:
            case "log.genesis" if line.n == 0:
                self.policy = body["policy"]
                self.enrol(line, body["roster"])
            case "roster.add":
                self.enrol(line, [body])
            case "roster.revoke":
                self.revoked.add(body["id"])
            case "ceremony.open":
                self.begin(line, body, body["attend"])
            case "ceremony.step":
                self.act(line, body["cid"], body["action"], body["args"])
                if here:
                    self.current.steps.append(line)
            case "ceremony.exception" if here and agreed:
                self.current.exceptions.setdefault(body["step"], line.n)
            case "ceremony.close" if here:
                self.current.close, self.current = line, Record(line=None)
            case "key.suspend" | "key.expire" | "export":
                self.act(line, 0, CHANGES[line.type], body)
            case "use.reserve":
                self.reserved = line.day
            case "use":
                self.count(line, body["counts"])
    def begin(self, line: Line, body: Any, attend: Any) -> None:
        self.signers += [self.signer(line, entry, attend[:count]) for count, entry in enumerate(attend)]
        script = parse(text := self.scripts.get(body["script"], b""))
        good = (is_a(script, "script") and canonical(script) == text and sha256(text) == body["script"]
                and (script["cid"], script["kind"]) == (body["cid"], body["kind"]))
        plan = script["plan"] if good else None
        self.current = Record(line=line, plan=plan, steps=[], exceptions={}, close=None)
        self.ceremonies.append(self.current)
    def act(self, line: Line, cid: int, action: str, args: Any) -> None:
        """What a step, a change of state or an export does to keys."""
        kid, key = args.get("kid"), self.keys.get(args.get("kid"))
        state = key.state if key else "(none)"
        if action == "component":
            self.components[cid, kid].append(line.body)
        elif action in BIRTHS and not key:
            self.keys[kid] = Record(cid=cid, args=args, result=line.body["result"], first=args.get("from", ""),
                                    last=args.get("until", "9999"), state="PRE_ACTIVE", since={"PRE_ACTIVE"})
        elif action == "export":
            cmd = args.get("method", action)
            self.uses.append(Use(line.where, kid, cmd, True, True, {state}, line.day, line.day))
        elif action in MOVES:
            self.moves.append((line.where, kid, state, action))
            if key:
                key.state = MOVES[action][1]
                key.since.add(key.state)
    def count(self, line: Line, counts: list[Any]) -> None:
        """A use belongs to a state the key held since the last use line, and to a day since the reserve line."""
        for count in counts:
            kid, cmd, first = count["kid"], count["cmd"], self.reserved or line.day
            states = self.keys[kid].since if kid in self.keys else set()
            self.uses.append(Use(line.where, kid, cmd, count["ok"] > 0, cmd in MAKING, states, first, line.day))
        self.reserved = ""
        for key in self.keys.values():
            key.since = {key.state}

# The checks. Each gives (holds, or None for a warning; where; expected; found) for everything it examines.
Row = tuple[bool | None, str, Any, Any]
def same(where: str, expected: Any, found: Any) -> Row:
    return expected == found, where, expected, found
def log_parse(f: Facts) -> Iterable[Row]:
    """Each line is a JSON object of at most 16,384 bytes without duplicate members, and ends with a line feed."""
    yield f.log.endswith(b"\n"), "log.jsonl", "a line feed at the end", "none"
    for line in f.lines:
        yield type(line.value) is dict, line.where, "a JSON object", f"{len(line.raw)} bytes of something else"
def log_canon(f: Facts) -> Iterable[Row]:
    """The bytes of each line are the canonical form of what it says."""
    return [(canonical(line.value) == line.raw, line.where, "canonical bytes", "other bytes") for line in f.read]
def log_type(f: Facts) -> Iterable[Row]:
    """Version, type and members of each line are known."""
    return [(line.body is not None, line.where, "a known form", line.type or "no line") for line in f.read]
def log_seq(f: Facts) -> Iterable[Row]:
    """seq is the line number."""
    return [same(line.where, line.n, line.value["seq"]) for line in f.framed]
def log_chain(f: Facts) -> Iterable[Row]:
    """prev is the hash of the line before, zeros in the first line."""
    return [same(x.where, f.leaves[x.n - 1] if x.n else ZERO_HASH, x.value["prev"]) for x in f.framed]
def log_time(f: Facts) -> Iterable[Row]:
    """Time is UTC with milliseconds and never runs backwards."""
    last = ""
    for line in f.framed:
        stamp = line.value["ts"]
        yield line.day != "" and stamp >= last, line.where, f"a time from {last or 'any day'} on", stamp
        last = max(last, stamp)
def tru_genesis(f: Facts) -> Iterable[Row]:
    """The first line, and only that, is the genesis the auditor saw."""
    yield same("line 0", f.trust["genesis"], "".join(f.leaves[:1]))
    yield same("log.jsonl", [0], [line.n for line in f.lines if line.type == "log.genesis"])
def tru_key(f: Facts) -> Iterable[Row]:
    """The genesis names the HSM and the log key the auditor knows."""
    return [same(x.where, (f.hsm, f.trust["vkey"]), (x.body["hsm"], x.body["vkey"])) for x in f.of("log.genesis")]
def chk_form(f: Facts) -> Iterable[Row]:
    """Each checkpoint is a signed note with name, size and root."""
    return [(c.size >= 0, c.where, "a checkpoint", "something else") for c in f.checkpoints]
def chk_origin(f: Facts) -> Iterable[Row]:
    """Each checkpoint bears the name of this HSM."""
    return [same(c.where, f.hsm, c.origin) for c in f.checkpoints if c.size >= 0]
def chk_sig(f: Facts) -> Iterable[Row]:
    """The HSM signed each checkpoint once, and every other signature is a known auditor's."""
    return [("" not in c.signers and c.signers.count(f.trust["vkey"]) == 1, c.where, "known signers, the HSM once",
             [vkey or "unknown or bad" for vkey in c.signers]) for c in f.checkpoints]
def chk_size(f: Facts) -> Iterable[Row]:
    """No checkpoint covers more lines than there are."""
    return [(c.size <= len(f.lines), c.where, f"at most {len(f.lines)} lines", c.size) for c in f.checkpoints]
def chk_root(f: Facts) -> Iterable[Row]:
    """The root of each checkpoint is the root of that many lines."""
    return [same(c.where, f.root(c.size), c.root) for c in f.checkpoints if 0 <= c.size <= len(f.lines)]
def chk_stale(f: Facts) -> Iterable[Row]:
    """The newest good checkpoint covers the last line."""
    want, vkey = (len(f.lines), f.root(len(f.lines)), f.hsm), f.trust["vkey"]
    good = any(c[1:4] == want and vkey in c.signers for c in f.checkpoints)
    yield good, "checkpoints/", f"a good checkpoint of {len(f.lines)} lines", "none"
def chk_rollback(f: Facts) -> Iterable[Row]:
    """The log is not shorter than the auditor saw it."""
    yield f.seen["size"] <= len(f.lines), "log.jsonl", f"at least {f.seen['size']} lines", len(f.lines)
def chk_fork(f: Facts) -> Iterable[Row]:
    """The log begins with the lines the auditor saw."""
    if (size := f.seen["size"]) <= len(f.lines):
        yield same(f"first {size} lines", f.seen["root"], f.root(size))
def cer_num(f: Facts) -> Iterable[Row]:
    """Ceremonies are numbered 1, 2, 3 without gap or repeat."""
    return [same(c.line.where, due, c.line.body["cid"]) for due, c in enumerate(f.ceremonies, 1)]
def cer_prev(f: Facts) -> Iterable[Row]:
    """Each open line names the close line before it."""
    last = ZERO_HASH
    for line in f.of("ceremony.open", "ceremony.close"):
        if line.type == "ceremony.open":
            yield same(line.where, last, line.body["prev_close"])
        last = f.leaves[line.n] if line.type == "ceremony.close" else last
def cer_open(f: Facts) -> Iterable[Row]:
    """Each ceremony was closed, once, before the next one."""
    yield from [(c.close is not None, c.line.where, "closed before the next", "open") for c in f.ceremonies]
    yield from [(x.type != "ceremony.close", x.where, "an open ceremony to close", "none") for x in f.strays]
def cer_script(f: Facts) -> Iterable[Row]:
    """Each ceremony's script is here and unchanged, and there is no other script."""
    named = {c.line.body["script"] for c in f.ceremonies}
    yield from [(c.plan is not None, c.line.where, c.line.body["script"], "no such file") for c in f.ceremonies]
    yield from [(name in named, f"scripts/{name}.json", "a ceremony that names it", "none") for name in f.scripts]
def cer_step(f: Facts) -> Iterable[Row]:
    """Steps stand in their ceremony, in order, as the script says or after a witnessed exception (warning)."""
    yield from [(x.type == "ceremony.close", x.where, "inside its open ceremony", "outside") for x in f.strays]
    for c in f.ceremonies:
        plan, at = c.plan or [], 0
        for due, line in enumerate(c.steps, 1):
            step, args = line.body["step"], line.body["args"]
            yield same(line.where, f"step {due}", f"step {step}")
            task = plan[at] if at < len(plan) else {"action": "the end", "args": {}}
            said = {name: args[name] for name in args if name in task["args"] or name not in ON_THE_DAY}
            good = line.body["action"] == task["action"] and canonical(said) == canonical(task["args"])
            excused = not good and c.exceptions.get(step, line.n) < line.n
            want, found = ("{action} {args}".format(**task) for task in (task, line.body))
            yield None if excused else good, line.where, want, found
            at += not excused
        if c.close:
            end, whole = c.close.body, at == len(plan) or c.close.body["status"] == "aborted"
            want = f"{len(c.steps)} steps, all {len(plan)} of the script"
            found = f"{end['steps']}, script done to {at}, {end['status']}"
            yield end["steps"] == len(c.steps) and whole, c.close.where, want, found
def cer_comp(f: Facts) -> Iterable[Row]:
    """Each combined key has all its components, each once, and not fewer than the policy's minimum."""
    for line in f.steps("combine"):
        args, least = line.body["args"], f.policy["min_components"]
        found = sorted(part["args"]["n"] for part in f.components[line.body["cid"], args["kid"]])
        good = least <= args["components"] == len(found) and found == [*range(1, len(found) + 1)]
        yield good, line.where, f"components 1 to {args['components']}, at least {least}", found
def quo_role(f: Facts) -> Iterable[Row]:
    """Everybody who attends or signs is on the roster, in that role."""
    return [(s.role == s.held, s.where, s.held or "a person of the roster", s.role) for s in f.signers]
def quo_sig(f: Facts) -> Iterable[Row]:
    """Each signature verifies at this position in the log."""
    return [(s.good, s.where, "a signature over all up to here", "none") for s in f.signers if s.good is not None]
def quo_count(f: Facts) -> Iterable[Row]:
    """Each action has its quorum of good signatures."""
    for a in f.agreements.values():
        counted = Counter(a.people.values())
        good = a.need is not None and all(counted[role] >= n for role, n in a.need.items())
        yield good, a.where, a.need or "an action with a quorum", dict(counted)
def quo_dup(f: Facts) -> Iterable[Row]:
    """Nobody counts twice, under one name or two, and nobody enters two components of one key."""
    yield from [(not s.repeated, s.where, "each person once", "again") for s in f.signers]
    yield from [(False, where, "one enrolment for a person and a signing key", names) for where, names in f.twins]
    for (_, kid), parts in f.components.items():
        custodians = [str(part["args"].get("custodian")) for part in parts]
        yield len(set(custodians)) == len(custodians), kid, "different custodians", custodians
def quo_absent(f: Facts) -> Iterable[Row]:
    """Everybody who signs attends."""
    return [(s.present, s.where, "a person who attends", "somebody else") for s in f.signers]
def quo_revoked(f: Facts) -> Iterable[Row]:
    """Nobody attends or signs after being revoked."""
    return [(not s.revoked, s.where, "a person not revoked", "revoked") for s in f.signers]
def quo_custodian(f: Facts) -> Iterable[Row]:
    """The custodian whom a component names approved it."""
    named = [(line, str(line.body["args"].get("custodian"))) for line in f.steps("component")]
    return [(f.agreements[x.n].people.get(name) == "KC", x.where, f"signed by {name}", "none") for x, name in named]
def key_origin(f: Facts) -> Iterable[Row]:
    """Each key listed, used, exported, changed or named in a step came from a recorded ceremony."""
    found = [("keys.json", e["kid"]) for e in f.directory] + [(where, kid) for where, kid, _, _ in f.moves]
    found += [(use.where, use.kid) for use in f.uses if use.kid]
    found += [(line.where, line.body["args"]["under"]) for line in f.steps("export", "import")]
    found += [(line.where, kid) for line in f.steps("batch-open") for kid in line.body["args"]["masters"]]
    return [(kid in f.keys, where, "a key made in a ceremony", kid) for where, kid in found]
def key_lost(f: Facts) -> Iterable[Row]:
    """No key of a ceremony is missing unless it was destroyed."""
    listed = {e["kid"] for e in f.directory}
    return [(kid in listed or k.state == "DESTROYED", "keys.json", kid, "not listed") for kid, k in f.keys.items()]
def key_attr(f: Facts) -> Iterable[Row]:
    """The attributes of each key are those of its ceremony, and only an exportable key left whole."""
    for e, key in f.listed:
        want, found = ({name: row[name] for name, *_ in members(BORN) if name in row} for row in (key.args, e))
        yield same(e["kid"], {"cid": key.cid, **want}, {"cid": e["cid"], **found})
    for use in [use for use in f.uses if use.cmd == "export" and use.kid in f.keys]:
        yield f.keys[use.kid].args["export"] != "N", use.where, "an exportable key", use.kid
def key_state(f: Facts) -> Iterable[Row]:
    """States change only as 8.4 draws it, the directory shows the last, and keys work in force and within dates."""
    for where, kid, before, action in f.moves:
        yield before in MOVES[action][0].split(), f"{where}, {kid}", MOVES[action][0], before
    yield from [same(e["kid"], key.state, e["state"]) for e, key in f.listed]
    for use in [use for use in f.uses if use.good and use.kid in f.keys]:
        able = "ACTIVE" in use.states or ("DEACTIVATED" in use.states and not use.making)
        dated = f.keys[use.kid].first <= use.last and (use.first <= f.keys[use.kid].last or not use.making)
        yield able and dated, use.where, f"{use.kid} in force", f"{sorted(use.states)} on {use.last}"
def key_dup(f: Facts) -> Iterable[Row]:
    """No key identifier and no key value appears twice."""
    born = [(line.where, line.body["args"]["kid"], line.body["result"]["fp"]) for line in f.steps(*BIRTHS)]
    for rows in (born, [("keys.json", e["kid"], e["fp"]) for e in f.directory]):
        kids, values = Counter(kid for _, kid, _ in rows), Counter(fp for _, _, fp in rows)
        for where, kid, fp in rows:
            yield kids[kid] == 1 == values[fp], where, f"{kid} and its value once", "again"
def kcv_close(f: Facts) -> Iterable[Row]:
    """The keys read out at the close are the keys the steps made, imported ones with the value a person typed."""
    for c in f.ceremonies:
        made = [line.body for line in c.steps if line.body["action"] in BIRTHS]
        want = sorted((body["args"]["kid"], body["result"]["kcv"], body["result"]["fp"]) for body in made)
        read = sorted((key["kid"], key["kcv"], key["fp"]) for key in c.close.body["keys"]) if c.close else want
        yield same(c.line.where, want, read)
    yield from [same(x.where, x.body["args"]["kcv"], x.body["result"]["kcv"]) for x in f.steps("import")]
def kcv_dir(f: Facts) -> Iterable[Row]:
    """Check value and fingerprint of each key, in the directory and at an export, are those of its ceremony."""
    yield from [same(e["kid"], key.result, {n: e[n] for n in key.result}) for e, key in f.listed]
    for line in [line for line in f.steps("export") if line.body["args"]["kid"] in f.keys]:
        yield same(line.where, f.keys[line.body["args"]["kid"]].result["kcv"], line.body["result"]["kcv"])
def kcv_weak(f: Facts) -> Iterable[Row]:
    """No component or key is all zero, and no component equals another or the key."""
    for line in f.steps("component", *BIRTHS):
        yield line.body["result"]["kcv"] not in WEAK, line.where, "no all-zero value", line.body["result"]["kcv"]
    for line in f.steps("combine"):
        bodies = [line.body, *f.components[line.body["cid"], line.body["args"]["kid"]]]
        values = [body["result"]["kcv"] for body in bodies]
        yield len(set(values)) == len(values), line.where, "different check values", values
def use_gap(f: Facts) -> Iterable[Row]:
    """Intervals are reserved and numbered without gap; the next boot owns up to one that a crash cut short."""
    due, held, reserves = 1, None, any(f.of("use.reserve"))
    for line in f.of("use.reserve", "use", "boot"):
        body, fresh = line.body, line.type == "use.reserve"
        if line.type != "boot":
            good = body["interval"] == due and (held is None) == (fresh or not reserves)
            yield good, line.where, f"interval {due}, reserved once", body["interval"]
            due, held = body["interval"] + (not fresh), body["limit"] if fresh else None
        elif held is not None:
            yield body.get("unaccounted", -1) >= held, line.where, f"{held} uses of {due} unaccounted", body
            due, held = due + 1, None
    yield held is None, "end of log", f"the use line of interval {due}", "none"
def use_sum(f: Facts) -> Iterable[Row]:
    """Counters add up: within an interval, within what was reserved, with the ops file, with the directory."""
    limits = {line.body["interval"]: line.body["limit"] for line in f.of("use.reserve")}
    sums = Counter[str]()
    for line in f.of("use"):
        body, counts, total = line.body, line.body["counts"], sum(c["ok"] + c["fail"] for c in line.body["counts"])
        yield total == body["ops"] <= limits.get(body["interval"], total), line.where, total, body["ops"]
        want = +Counter({(c["kid"], c["cmd"], end): c[end] for c in counts for end in ("ok", "fail")})
        found = recount(f.ops.get(str(body["interval"]), b"")) if f.ops else want
        yield want == found, line.where, "the counts of the ops file", dict(found)
        for count in counts:
            sums[count["kid"]] += count["ok"] + count["fail"]
    yield from [same(e["kid"], sums[e["kid"]], e["uses"]) for e in f.directory]
def use_ops(f: Facts) -> Iterable[Row]:
    """Each ops file has the digest its use line gives and numbered lines; none of the files is missing or extra."""
    digests = {str(line.body["interval"]): line.body["ops_sha256"] for line in f.of("use")}
    for name in sorted(set(f.ops) | (set(digests) if f.ops else set())):
        where, data = f"ops/{name}.jsonl", f.ops.get(name, b"")
        yield same(where, digests.get(name, "no use line"), sha256(data) if name in f.ops else "no file")
        numbers = [line["n"] for line in map(parse, data.splitlines()) if fits(line, OPERATION, False)]
        yield numbers == [*range(1, data.count(b"\n") + 1)], where, "operations from 1 on", numbers
def use_unacc(f: Facts) -> Iterable[Row]:
    """Uses that a crash left uncounted are bounded (a warning with the bound)."""
    return [(None, line.where, "every use counted", f"up to {bound} uses not counted")
            for line in f.of("boot") if (bound := line.body.get("unaccounted", 0))]
def dev_mode(f: Facts) -> Iterable[Row]:
    """The HSM did not run in development mode."""
    for line in f.of("boot", "config", "shutdown"):
        dev = line.body.get("dev") or "DEV" in line.body.get("firmware", "")
        yield not dev, line.where, "an HSM in earnest", "development mode"
def bnd_export(f: Facts) -> Iterable[Row]:
    """The last line is the audit export."""
    yield f.export is not None, "last line", "audit.export", f.lines[-1].type if f.lines else "no line"
def bnd_nonce(f: Facts) -> Iterable[Row]:
    """The export answers this audit's nonce."""
    yield same("last line", f.trust["nonce"], f.export["nonce"] if f.export else "no export")
def bnd_keys(f: Facts) -> Iterable[Row]:
    """keys.json is the directory the export names: canonical, sorted, complete entries."""
    data = f.files.get("keys.json", b"")
    yield same("keys.json", f.export["keys"] if f.export else "no export", sha256(data))
    good = canonical(f.directory) == data and f.directory == sorted(f.directory, key=lambda e: str(e["kid"]))
    yield good, "keys.json", "a canonical sorted directory", "something else"

CHECKS: list[Callable[[Facts], Iterable[Row]]] = [f for name, f in [*globals().items()]  # each named after a code
                                                  if re.match("(log|tru|chk|cer|quo|key|kcv|use|dev|bnd)_", name)]
def recount(data: bytes) -> Counter[tuple[str, str, str]]:
    """Uses by key, command and outcome in an ops file; a frame of many records says how many were good and bad."""
    found = Counter[tuple[str, str, str]]()
    for line in map(parse, data.splitlines()):
        if fits(line, OPERATION, False):
            found[line["kid"], line["cmd"], "ok"] += line.get("good", line["rc"] == "00")
            found[line["kid"], line["cmd"], "fail"] += line.get("bad", line["rc"] != "00")
    return +found

# The verdict. Findings and warnings are {"code", "where", "expected", "found"}, checks {"code", "examined"}.
Verdict = namedtuple("Verdict", "verdict findings warnings checks summary")
def plain(value: Any) -> str:
    """ASCII for any terminal: what a bundle says must not move the cursor, nor go on for ever."""
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in str(value)[:MAX_SHOWN])
def read_files(bundle: Path) -> dict[str, bytes]:
    """Every file of a folder by its name in it; ValueError for links, devices and more than there may be."""
    paths = sorted(bundle.rglob("*"))
    strange = any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in paths)
    large = len(paths) > MAX_FILES or sum(path.lstat().st_size for path in paths) > MAX_BUNDLE_BYTES
    if strange or large or not bundle.is_dir():
        raise ValueError(f"not a folder of at most {MAX_FILES} plain files and {MAX_BUNDLE_BYTES} bytes: {bundle}")
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in paths if path.is_file()}
def verify(bundle: Path, trust: Any) -> Verdict:
    """Run every check over a bundle; ValueError when the trust file or the bundle cannot be used."""
    known = {name: value for name, value in trust.items() if value is not None} if isinstance(trust, dict) else {}
    if not fits(known, TRUST, False) or not known["nonce"] or parse_vkey(known["vkey"]) is None:
        raise ValueError("the trust file needs vkey, genesis and nonce, and last_seen in its form")
    facts, result = Facts(read_files(bundle), known), Verdict("", [], [], [], {})
    for check in CHECKS:
        code, rows = check.__name__.upper().replace("_", "-"), list(check(facts))
        result.checks.append({"code": code, "examined": len(rows)})
        for holds, *entry in filter(lambda row: not row[0], rows):
            told = dict(zip(("code", "where", "expected", "found"), map(plain, (code, *entry)), strict=True))
            (result.warnings if holds is None else result.findings).append(told)
    root = facts.root(len(facts.lines))
    return result._replace(verdict="fail" if result.findings else "pass", summary={
        "hsm": plain(facts.hsm), "genesis": known["genesis"], "nonce": plain(known["nonce"]),
        "lines": len(facts.lines), "ceremonies": len(facts.ceremonies), "keys": len(facts.keys),
        "uses": sum(line.body["ops"] for line in facts.of("use")), "root": root,
        "words": " ".join(pgp_words(bytes.fromhex(root))), "not_proved": NOT_PROVED,
        "verifier": VERSION, "verifier_sha256": sha256(Path(__file__).read_bytes()),
    })
def report(result: Verdict) -> str:
    """The verdict first, a line for every check with its rule, then a summary to read aloud."""
    s, total, bad = result.summary, len(CHECKS), {entry["code"] for entry in result.findings}
    lines = [f"KEY CEREMONIES {s['hsm']}  {'INVALID' if bad else 'VALID'}  {total - len(bad)} of {total} checks"]
    for check, done in zip(CHECKS, result.checks, strict=True):
        mark = "FAILED" if done["code"] in bad else "ok"
        lines.append(f"  {mark:7}{done['code']:14}{check.__doc__}  [{done['examined']}]")
    for kind, entries in (("FINDING", result.findings), ("WARNING", result.warnings)):
        lines += ["{} {code} at {where}: expected {expected}, found {found}".format(kind, **one) for one in entries]
    lines += ["{lines} lines, {ceremonies} ceremonies, {keys} keys, {uses} uses".format(**s),
              f"Root: {' '.join(re.findall('....', s['root']))}", f"Root, read aloud: {s['words']}"]
    lines += [f"Not proved: {text}" for text in s["not_proved"]]
    return "\n".join([*lines, f"Verifier {s['verifier']}, SHA-256 {s['verifier_sha256']}"])
def remember(path: Path, trust: dict[str, Any], result: Verdict) -> None:
    """Keep size and root of a log that passed: the next bundle must extend it."""
    seen = {"size": result.summary["lines"], "root": result.summary["root"]}
    path.with_suffix(".new").write_text(json.dumps({**trust, "last_seen": seen}, indent=1) + "\n", "utf-8")
    os.replace(path.with_suffix(".new"), path)
def main(arguments: Sequence[str] | None = None) -> int:
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
        sys.stdout.write((json.dumps(result._asdict(), indent=1) if options.json else report(result)) + "\n")
        if options.remember and not result.findings:
            remember(options.trust, trust, result)
        return 1 if result.findings else 0
    except (OSError, ValueError, RecursionError) as error:
        sys.stderr.write(f"cannot verify: {plain(error)}\n")
        return 2
    except Exception as bug:  # an auditor must be able to tell "no" from "broken"
        sys.stderr.write(f"bug in the verifier: {type(bug).__name__}\n")
        return 70
def pgp_words(data: bytes) -> list[str]:
    """Bytes to be read aloud: at even places the first word of a byte's pair, at odd places the second."""
    return [PGP_WORDS[2 * byte + place % 2] for place, byte in enumerate(data)]
PGP_WORDS = "aardvark adroitness absurd adviser accrue aftermath acme aggregate adrift alkali adult almighty afflict amulet ahead amusement aimless antenna Algol applicant allow Apollo alone armistice ammo article ancient asteroid apple Atlantic artist atmosphere assume autopsy Athens Babylon atlas backwater Aztec barbecue baboon belowground backfield bifocals backward bodyguard banjo bookseller beaming borderline bedlamp bottomless beehive Bradbury beeswax bravado befriend Brazilian Belfast breakaway berserk Burlington billiard businessman bison butterfat blackjack Camelot blockade candidate blowtorch cannonball bluebird Capricorn bombast caravan bookshelf caretaker brackish celebrate breadline cellulose breakup certify brickyard chambermaid briefcase Cherokee Burbank Chicago button clergyman buzzard coherence cement combustion chairlift commando chatter company checkup component chisel concurrent choking confidence chopper conformist Christmas congregate clamshell consensus classic consulting classroom corporate cleanup corrosion clockwork councilman cobra crossover commence crucifix concert cumbersome cowbell customer crackdown Dakota cranky decadence crowfoot December crucial decimal crumpled designing crusade detector cubic detergent dashboard determine deadbolt dictator deckhand dinosaur dogsled direction dragnet disable drainage disbelief dreadful disruptive drifter distortion dropper document drumbeat embezzle drunken enchanting Dupont enrollment dwelling enterprise eating equation edict equipment egghead escapade eightball Eskimo endorse everyday endow examine enlist existence erase exodus escape fascinate exceed filament eyeglass finicky eyetooth forever facial fortitude fallout frequency flagpole gadgetry flatfoot Galveston flytrap getaway fracture glossary framework gossamer freedom graduate frighten gravity gazelle guitarist Geiger hamburger glitter Hamilton glucose handiwork goggles hazardous goldfish headwaters gremlin hemisphere guidance hesitate hamlet hideaway highchair holiness hockey hurricane indoors hydraulic indulge impartial inverse impetus involve inception island indigo jawbone inertia keyboard infancy kickoff inferno kiwi informant klaxon insincere locale insurgent lockup integrate merit intention minnow inventive miser Istanbul Mohawk Jamaica mural Jupiter music leprosy necklace letterhead Neptune liberty newborn maritime nightbird matchmaker Oakland maverick obtuse Medusa offload megaton optic microscope orca microwave payday midsummer peachy millionaire pheasant miracle physique misnomer playhouse molasses Pluto molecule preclude Montana prefer monument preshrunk mosquito printer narrative prowler nebula pupil newsletter puppy Norwegian python October quadrant Ohio quiver onlooker quota opulent ragtime Orlando ratchet outfielder rebirth Pacific reform pandemic regain Pandora reindeer paperweight rematch paragon repay paragraph retouch paramount revenge passenger reward pedigree rhythm Pegasus ribcage penetrate ringbolt perceptive robust performance rocker pharmacy ruffled phonetic sailboat photograph sawdust pioneer scallion pocketful scenic politeness scorecard positive Scotland potato seabird processor select provincial sentence proximate shadow puberty shamrock publisher showgirl pyramid skullcap quantity skydive racketeer slingshot rebellion slowdown recipe snapline recover snapshot repellent snowcap replica snowslide reproduce solo resistor southward responsive soybean retraction spaniel retrieval spearhead retrospect spellbind revenue spheroid revival spigot revolver spindle sandalwood spyglass sardonic stagehand Saturday stagnate savagery stairway scavenger standard sensation stapler sociable steamship souvenir sterling specialist stockman speculate stopwatch stethoscope stormy stupendous sugar supportive surmount surrender suspense suspicious sweatband sympathy swelter tambourine tactics telephone talon therapist tapeworm tobacco tempest tolerance tiger tomorrow tissue torpedo tonic tradition topmost travesty tracker trombonist transit truncated trauma typewriter treadmill ultimate Trojan undaunted trouble underfoot tumor unicorn tunnel unify tycoon universe uncut unravel unearth upcoming unwind vacancy uproot vagabond upset vertigo upshot Virginia vapor visitor village vocalist virus voyager Vulcan warranty waffle Waterloo wallet whimsical watchword Wichita wayside Wilmington willow Wyoming woodlark yesteryear Zulu Yucatan".split()  # noqa: SIM905, E501

if __name__ == "__main__":
    sys.exit(main())
