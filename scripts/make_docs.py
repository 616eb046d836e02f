"""Write the pages that are made from the code: ``docs/faults.md`` from every package's fault catalogue.

Usage: python scripts/make_docs.py. A test fails when a page is not what this would write.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.faults import PACKAGES, Fault, catalogue  # noqa: E402

HEAD = """# Faults 故障码

Made by `scripts/make_docs.py` from the `faults.toml` of each package; the command line, the API and the printed
fault sheets say the same. Words in braces are filled in with the fault's own facts.

"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for package in PACKAGES:
        faults = sorted(catalogue(package).values(), key=lambda fault: fault.code)
        if faults:
            parts.append(f"## {package}\n\n")
            parts += [_entry(fault) for fault in faults]
    return "".join(parts)


def _entry(fault: Fault) -> str:
    return (
        f"### {fault.code}\n\n"
        f"{fault.title_en} *{fault.action_en}*\n\n"
        f"{fault.title_zh}*{fault.action_zh}*\n\n"
        f"For: {fault.who}\n\n"
    )


if __name__ == "__main__":
    (ROOT / "docs" / "faults.md").write_text(page().rstrip("\n") + "\n", "utf-8")
