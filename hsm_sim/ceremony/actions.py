"""What a ceremony's steps do inside the HSM: the port, and each action handed to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

BLOCK = "block"  # of an export: for the partner, never for the log
BORN = ("kid", "alg", "usage", "mode", "version", "export")


@dataclass(frozen=True)
class Birth:
    """What a ceremony says of a new key (8.1). `starts` and `until` are its first and last day, "" for no bound."""

    kid: str
    alg: str
    usage: str
    mode: str
    version: str
    export: str
    scope: str = ""
    cid: int = 0
    starts: str = ""
    until: str = ""

    @classmethod
    def of(cls, args: Mapping[str, Any], cid: int) -> Self:
        """From a step's arguments, where the days are called `from` and `until`."""
        days = {"starts": args.get("from", ""), "until": args.get("until", "")}
        born = {name: args[name] for name in BORN}
        return cls(**born, **days, scope=args.get("scope", ""), cid=cid)


class KeyActions(Protocol):
    """What a step does inside the HSM, after the console has checked it; results go into the log line.

    Between `begin` and `commit` changes are held back for log line `seq`: `rollback` drops them, and a
    restart keeps them exactly when the log has that line. Results: ``{"kcv"}`` for a component,
    ``{"kcv", "fp"}`` for a key made, ``{"kcv", "block"}`` for one exported, ``{"state"}`` for a change of state,
    ``{"batch"}``.
    """

    def begin(self, seq: int) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def forget(self, kid: str) -> None: ...
    def component(self, kid: str, n: int, value: bytearray) -> dict[str, Any]: ...
    def combine(self, birth: Birth, components: int) -> dict[str, Any]: ...
    def generate(self, birth: Birth) -> dict[str, Any]: ...
    def import_key(
        self, birth: Birth, form: str, wrapped: str, under: str, kcv: str
    ) -> dict[str, Any]: ...
    def export_key(self, kid: str, under: str) -> dict[str, Any]: ...
    def activate(self, kid: str) -> dict[str, Any]: ...
    def deactivate(self, kid: str) -> dict[str, Any]: ...
    def resume(self, kid: str) -> dict[str, Any]: ...
    def compromise(self, kid: str) -> dict[str, Any]: ...
    def destroy(self, kid: str) -> dict[str, Any]: ...
    def open_batch(
        self, batch: str, masters: Sequence[str], methods: Sequence[str], cards: int, expires: str
    ) -> dict[str, Any]: ...


def perform(
    actions: KeyActions, action: str, args: Mapping[str, Any], cid: int, value: bytearray | None
) -> dict[str, Any]:
    """Hand one step to the HSM's inside; `value` is a component, or the text of a wrapped key."""
    kid = args.get("kid", "")
    if action == "component" and value is not None:
        return actions.component(kid, args["n"], value)
    if action == "export":
        return actions.export_key(kid, args["under"])
    if action == "batch-open":
        terms = ("batch", "masters", "methods", "cards", "expires")
        return actions.open_batch(*(args[name] for name in terms))
    if action in ("combine", "generate", "import"):
        birth = Birth.of(args, cid)
        if action == "combine":
            return actions.combine(birth, args["components"])
        if action == "generate":
            return actions.generate(birth)
        told = {name: args[name] for name in ("form", "under", "kcv")}
        return actions.import_key(
            birth, wrapped=bytes(value or b"").decode("ascii", "replace"), **told
        )
    changes = {
        "activate": actions.activate,
        "deactivate": actions.deactivate,
        "resume": actions.resume,
        "compromise": actions.compromise,
        "destroy": actions.destroy,
    }
    return changes[action](kid)
