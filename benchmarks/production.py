"""What a station adds to the machine's own time, and what chip writing costs beside a bare PC/SC loop.

    python benchmarks/production.py [--profile fast] [--stations 1 8 32] [--cards 2] [--rounds 7] [--json]

Efficiency (goal P16: 97 %): physics / (physics + gaps) at true device timing, measured from the first eject to the
last, so that a cycle holds everything between two cards: art, journal flushes, HSM, database, waiting for the
reader's word. The HSM is a stand-in in the same process (`production_pace`).

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
HSMS = {
    "at_hand": "HSM's answers at hand", "in_process": "a stand-in computing in the process",
    "hsm": "the HSM computing in a process of its own, over TLS",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", choices=("classic", "fast"), default="fast")
    parser.add_argument("--stations", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--cards", type=int, default=2, help="a station")
    parser.add_argument("--rounds", type=int, default=7, help="of chip writing; 0: leave it out")
    parser.add_argument("--cpu-cards", type=int, default=40, help="0: leave it out")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    timing = {"classic": CLASSIC, "fast": FAST}[wanted.profile]
    report: dict[str, Any] = {
        "schema": "citycard/benchmark-production/2", "profile": wanted.profile,
        "load_before": os.getloadavg()[0],
        "chip_writing": chip_writing(wanted.rounds) if wanted.rounds else None,
        "central_cpu": central_cpu(wanted.cpu_cards) if wanted.cpu_cards else None,
        "efficiency": [],
    }  # fmt: skip
    for stations in wanted.stations:
        for pcsc in (False, True) if stations <= READERS_A_DAEMON else (False,):
            report["efficiency"].append(efficiency(stations, wanted.cards, pcsc, timing))
    report["load_after"] = os.getloadavg()[0]
    if wanted.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    return 0


def show(report: dict[str, Any]) -> None:
    """The report for a person."""
    writing, central = report["chip_writing"], report["central_cpu"]
    if writing:
        for name, words in HSMS.items():
            row = writing[name]
            print(
                f"chip writing, {words}: {row['speed_of_bare_loop']:.0%} of a bare pyscard loop "
                f"({row['ours_ms']} ms, {row['bare_ms']} ms; {writing['apdus']} APDUs; spread "
                f"{row['spread']}); goal 80 %"
            )
    if central:
        print(
            f"central CPU: {central['database_ms_a_card']} ms a card in transactions "
            f"({central['cards']} cards, one station); goal 40"
        )
    for row in report["efficiency"]:
        print(
            f"{row['stations']:3d} stations {'pcscd ' if row['pcsc'] else 'direct'}: efficiency "
            f"{row['efficiency']:.1%} (worst {row['worst']:.1%}; goal 97 %), {row['seconds_a_card']} s a "
            f"card, {row['process_cpu_ms_a_card']} ms CPU a card with all simulated devices"
        )
    print(f"load average {report['load_before']:.1f} before, {report['load_after']:.1f} after")


if __name__ == "__main__":
    sys.exit(main())
