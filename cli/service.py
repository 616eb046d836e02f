"""``citycard service``: services on the card, the maturity gate, enrolment (residence.md 14)."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, person, read, table, write
from cli.output import EXIT_NO

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx
    from registry.services.manifest import Manifest

app = typer.Typer(
    help="Services on the card; the default answer is no. 卡上服务。", no_args_is_help=True
)
Code = Annotated[str, typer.Argument(help="Code of a manifest, as service list shows it.")]
Permit = Annotated[str, typer.Option("--permit", help="Permit number, 18 digits.")]
Step = Annotated[
    str, typer.Option("--to", help="REVIEW, SANDBOX, LIMITED, LIVE, SUSPENDED or RETIRED.")
]


def _manifest(code: str) -> "Manifest":
    from core.errors import NotFound
    from registry.services.manifest import shipped

    if code not in shipped():
        raise NotFound("E-SERVICE", "no manifest of this code", service=code)
    return shipped()[code]


def _state(text: str) -> Any:
    from registry.services.gate import State

    if text.upper() not in State.__members__:
        raise typer.BadParameter(f"{text} is none of {', '.join(State)}")
    return State[text.upper()]


@app.command("list")
def show(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """All manifests, where each service stands, what keeps it from going live. 服务一览。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        del clock
        from registry.services import gate
        from registry.services.manifest import shipped
        from registry.services.tables import ServiceRow

        rows = []
        for code, manifest in shipped().items():
            row = tx.get(ServiceRow, code)
            missing = gate.open_items(tx, manifest, gate.State.LIVE)
            rows.append(
                {
                    "service": code, "name": manifest.name_zh, "area": manifest.area,
                    "state": row.state if row else "-", "bytes": manifest.eeprom_bytes,
                    "open": ",".join(missing) or "none",
                }
            )  # fmt: skip
        return {"services": rows}

    read(data, "service.list", look, lambda answer: table(answer["services"]), as_json=as_json)


@app.command("propose")
def propose(
    code: Code, who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """A service asks to be taken in. 提出纳入。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from registry.services import gate

        row = gate.propose(tx, clock, _manifest(code), person(who))
        return {"service": code, "state": row.state}

    _write(data, "service.propose", {"service": code}, act, as_json, command, dry)


@app.command("close")
def close(
    code: Code,
    item: Annotated[str, typer.Option("--item", help="An item of the gate, as service list says.")],
    evidence: Annotated[str, typer.Option("--evidence", help="What shows it.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Close one item of the maturity gate with its evidence. 关闭成熟度条目。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from registry.services import gate

        if item.upper() not in gate.Item.__members__:
            raise typer.BadParameter(f"{item} is none of {', '.join(gate.Item)}")
        gate.close_item(tx, clock, code, gate.Item[item.upper()], evidence, person(who))
        return {"service": code, "closed": item.upper()}

    values = {"service": code, "item": item, "evidence": evidence}
    _write(data, "service.close", values, act, as_json, command, dry)


@app.command("sign")
def sign(
    code: Code, to: Step,
    organisation: Annotated[str, typer.Option("--for", help="The organisation that agrees.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """One of two organisations agrees to a step. 单位签署。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from registry.services import gate

        count = gate.sign(tx, clock, code, _state(to), organisation, person(who))
        return {"service": code, "step": to.upper(), "signatures": count}

    values = {"service": code, "to": to, "organisation": organisation}
    _write(data, "service.sign", values, act, as_json, command, dry)


@app.command("advance")
def advance(
    code: Code, to: Step, who: As,
    at: Annotated[str, typer.Option("--at", help="Street, 9 digits, of a LIMITED service.")] = "",
    data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Take a step; refused while an item is open or a signature lacks. 推进状态。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from registry.services import gate

        gate.advance(tx, clock, _manifest(code), _state(to), person(who), at)
        return {"service": code, "state": to.upper()}

    _write(
        data, "service.advance", {"service": code, "to": to, "at": at}, act, as_json, command, dry
    )


@app.command("enrol")
def enrol(
    code: Code, permit: Permit,
    consent: Annotated[str, typer.Option("--consent", help="Where the consent is on record.")],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False, as_json: Json = False,
) -> None:  # fmt: skip
    """A holder takes a service; the card gets it at a counter. 持卡人开通。"""

    def act(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from registry.services import running

        running.enrol(tx, clock, permit, code, consent, person(who))
        return {"service": code, "on_card": len(running.card_entries(tx, permit))}

    values = {"service": code, "permit": permit, "consent": consent}
    _write(data, "service.enrol", values, act, as_json, command, dry)


@app.command("ask")
def ask(
    code: Code, permit: Permit, who: As, data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """What the service's owner may know of a holder: the contract's fields, no others. 服务查询。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from registry.services import running

        return {"service": code, "told": running.answer(tx, clock, code, permit, person(who))}

    read(data, "service.ask", look, lambda answer: table([answer["told"]]), as_json=as_json)


@app.command("faults")
def faults(data: Data = DEFAULT_DATA, as_json: Json = False) -> int:
    """Hooks that failed and were not repaired; exit 1 when there are any. 服务钩子故障。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        del clock
        from registry.services import running

        return {"faults": [vars(one) for one in running.open_faults(tx)]}

    answer = read(
        data, "service.faults", look, lambda a: table(a["faults"], "none"), as_json=as_json
    )
    return EXIT_NO if answer["faults"] else 0


def _write(
    data: Any, kind: str, values: dict[str, Any], act: Any, as_json: bool, command: str | None,
    dry: bool,
) -> None:  # fmt: skip
    write(
        data, kind, values, act, lambda answer: table([answer]), as_json=as_json, command=command,
        dry=dry,
    )  # fmt: skip
