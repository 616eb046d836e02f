"""What a ceremony will do, written down and reviewed before the day: a script is data, not code.

One canonical JSON file ``{"cid","kind","plan":[{"action","args"}]}`` (hsm-and-ceremony.md 10.4). The paper
copy is made from the same file, so that paper and machine cannot differ. The default policy (10.2) stands
here too: who must agree to which action.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from core.errors import Rejected
from hsm_sim import canonical
from hsm_sim.ceremony.words import groups, words

KINDS = (
    "init", "key-load", "key-generate", "zone-exchange", "batch-open", "rotate", "roster", "destroy",
    "lmk-migrate", "restore", "drill",
)  # fmt: skip
BIRTH = frozenset({"alg", "export", "kid", "mode", "usage", "version"})
ARGUMENTS = {  # what the plan must say of each action; `OPTIONAL` may stand beside
    "component": frozenset({"kid", "n"}),
    "combine": BIRTH | {"components"},
    "generate": BIRTH,
    "import": BIRTH | {"form", "under"},
    "export": frozenset({"kid", "under"}),
    "activate": frozenset({"kid"}),
    "deactivate": frozenset({"kid"}),
    "resume": frozenset({"kid"}),
    "compromise": frozenset({"kid"}),
    "destroy": frozenset({"kid"}),
    "batch-open": frozenset({"batch", "cards", "expires", "masters", "methods"}),
}
KEY_MAKING = ("combine", "generate", "import")
OPTIONAL = {action: {"scope", "from", "until"} for action in KEY_MAKING}
ON_THE_DAY = {"component": {"custodian"}, "import": {"kcv"}}  # what a step says beyond its script
MAX_STEPS = 500
MIN_COMPONENTS, MAX_COMPONENTS = 3, 9
POLICY: dict[str, Any] = {
    "exclusive": ["CA", "IW", "EA", "KC"],
    "min_components": MIN_COMPONENTS,
    "quorum": {
        "activate": {"CA": 1, "IW": 1},
        "batch-open": {"CA": 1, "IW": 1},
        "close": {"CA": 1, "EA": 1, "IW": 1},
        "combine": {"CA": 1, "IW": 1, "KC": 3},
        "component": {"IW": 1, "KC": 1},
        "compromise": {"CA": 1, "IW": 1},
        "deactivate": {"CA": 1, "IW": 1},
        "destroy": {"CA": 1, "IW": 1, "KC": 2},
        "exception": {"IW": 1},
        "export": {"CA": 1, "IW": 1, "KC": 2},
        "generate": {"CA": 1, "IW": 1, "KC": 2},
        "import": {"CA": 1, "IW": 1, "KC": 2},
        "resume": {"CA": 1, "IW": 1},
        "roster": {"CA": 1, "EA": 1, "IW": 1},
    },
}


class BadScript(Rejected):
    """A script that is not one."""


@dataclass(frozen=True)
class Step:
    """One action with the arguments that must not change on the day."""

    action: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Script:
    """A ceremony's plan: number, kind, steps."""

    cid: int
    kind: str
    plan: tuple[Step, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.cid < 1 or not 0 < len(self.plan) <= MAX_STEPS:
            raise BadScript("CER-SCRIPT-FORM", "number, kind or length of the plan")
        for number, step in enumerate(self.plan, 1):
            needed = ARGUMENTS.get(step.action)
            if needed is None or not needed <= set(step.args) <= needed | OPTIONAL.get(
                step.action, set()
            ):
                raise BadScript("CER-SCRIPT-FORM", f"step {number}: {step.action}", step=number)
        canonical.encode([step.args for step in self.plan])

    @property
    def text(self) -> bytes:
        """The canonical file."""
        plan = [{"action": step.action, "args": step.args} for step in self.plan]
        return canonical.encode({"cid": self.cid, "kind": self.kind, "plan": plan})

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hex; its name in a bundle and in the open line."""
        return hashlib.sha256(self.text).hexdigest()

    @classmethod
    def parse(cls, text: bytes) -> "Script":
        """Read a script file; raises BadScript (CER-SCRIPT-FORM) or NotCanonical (CANON)."""
        value = canonical.decode(text)
        if not isinstance(value, dict) or set(value) != {"cid", "kind", "plan"}:
            raise BadScript("CER-SCRIPT-FORM", "a script has cid, kind and plan")
        cid, kind, plan = value["cid"], value["kind"], value["plan"]
        steps: list[Any] = plan if isinstance(plan, list) else [None]
        good = all(
            isinstance(step, dict)
            and set(step) == {"action", "args"}
            and isinstance(step["args"], dict)
            for step in steps
        )
        if not good or type(cid) is not int or not isinstance(kind, str):
            raise BadScript("CER-SCRIPT-FORM", "a plan is a list of action and args")
        return cls(cid, kind, tuple(Step(str(step["action"]), step["args"]) for step in steps))

    def paper(self) -> str:
        """The human copy (Markdown) with columns for initials and time."""
        digest = bytes.fromhex(self.digest)
        lines = [
            f"# Ceremony {self.cid}: {self.kind}",
            "",
            f"SHA-256 of the script: {groups(digest)}",
            "",
            f"Read aloud: {words(digest)}",
            "",
            "| step | action | arguments | initials | time |",
            "|---|---|---|---|---|",
        ]
        for number, step in enumerate(self.plan, 1):
            shown = ", ".join(
                f"{name} {json.dumps(value, ensure_ascii=False)}"
                for name, value in sorted(step.args.items())
            )
            lines.append(f"| {number} | {step.action} | {shown} | | |")
        return "\n".join(lines) + "\n"


def component_steps(kid: str, count: int, attributes: dict[str, Any]) -> list[Step]:
    """The steps that load a key from components: each one, then combine; `attributes` as in 8.1."""
    if not MIN_COMPONENTS <= count <= MAX_COMPONENTS:
        raise BadScript("CER-SCRIPT-FORM", f"{MIN_COMPONENTS} to {MAX_COMPONENTS} components")
    steps = [Step("component", {"kid": kid, "n": n}) for n in range(1, count + 1)]
    return [*steps, Step("combine", {"kid": kid, "components": count, **attributes})]
