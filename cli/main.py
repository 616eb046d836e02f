"""``citycard``: the one command. Command modules import the city inside their functions, so ``--help`` is quick."""

import sys
import traceback
from typing import Annotated

import typer

from cli.commands import Commands
from cli.output import EXIT_BUG, EXIT_USAGE, error, note, result
from core.errors import CityError

app = typer.Typer(
    cls=Commands,
    name="citycard",
    help="Residents' permits as chip cards that also pay. 居住证与小额支付。",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        result(f"citycard {version('citycard')}")
        raise typer.Exit


@app.callback()
def _top(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Residents' permits as chip cards that also pay. 居住证与小额支付。"""


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
