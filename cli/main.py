"""``citycard``: the one command. Command modules import the city inside their functions, so ``--help`` is quick."""

import sys
import traceback

import typer

from cli import (
    backlog,
    batch,
    card,
    card_trace,
    ceremony,
    demo,
    dispatch,
    doctor,
    explain,
    hsm,
    pack,
    permit,
    qc,
    report,
    serve,
    sim,
    stock,
    terminal,
)
from cli.output import EXIT_BUG, EXIT_USAGE, error, note
from core.errors import CityError

app = typer.Typer(
    name="citycard",
    help="Residents' permits as chip cards that also pay. 居住证与小额支付。",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("serve")(serve.serve)
for name in ("find", "trace", "spoil", "void"):
    card.app.command(name)(getattr(card_trace, name))
app.add_typer(card.app, name="card")
app.add_typer(stock.app, name="stock")
app.add_typer(batch.app, name="batch")
app.add_typer(qc.app, name="qc")
app.add_typer(pack.app, name="pack")
app.add_typer(dispatch.app, name="dispatch")
app.add_typer(backlog.queue_app, name="queue")
app.add_typer(backlog.remake_app, name="remake")
app.add_typer(backlog.incident_app, name="incident")
app.add_typer(report.app, name="report")
app.add_typer(ceremony.app, name="ceremony")
app.add_typer(explain.app, name="explain")
app.add_typer(hsm.app, name="hsm")
app.add_typer(permit.app, name="permit")
app.add_typer(sim.app, name="sim")
app.command("terminal")(terminal.terminal)


def main() -> None:
    """Run one command and end with its exit code; a traceback only for bugs."""
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except CityError as fault:
        error(fault, as_json)
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        note("interrupted")
        sys.exit(130)
    except Exception as problem:  # the one place where a bug becomes an exit code
        if hasattr(problem, "format_message"):  # usage errors of the command-line library
            note(f"citycard: {problem.format_message()}")
            sys.exit(EXIT_USAGE)
        traceback.print_exc()
        note("This is a bug; please report it with the lines above.")
        sys.exit(EXIT_BUG)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
