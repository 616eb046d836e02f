"""``citycard pilot``: stages, duties, rule profiles, the city plan, and a whole pilot in compressed time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import EXIT_NO, json_object, language, note, result

app = typer.Typer(help="The pilot: stages, rules, a rehearsal. 试点。", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of an installation or a run.")]
Lang = Annotated[str, typer.Option("--lang", help="zh or en; as the terminal's language.")]
DEFAULT_OUT = Path("citycard-pilot")
DEFAULT_DATA = Path("citycard-demo")


@contextmanager
def _reading(data: Path) -> Iterator[tuple[Any, Any]]:
    """A reading transaction of an installation, and its clock."""
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.read() as tx:
            yield tx, services.clock
    finally:
        services.close()


def business_day(clock: Any) -> date:
    """Today in Shenzhen."""
    from core.clock import business_date

    return business_date(clock.now())


@app.command("stages")
def show_stages(as_json: Json = False) -> None:
    """Stages with their days and what each allows. 试点阶段。"""
    from registry.pilot.stages import stages

    found: list[dict[str, Any]] = [
        {
            "stage": one.name,
            "zh": one.name_zh,
            "first": one.first.isoformat(),
            "last": one.last.isoformat(),
            "allows": sorted(one.allows),
        }
        for one in stages()
    ]
    if as_json:
        json_object({"schema": "citycard/pilot-stages/1", "stages": found})
        return
    for one in found:
        result(f"{one['first']} to {one['last']}  {one['stage']:12} {', '.join(one['allows'])}")


@app.command("duties")
def show_duties(as_json: Json = False) -> None:
    """Every duty of the order with owner and deadline. 任务清单。"""
    from registry.pilot.tasks import duties

    if as_json:
        found = [{**vars(one), "deadline": one.deadline.isoformat()} for one in duties()]
        json_object({"schema": "citycard/pilot-duties/1", "duties": found})
        return
    for one in duties():
        result(f"{one.id}  {one.deadline}  {one.owner:13} {one.text_zh}")


@app.command("rules")
def show_rules(as_json: Json = False) -> None:
    """Every parameter with its value and the rule text it fills in. 规则与参数对照。"""
    from registry.parameters import PILOT
    from registry.pilot.parameters import links

    rows = [
        {
            "parameter": name,
            "page": link.page,
            "value": str(getattr(PILOT, name)),
            "rule": link.rule,
        }
        for name, link in links().items()
    ]
    if as_json:
        json_object({"schema": "citycard/pilot-rules/1", "rules": rows})
        return
    for row in rows:
        result(f"{row['page']:22} {row['value']:16} {row['rule']}")


@app.command("plan")
def show_plan(as_json: Json = False) -> None:
    """The city-wide plan: cards a day, machines, windows per district. 全市推行方案。"""
    from registry.pilot import rollout

    phases = rollout.plan(rollout.districts())
    if as_json:
        json_object(
            {"schema": "citycard/pilot-plan/1", "phases": [dict(vars(one)) for one in phases]}
        )
        return
    for one in phases:
        source = "" if one.sourced else "  (people: assumed)"
        result(
            f"{one.district}  {one.cards} cards, {one.cards_a_day} a day, {one.machines} machines,"
            f" {one.windows} windows{source}"
        )


@app.command("page")
def show_page(
    data: Data = DEFAULT_DATA,
    lang: Lang = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the page to publish here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The public page of an installation: points, papers, fee, counters, questions. 公示页。"""
    from registry.pilot import public_page, publicity

    chosen = lang or language()
    with _reading(data) as (tx, clock):
        found = publicity.page(tx, business_day(clock), chosen)
    if html is not None:
        html.write_text(public_page.html(found, chosen), "utf-8")
        note(f"page in {html}")
    if as_json:
        json_object({"schema": "citycard/pilot-page/1", "lang": chosen, **found})
        return
    result(publicity.leaflet(found, chosen).rstrip("\n"))


