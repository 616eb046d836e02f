"""One pilot from its truth to the summary report, in a folder: what the registers found beside what is true.

Files: ``truth.jsonl``, ``expected.json``, ``measured.json``, ``report.md``, ``report.zh.md``, ``report.json``,
``annex/*.csv``, the database ``pilot.db``, and ``works/`` when cards were made. No name and no number of a person
stands in any of the texts; in the database they are under the seal of an HSM whose keys end with the run.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from core.clock import SHANGHAI, FixedClock
from core.db import Database
from registry.indicators.statistics import Verdict
from registry.indicators.values import IndicatorValue
from registry.pilot import expected, offices, rehearsal, summary, summary_text, world
from registry.pilot.expected import Expected
from registry.pilot.field_check import MAX_SAMPLE
from registry.pilot.preparation import OFFICE
from registry.pilot.rehearsal import Rehearsed
from registry.pilot.works_result import Works
from registry.vault import attach
from runtime.demo.city import Options
from runtime.demo.run import run_demo
from runtime.pilot_figures import gather
from runtime.services import build, declare_tables
from runtime.settings import Settings
from runtime.training_vault import training_vault

SUMMARY_DAY = datetime(2007, 9, 20, 9, tzinfo=SHANGHAI)
STEPS_OF_A_CARD = 5  # the progress of the works is about that many steps a card
GOOD = (Verdict.MET, Verdict.REPORT)
ESTIMATED = frozenset({"E2D"})  # an estimate is never more than LIKELY


@dataclass(frozen=True)
class Line:
    """One indicator: what was found, what is true. `covered`: of a sample, its interval holds the truth."""

    id: str
    shown: str
    verdict: str
    wanted: str
    equal: bool
    covered: bool = False


@dataclass(frozen=True)
class Outcome:
    """The whole run. `failed`: indicators that miss their target; `planted`: those that should.

    `slips`: mistakes of employers by kind, those the registers noticed and those that were made; `faults`: the same
    of the line between the registers. `held_back`: days on which silence stopped sleeps; `released`: sweeps of
    the breaker's that two persons let go on; `issues` of the monitors: closed and raised;
    `broken`: equations of cards and money that do not hold.
    """

    profile: str
    persons: int
    lines: tuple[Line, ...]
    failed: tuple[str, ...]
    planted: tuple[str, ...]
    slips: dict[str, tuple[int, int]]
    faults: dict[str, tuple[int, int]]
    held_back: int
    released: int
    issues: tuple[int, int]
    broken: tuple[str, ...]
    digest: str

    @property
    def good(self) -> bool:
        """As the truth says, every mistake and fault noticed, and the planted targets missed, no others."""
        noticed = all(
            found == made
            for found, made in (*self.slips.values(), *self.faults.values(), self.issues)
        )
        right = all(line.equal or line.covered for line in self.lines)
        return noticed and right and self.failed == self.planted and not self.broken

    def as_json(self) -> dict[str, Any]:
        """For ``--json`` and measured.json."""
        return {**asdict(self), "good": self.good}


def run(
    out: Path,
    profile: str,
    scale: float,
    seed: int,
    progress: Callable[[str, int, int], None],
    cards: int = 0,
) -> Outcome:
    """Run a pilot into the folder `out`. ValueError for a scale outside the limits.

    `cards`: how many are made, handed over, loaded, paid with and cleared, in an installation of its own below
    ``works``: a card centre, terminals and a purse host with simulated devices. Their figures go into the summary.
    """
    truth = world.make(profile, scale, seed)
    out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(one, ensure_ascii=False, sort_keys=True) for one in truth.truth())
    (out / "truth.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    wanted = expected.expected(truth)
    _write_json(out / "expected.json", {one.id: _share(one.share) for one in wanted})
    works, broken = _works(out / "works", cards, seed, progress) if cards else (Works(), ())
    declare_tables()
    db = Database(f"sqlite:///{out / 'pilot.db'}")
    try:
        db.create_tables()
        with training_vault() as vault:
            attach(db, vault)
            found = rehearsal.rehearse(db, truth, progress)
            digest = _report(db, out, works)
    finally:
        db.close()
    outcome = _compare(truth, found, wanted, broken, digest)
    _write_json(out / "measured.json", outcome.as_json())
    return outcome


def _works(
    out: Path, cards: int, seed: int, progress: Callable[[str, int, int], None]
) -> tuple[Works, tuple[str, ...]]:
    """Make and use cards; their figures, and what does not add up."""
    done = 0

    def step(what: str, steps: int) -> None:
        nonlocal done
        done += steps
        progress(what, done, STEPS_OF_A_CARD * cards)

    report = run_demo(Options(out, cards=cards, reader="direct", seed=seed), step)
    services = build(Settings(data=out))
    try:
        with services.db.read() as tx:
            return gather(tx), tuple(report["broken"])
    finally:
        services.close()


def _report(db: Database, out: Path, works: Works) -> str:
    """Close the pilot, freeze, publish, write the forms of the report."""
    clock = FixedClock(SUMMARY_DAY)
    with db.write() as tx:
        offices.close(tx, clock, SUMMARY_DAY.date())
        snapshot = summary.freeze(tx, clock, SUMMARY_DAY.date(), works)
        digest = summary.publish(tx, clock, snapshot, OFFICE)
    (out / "report.json").write_text(summary.as_json(snapshot), "utf-8")
    (out / "report.md").write_text(summary_text.markdown(snapshot), "utf-8")
    (out / "report.zh.md").write_text(summary_text.markdown(snapshot, "zh"), "utf-8")
    (out / "annex").mkdir(exist_ok=True)
    for name, text in summary.annexes(snapshot).items():
        (out / "annex" / name).write_text(text, "utf-8")
    return digest


def _compare(
    truth: world.World,
    rehearsed: Rehearsed,
    wanted: list[Expected],
    broken: tuple[str, ...],
    digest: str,
) -> Outcome:
    found = rehearsed.indicators
    by_id = {one.id: one for one in found}
    made = Counter(truth.slips.values())
    lines = []
    for want in wanted:
        got = by_id[want.id]
        share = Fraction(got.numerator, got.denominator) if got.denominator else None
        span = got.interval if len(truth.residents) > MAX_SAMPLE else None
        covered = span is not None and span.low <= want.share <= span.high
        lines.append(
            Line(got.id, got.shown, got.verdict, _share(want.share), share == want.share, covered)
        )
    failed = sorted(one.id for one in found if not _good(one))
    planted = sorted(truth.fails)
    slips = {slip.value: (rehearsed.slips[slip], made[slip]) for slip in world.Slip}
    faults = {fault.value: counts for fault, counts in rehearsed.faults.items()}
    return Outcome(
        truth.profile.name, len(truth.residents), tuple(lines), tuple(failed), tuple(planted), slips,
        faults, rehearsed.held_back, rehearsed.released, rehearsed.issues, broken, digest,
    )  # fmt: skip


def _good(found: IndicatorValue) -> bool:
    likely = found.id in ESTIMATED and found.verdict is Verdict.LIKELY
    return found.verdict in GOOD or likely


def _share(share: Fraction) -> str:
    return f"{share.numerator}/{share.denominator}"


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")
