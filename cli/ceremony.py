"""``citycard ceremony``: key ceremonies, from the script to the verdict an outsider can check."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.output import EXIT_NO, EXIT_USAGE, json_object, note, result

app = typer.Typer(
    help="Key ceremonies: prepare, hold, export, verify. 密钥仪式。", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def unseen(question: str) -> str:
    """A secret from the keyboard without echo, or one line from a pipe."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\n")


@app.command("verify")
def verify(
    bundle: Annotated[Path, typer.Argument(help="The audit bundle, a folder.")],
    trust: Annotated[Path, typer.Option("--trust", help="The auditor's own trust file.")],
    as_json: AsJson = False,
    pdf: Annotated[
        Path | None, typer.Option("--pdf", help="Write the report in both languages as a PDF.")
    ] = None,
    chinese: Annotated[
        bool, typer.Option("--bilingual", help="The text report in English and Chinese.")
    ] = False,
    remember: Annotated[
        bool, typer.Option("--remember", help="After a pass, keep what was seen in the trust file.")
    ] = False,
) -> None:
    """Check an audit bundle off line: 0 pass, 1 findings, 2 unreadable. 离线核验审计包。"""
    from hsm_sim.ceremony import report, verifier

    try:
        known = verifier.parse(trust.read_bytes())
        verdict = verifier.verify(bundle, known)
        if remember and verdict.verdict == "pass":
            verifier.remember(trust, known, verdict)
    except (OSError, ValueError) as problem:
        note(f"cannot verify: {problem}")
        raise typer.Exit(EXIT_USAGE) from None
    if pdf is not None:
        pdf.write_bytes(report.pdf(verdict))
        note(f"report: {pdf}")
    if as_json:
        json_object(verdict._asdict())
    else:
        text = report.bilingual(verdict) if chinese else verifier.report(verdict)
        result(text.rstrip("\n"))
    if verdict.findings:
        raise typer.Exit(EXIT_NO)


@app.command("kcv")
def kcv(
    alg: Annotated[str, typer.Option("--alg", help="T2, T3, A1, A2, A3 or S4.")] = "T2",
    as_json: AsJson = False,
) -> None:
    """A component's check value, off line: type it unseen, or pipe it in. 分量校验值。"""
    from hsm_sim.ceremony.envelope import check_value

    shown = check_value(alg, unseen("component, hex: "))
    if as_json:
        json_object({"schema": "citycard/ceremony-kcv/1", "alg": alg, "kcv": shown})
    else:
        result(shown)