@app.command("handbook")
def show_handbook(data: Data = DEFAULT_DATA) -> None:
    """The operations handbook as Markdown, from the configuration of today. 推行操作方案。"""
    from registry.pilot.handbook import handbook

    with _reading(data) as (tx, clock):
        result(handbook(tx, business_day(clock)).rstrip("\n"))


@app.command("report")
def show_report(data: Data = DEFAULT_DATA, lang: Lang = "", as_json: Json = False) -> None:
    """What the summary report would say of an installation today; nothing is published. 总结报告预览。"""
    from registry.pilot import summary, summary_text
    from runtime.pilot_figures import gather

    with _reading(data) as (tx, clock):
        snapshot = summary.freeze(tx, clock, business_day(clock), gather(tx))
    if as_json:
        json_object({"schema": "citycard/pilot-report/1", **snapshot})
        return
    result(summary_text.markdown(snapshot, lang or language()).rstrip("\n"))


@app.command("look")
def look(data: Data = DEFAULT_DATA, as_json: Json = False) -> int:
    """Let the monitors look; new faults become issues. Exit 1 while one is open. 监测并登记问题。"""
    from cli.office import show, table
    from registry.pilot import issues, monitors
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.write() as tx:
            raised = monitors.look(tx, services.clock)
            rows = [
                {
                    "issue": row.id, "new": row.id in raised, "severity": row.severity,
                    "system": row.system, "title": row.title,
                }
                for row in issues.open_issues(tx)
            ]  # fmt: skip
    finally:
        services.close()
    show("pilot.look", {"issues": rows}, lambda answer: table(answer["issues"], "none"), as_json)
    return EXIT_NO if rows else 0


@app.command("run")
def run(
    scale: Annotated[float, typer.Option(help="Share of the district's 183,900 people.")] = 0.01,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pilot.")] = 20070501,
    profile: Annotated[str, typer.Option(help="clean or dirty.")] = "clean",
    cards: Annotated[
        int, typer.Option(min=0, max=200, help="Cards to make, hand over, load and pay with.")
    ] = 12,
    out: Annotated[Path, typer.Option("--out", help="A new folder for the results.")] = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """A whole pilot in compressed time, measured against its known truth. 试点演练。

    Ends with 0 when every indicator is what the truth says and the verdicts are the profile's, else with 1.
    """
    from rich.console import Console
    from rich.progress import Progress

    from registry.pilot.world import PROFILES
    from runtime.pilot_run import run as rehearse

    if profile not in PROFILES:
        raise typer.BadParameter(f"choose one of {', '.join(PROFILES)}")
    if out.exists() and any(out.iterdir()):
        raise typer.BadParameter(f"{out} is not empty")
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("pilot", total=None)

        def show(day: str, done: int, total: int) -> None:
            bar.update(task, description=day, completed=done, total=total)

        try:
            outcome = rehearse(out, profile, scale, seed, show, cards)
        except ValueError as problem:
            raise typer.BadParameter(str(problem)) from None
    if as_json:
        json_object({"schema": "citycard/pilot-run/1", **outcome.as_json()})
    else:
        for line in outcome.lines:
            sign = "=" if line.equal else "~" if line.covered else "≠"
            result(f"{line.id:3} {line.shown:26} {line.verdict:14} {sign} truth {line.wanted}")
        for kind, (found, made) in outcome.slips.items():
            result(f"mistakes {kind:6} {found} of {made} noticed")
        for kind, (found, made) in outcome.faults.items():
            result(f"messages {kind:7} {found} of {made} made good")
        closed, raised = outcome.issues
        result(f"issues {closed} of {raised} closed; sleeps held back on {outcome.held_back} days")
        result(f"sweeps released by two persons: {outcome.released}")
        result(f"report {outcome.digest}")
        note(f"results in {out}")
    if not outcome.good:
        raise typer.Exit(EXIT_NO)
