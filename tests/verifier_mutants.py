"""Weaken the verifier by one edit at a time and see whether some bundle is then judged otherwise.

``python -m tests.verifier_mutants`` prints every mutant that no case notices. Edits: a check that examines nothing,
a comparison that always or never holds, an operand of `and` or `or` left out, a `not` left out, a condition in a
comprehension left out. Cases: the honest bundles, the 43 attacks, the forgeries, the near misses, the shared
vectors; `golden/verifier-codes.json` holds all codes that each raises. Reading files, the report and the exit
status are not mutated: the tests of the command line hold those.
"""

import ast
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from hsm_sim.ceremony import verifier
from tests.ceremony_bench import Attack, Honest
from tests.verifier_attacks import ATTACKS
from tests.verifier_cases import (
    A_KEY,
    BASE64_THAT_IS_NONE,
    ED25519,
    KEYS_THAT_ARE_NONE,
    LINES_THAT_ARE_NONE,
    POINTS_THAT_ARE_NONE,
    VECTORS,
    bundle_files,
    patched,
)
from tests.verifier_forged_keys import FAIR, KEY_FORGERIES
from tests.verifier_forgeries import FORGERIES
from tests.verifier_near_misses import FAIR_MISSES, NEAR_MISSES

SOURCE = Path(verifier.__file__)
TABLE = Path(__file__).parent / "golden" / "verifier-codes.json"
GOLDEN: dict[str, list[str]] = json.loads(TABLE.read_text("utf-8"))
NOT_MUTATED = frozenset({"plain", "read_files", "report", "remember", "main", "pgp_words"})
SIGNATURES = frozenset({"point_sum", "point_decode", "doublings", "point_times", "signature_holds"})
PRIMITIVES = SIGNATURES | {
    "leaf_hash", "tree_root", "parse", "members", "spellable", "canonical", "decode64", "parse_vkey", "read_note",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A bundle as files, the auditor's trust, and the codes it must raise among others: none for an honest one."""

    name: str
    files: dict[str, bytes]
    trust: dict[str, Any]
    codes: frozenset[str]

    def raised(self, module: ModuleType) -> list[str]:
        """The codes of a verifier's findings about this bundle, and in small letters those of its warnings."""
        module.read_files = lambda bundle: self.files
        verdict = module.verify(SOURCE, self.trust)
        told = {entry["code"] for entry in verdict.findings}
        return sorted(told | {entry["code"].lower() for entry in verdict.warnings})


@dataclass(frozen=True)
class Mutant:
    """The verifier with one edit; `function` is where."""

    function: str
    line: int
    edit: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.function}, line {self.line}: {self.edit}"


def all_cases(place: Path) -> list[Case]:
    """Every bundle the tests know the answer of."""
    honest = Honest.make(place / "honest")
    cases = []
    tampered = [(tamper, "") for tamper in FAIR + FAIR_MISSES]
    tampered += (
        [(tamper, codes) for _, tamper, codes in ATTACKS] + FORGERIES + KEY_FORGERIES + NEAR_MISSES
    )
    for number, (tamper, codes) in enumerate(tampered):
        attack = Attack(honest, place / str(number))
        tamper(attack)
        files = verifier.read_files(attack.folder)
        cases.append(Case(tamper.__name__, files, attack.trust, frozenset(codes.split())))
    ceremony = VECTORS["ceremony"]
    for case in ceremony["cases"]:
        files, trust = bundle_files(patched(case["patch"])), {**ceremony["trust"], **case["trust"]}
        cases.append(Case(case["id"], files, trust, frozenset(case["expect"])))
    files = bundle_files(ceremony["bundle"])
    for old, new, code in LINES_THAT_ARE_NONE:
        changed = {**files, "log.jsonl": files["log.jsonl"].replace(old, new, 1)}
        cases.append(
            Case(f"{old!r} to {new[:20]!r}", changed, ceremony["trust"], frozenset({code}))
        )
    return cases


def primitives_hold(module: ModuleType) -> bool:
    """Whether signatures, points, notes, keys, canonical form and roots are as vectors and RFC 8032 say."""
    groups = {
        name: [(t["in"], t["out"]) for t in g["tests"]] for name, g in VECTORS["groups"].items()
    }
    return (
        all(module.point_decode(text) is None for text in POINTS_THAT_ARE_NONE)
        and module.point_decode((1).to_bytes(32, "little")) == (0, 1, 1, 0)
        and all(module.decode64(text) == b"" for text in BASE64_THAT_IS_NONE)
        and all(module.parse_vkey(text) is None for text in KEYS_THAT_ARE_NONE)
        and module.parse_vkey(A_KEY)[2] == ED25519[1:]
        and all(
            module.signature_holds(*(bytes.fromhex(i[n]) for n in ("public", "message", "signature"))) is o["valid"]
            for i, o in groups["ed25519-verify"]
        )
        and all(
            (module.read_note(i["note"].encode(), [i["vkey"]])[1] == [i["vkey"]]) is o["valid"]
            for i, o in groups["signed-note"]
        )
        and all(
            module.canonical(i["value"]).hex() == o["utf8"]
            if "value" in i
            else module.canonical(module.parse(i["text"].encode())) != i["text"].encode()
            for i, o in groups["canonical-json"]
        )
        and all(
            module.tree_root([module.leaf_hash(bytes.fromhex(leaf)) for leaf in i["leaves"]]) == o["root"]
            for i, o in groups["merkle-root"]
        )
    )  # fmt: skip


