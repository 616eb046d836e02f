"""``citycard audit``: the sealed event log, for somebody who does not trust this machine."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cli.office import DEFAULT_DATA, Data, Json, opened
from cli.output import EXIT_NO, json_object, note, result

app = typer.Typer(help="The sealed event log. 事件日志的封存与核验。", no_args_is_help=True)

Key = Annotated[
    str, typer.Option("--vkey", help="The seal key you know, NAME+ID+BASE64, or a file with it.")
]


@app.command("verify")
def verify(vkey: Key, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Compare every seal with the events as they are now: 0 all hold, 1 findings. 核验事件日志。"""
    from dataclasses import asdict

    from runtime import event_seals

    with opened(data) as services, services.db.read() as tx:
        verdict = event_seals.verify(tx, _key(vkey))
    bad = bool(verdict.findings) or verdict.seals == 0
    said = {"schema": "citycard/audit/1", "verdict": "fail" if bad else "pass", **asdict(verdict)}
    if as_json:
        json_object(said)
    else:
        result(f"EVENT LOG {'INVALID' if bad else 'VALID'}")
        result(f"{verdict.events} events, {verdict.seals} seals, {verdict.unsealed} not sealed yet")
        for one in verdict.findings:
            result(f"FINDING {one.code} at {one.where}: expected {one.expected}, found {one.found}")
        if verdict.seals == 0:
            result("There is no seal: nothing is proved.")
    if bad:
        raise typer.Exit(EXIT_NO)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Write all events and seals as files: a line an event, a signed note a seal. 导出事件与封存。"""
    from core.errors import Rejected
    from runtime import event_seals

    if out.exists() and any(out.iterdir()):
        raise Rejected("AUDIT-TARGET", "the folder is not empty")
    (out / "seals").mkdir(parents=True, exist_ok=True)
    counts = {"events.jsonl": 0, "seals": 0}
    with ExitStack() as stack:
        services = stack.enter_context(opened(data))
        tx = stack.enter_context(services.db.read())
        lines = stack.enter_context((out / "events.jsonl").open("wb"))
        for name, text in event_seals.export(tx):
            if name == "events.jsonl":
                lines.write(text)
                counts[name] += 1
            else:
                (out / name).write_bytes(text)
                counts["seals"] += 1
    said = {"folder": str(out), "events": counts["events.jsonl"], "seals": counts["seals"]}
    if as_json:
        json_object({"schema": "citycard/audit-export/1", **said})
    else:
        result(f"{said['events']} events and {said['seals']} seals in {out}")


@app.command("prove")
def prove(
    event: Annotated[int, typer.Argument(help="Number of the event.")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show that one event is in a sealed log: its text, the seal, the path between. 单个事件的存证。"""
    from dataclasses import asdict

    from runtime import event_seals

    with opened(data) as services, services.db.read() as tx:
        proof = event_seals.prove(tx, event)
    if as_json:
        json_object({"schema": "citycard/audit-proof/1", "event": event, **asdict(proof)})
        return
    result(f"event {event} is number {proof.index} in the seal of {proof.size}")
    result(proof.text)
    for step in proof.path:
        result(f"  {step}")
    result(proof.note.rstrip("\n"))


@app.command("sample")
def sample(
    seed: Annotated[int, typer.Option("--seed", help="Two auditors with one seed get one sample.")],
    count: Annotated[int, typer.Option("--count", min=1, max=10_000)] = 40,
    kind: Annotated[str, typer.Option("--kind", help="Kind of event.")] = "card.personalized",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Draw a reproducible sample of cards, or of other events, to look at by hand. 可复现抽样。"""
    from runtime import event_seals

    with opened(data) as services, services.db.read() as tx:
        drawn, total = event_seals.sample(tx, kind, seed, count)
    if as_json:
        json_object(
            {"schema": "citycard/audit-sample/1", "seed": str(seed), "kind": kind, "of": total,
             "events": [{"seq": one.seq, "subject": one.subject} for one in drawn]}
        )  # fmt: skip
        return
    note(f"seed {seed}: {len(drawn)} of {total} {kind}")
    for one in drawn:
        result(f"{one.seq:>9}  {one.subject}")


def _key(text: str) -> str:
    path = Path(text)
    return path.read_text("utf-8").strip() if "+" not in text and path.is_file() else text
