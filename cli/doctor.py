"""``citycard doctor``: what is missing on this machine and how to fix it."""

from typing import Annotated

import typer

from cli.output import EXIT_NO, json_object, result


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Say what is missing on this machine and how to fix it."""
    from runtime.health import checks

    found = checks()
    if as_json:
        json_object(
            {
                "schema": "citycard/doctor/1",
                "ok": all(check.ok or not check.needed for check in found),
                "checks": [
                    {"name": c.name, "ok": c.ok, "needed": c.needed, "found": c.found, "fix": c.fix}
                    for c in found
                ],
            }
        )
    else:
        for check in found:
            mark = "ok     " if check.ok else "MISSING" if check.needed else "absent "
            result(f"{mark}  {check.name:<22} {check.found}")
            if not check.ok:
                result(f"         → {check.fix}")
    return 0 if all(check.ok or not check.needed for check in found) else EXIT_NO
