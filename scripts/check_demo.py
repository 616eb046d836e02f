"""Read what ``citycard demo --json`` printed and fail unless it says what a good run says.

Usage: python scripts/check_demo.py FILE. Every difference must be zero, every picture must exist, PC/SC must
have been real.
"""

import json
import sys
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


def failures(report: dict) -> list[str]:
    """What is wrong with a run's report; empty when nothing is."""
    wanted = {
        "reader": (report["reader"], "pcsc"),
        "stock.difference": (report["stock"]["difference"], 0),
        "purse.difference_fen": (report["purse"]["difference_fen"], 0),
        "clearing.differences": (report["clearing"]["differences"], 0),
        "clearing.tac_bad": (report["clearing"]["tac_bad"], 0),
        "ceremony.findings": (report["ceremony"]["findings"], []),
        "ceremony.verdict": (report["ceremony"]["verdict"], "pass"),
        "dormancy.load_refused_code": (report["dormancy"]["load_refused_code"], "62"),
        "tear.recovered": (report["tear"]["recovered"], 1),
        "spoiled and remade": (report["stock"]["spoiled"], 1),
        "good cards": (report["stock"]["good"], len(report["cards"])),
    }
    found = [
        f"{name}: {seen!r}, wanted {want!r}"
        for name, (seen, want) in wanted.items()
        if seen != want
    ]
    if report["duplicates_rejected"] < 1:
        found.append("no upload was refused as a duplicate")
    for card in report["cards"]:
        for side in ("front_png", "back_png"):
            picture = Path(card[side])
            if not picture.is_file() or not picture.read_bytes().startswith(PNG):
                found.append(f"{card['card_serial']}: no picture {card[side]}")
    return found


def main() -> int:
    """Print every failure; exit 1 when there is one."""
    report = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    found = failures(report)
    for line in found:
        print(f"demo: {line}", file=sys.stderr)
    print(f"demo: {len(report['cards'])} cards in {report['seconds']} s, {len(found)} failures")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