def _is_prose(node: ast.AST) -> bool:
    """``x or "what was expected"``: words of the report, which no verdict depends on."""
    return isinstance(node, ast.BoolOp) and any(isinstance(v, ast.Constant) for v in node.values)


def mutants() -> Iterator[Mutant]:
    """One edit after another, in the order of the file."""
    tree = ast.parse(SOURCE.read_text("utf-8"))
    checks = {check.__name__ for check in verifier.CHECKS}
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        if function.name in NOT_MUTATED:
            continue
        if function.name in checks:
            yield _edited(tree, function, function, "examines nothing", _emptied)
        for node in list(ast.walk(function)):
            for edit, change in _changes(node):
                yield _edited(tree, function, node, edit, change)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], ast.AST]]]:
    text = ast.unparse(node) if isinstance(node, ast.expr) else ""
    if isinstance(node, ast.Compare):
        yield f"{text} holds always", lambda n: ast.Constant(True)
        yield f"{text} holds never", lambda n: ast.Constant(False)
    elif isinstance(node, ast.BoolOp) and not _is_prose(node):
        for place, value in enumerate(node.values):
            yield (
                f"without {ast.unparse(value)} in {text}",
                lambda n, place=place: _without(n, place),
            )
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{text} without not", lambda n: n.operand
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield f"for {ast.unparse(node.target)} without its condition", _without_condition


def _without(node: ast.BoolOp, place: int) -> ast.AST:
    rest = [value for at, value in enumerate(node.values) if at != place]
    return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _without_condition(node: ast.comprehension) -> ast.AST:
    return ast.comprehension(node.target, node.iter, [], node.is_async)


def _emptied(node: ast.FunctionDef) -> ast.AST:
    nothing = ast.Return(ast.List([], ast.Load()))
    return ast.FunctionDef(node.name, node.args, [nothing], [], node.returns, node.type_comment)


def _edited(
    tree: ast.Module, function: ast.FunctionDef, node: ast.AST, edit: str, change: Callable[[Any], ast.AST]
) -> Mutant:  # fmt: skip
    """The program with one node changed; the tree itself is afterwards as it was."""
    fresh = ast.copy_location(change(node), node if hasattr(node, "lineno") else function)
    _put(tree, node, fresh)
    code = compile(ast.fix_missing_locations(tree), str(SOURCE), "exec")
    _put(tree, fresh, node)
    return Mutant(function.name, getattr(node, "lineno", function.lineno), edit, code)


def _put(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(one is old for one in value):
                value[:] = [new if one is old else one for one in value]
                return


def refuses_bad_trust(module: ModuleType) -> bool:
    """Whether a trust file without nonce, key or form stops the verifier before it says anything."""
    good = VECTORS["ceremony"]["trust"]
    module.read_files = lambda bundle: bundle_files(VECTORS["ceremony"]["bundle"])
    for change in ({"nonce": ""}, {"vkey": "hsm+0+x"}, {"genesis": "zz"}, {"last_seen": {}}):
        with contextlib.suppress(ValueError):
            module.verify(SOURCE, {**good, **change})
            return False
    return True


remembered = lru_cache(maxsize=100_000)(verifier.signature_holds)


def noticed(mutant: Mutant, cases: Sequence[Case]) -> bool:
    """Whether any case, or any vector of the primitives, is judged otherwise; stumbling counts too."""
    module = ModuleType("mutant")
    module.__file__ = str(SOURCE)
    rule = mutant.function.upper().replace("_", "-")
    likely = sorted(cases, key=lambda case: rule not in case.codes)
    try:
        exec(mutant.code, module.__dict__)
        if not primitives_hold(module) or not refuses_bad_trust(module):
            return True
        if mutant.function not in SIGNATURES:  # slow and unchanged: the vectors above have seen it
            module.signature_holds = remembered
        return any(case.raised(module) != GOLDEN[case.name] for case in likely)
    except Exception:
        return True


EQUAL = {  # weakenings that no verdict can show
    # a file that is not there has the digest of nothing, which no use line names
    ("use_ops", "name in f.ops holds always"),
    # the trust file's key was parsed before
    ("__init__", "without ('',) in parse_vkey(trust['vkey']) or ('',)"),
    # only inside a ceremony that was never closed, which is a finding already
    ("signer", "without signed in self.current.line and signed"),
}


def survivors(cases: Sequence[Case]) -> Iterator[Mutant]:
    """Mutants that judge every case as the table says."""
    return (mutant for mutant in mutants() if not noticed(mutant, cases))


def table(cases: Sequence[Case]) -> dict[str, list[str]]:
    """What the verifier as it stands raises for every case; a copy of it, whose way to read files is changed."""
    module = ModuleType("verifier_copy")
    module.__file__ = str(SOURCE)
    exec(compile(SOURCE.read_text("utf-8"), str(SOURCE), "exec"), module.__dict__)
    module.signature_holds = remembered
    return {case.name: case.raised(module) for case in sorted(cases, key=lambda c: c.name)}


def main() -> None:
    """Print the survivors as they are found, or with ``table`` write down anew what each case raises."""
    with tempfile.TemporaryDirectory() as place:
        cases = all_cases(Path(place))
    if sys.argv[1:] == ["table"]:
        rows = (
            f" {json.dumps(n, ensure_ascii=False)}: {json.dumps(c)}"
            for n, c in table(cases).items()
        )
        TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")
        return
    count = 0
    for mutant in survivors(cases):
        count += 1
        sys.stdout.write(f"SURVIVES {mutant}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{count} survive {len(cases)} cases\n")


if __name__ == "__main__":
    main()
