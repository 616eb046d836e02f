"""What a station adds to the machine's own time, and what chip writing costs beside a bare PC/SC loop.

    python benchmarks/production.py [--profile fast] [--stations 1 8 32] [--cards 2] [--rounds 7] [--json]
    python benchmarks/production.py --rounds 0 --cpu-cards 0 --stations 32 --ways direct    one floor alone

Each figure is printed as soon as it is there. A floor takes the time its cards take, 40 s a card and station with
the fast machine however many stations there are, and is given up when it takes three times that.

Efficiency (goal P16: 97 %): physics / (physics + gaps) at true device timing, measured from the first eject to the
last, so that a cycle holds everything between two cards: art, journal flushes, HSM, database, waiting for the
reader's word. The HSM is a stand-in in the same process (`production_pace`), and so are all printers and chips: the
time they need beyond their physics counts as ours. One pcscd serves 16 readers, so 32 stations run without it.

Central CPU a card (goal P17: 40 ms): the time all threads spend in database transactions, beside the station's
own work (art, driver, chip); the simulated devices' threads are left out. The first cards are not counted.

Chip writing (goal: 80 % of the bare loop): `production_chip`, with three kinds of HSM.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.production_chip import chip_writing
from benchmarks.production_pace import central_cpu, efficiency
from printer.timing import CLASSIC, FAST

READERS_A_DAEMON = 16
WAYS = ("direct", "pcscd")
HSMS = {
    "at_hand": "HSM's answers at hand", "in_process": "a stand-in computing in the process",
    "hsm": "the HSM computing in a process of its own, over TLS",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", choices=("classic", "fast"), default="fast")
    parser.add_argument("--stations", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--ways", choices=WAYS, nargs="*", default=WAYS)
    parser.add_argument("--cards", type=int, default=2, help="a station")
    parser.add_argument("--rounds", type=int, default=7, help="of chip writing; 0: leave it out")
    parser.add_argument("--cpu-cards", type=int, default=40, help="0: leave it out")
    parser.add_argument("--json", action="store_true", help="one object; the lines go to stderr")
    wanted = parser.parse_args()
    said = sys.stderr if wanted.json else sys.stdout
    timing = {"classic": CLASSIC, "fast": FAST}[wanted.profile]
    report: dict[str, Any] = {
        "schema": "citycard/benchmark-production/2", "profile": wanted.profile,
        "load_before": os.getloadavg()[0], "chip_writing": None, "central_cpu": None,
        "efficiency": [],
    }  # fmt: skip

    def say(line: str) -> None:
        print(line, file=said, flush=True)

    if wanted.rounds:
        report["chip_writing"] = writing = chip_writing(wanted.rounds)
        for name, words in HSMS.items():
            say(writing_line(writing[name], words, writing["apdus"]))
    if wanted.cpu_cards:
        report["central_cpu"] = central_cpu(wanted.cpu_cards)
        say(central_line(report["central_cpu"]))
    for stations in wanted.stations:
        for way in wanted.ways:
            if way == "direct" or stations <= READERS_A_DAEMON:
                row = efficiency(stations, wanted.cards, way == "pcscd", timing)
                report["efficiency"].append(row)
                say(efficiency_line(row))
    report["load_after"] = os.getloadavg()[0]
    say(f"load average {report['load_before']:.1f} before, {report['load_after']:.1f} after")
    if wanted.json:
        print(json.dumps(report, indent=1))
    return 0


def writing_line(row: dict[str, Any], hsm: str, apdus: int) -> str:
    """One kind of HSM beside the bare loop."""
    return (
        f"chip writing, {hsm}: {row['speed_of_bare_loop']:.0%} of a bare pyscard loop "
        f"({row['ours_ms']} ms, {row['bare_ms']} ms; CPU {row['ours_cpu_ms']} ms, {row['bare_cpu_ms']} ms; "
        f"{apdus} APDUs; spread {row['spread']}); goal 80 %"
    )


def central_line(central: dict[str, Any]) -> str:
    """What a card costs the database."""
    return (
        f"central CPU: {central['database_ms_a_card']} ms a card in transactions "
        f"({central['cards']} cards, one station); goal 40"
    )


def efficiency_line(row: dict[str, Any]) -> str:
    """One floor."""
    return (
        f"{row['stations']:3d} stations {'pcscd ' if row['pcsc'] else 'direct'}: efficiency "
        f"{row['efficiency']:.1%} (worst {row['worst']:.1%}; goal 97 %), {row['seconds_a_card']} s a "
        f"card, {row['process_cpu_ms_a_card']} ms CPU a card with all simulated devices"
    )


if __name__ == "__main__":
    sys.exit(main())
