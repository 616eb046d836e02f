"""``citycard ceremony`` without any HSM: the verdict on a bundle, a check value, the tampering lab."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.ceremony_table import AsJson, unseen
from cli.output import EXIT_NO, EXIT_USAGE, json_object, note, result


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
    except (OSError, ValueError, RecursionError) as problem:
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


def lab(
    bundle: Annotated[Path, typer.Argument(help="A good audit bundle; it stays as it is.")],
    trust: Annotated[Path, typer.Option("--trust", help="Its trust file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for ten altered copies.")],
    as_json: AsJson = False,
) -> None:
    """Alter a bundle in ten ways and show which check catches each: for training. 篡改实验室。"""
    from cli.output import language
    from hsm_sim.ceremony import verifier
    from hsm_sim.ceremony.desk import read_small
    from hsm_sim.ceremony.lab import run_lab

    try:
        trials = list(run_lab(bundle, verifier.parse(read_small(trust)), out))
    except (ValueError, RecursionError) as problem:
        note(f"cannot verify: {problem}")
        raise typer.Exit(EXIT_USAGE) from None
    rows: list[dict[str, Any]] = [
        {
            "name": one.alteration.name,
            "altered": one.alteration.chinese if language() == "zh" else one.alteration.english,
            "must_fire": sorted(one.alteration.codes),
            "fired": sorted(one.fired),
            "caught": one.caught,
            "bundle": str(one.folder),
        }
        for one in trials
    ]
    if as_json:
        json_object({"schema": "citycard/ceremony-lab/1", "trials": rows})
    for row in [] if as_json else rows:
        mark = "caught" if row["caught"] else "MISSED"
        result(f"{mark}  {row['name']:22} {row['altered']}: {' '.join(row['fired'])}")
    if not all(one.caught for one in trials):
        raise typer.Exit(EXIT_NO)
