"""Operators' commands by the id their client gave them: a double click has one effect (production.md 6, rule 5).

The command's row, its effect and its answer stand in one commit; the same id later gets the same answer.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError

from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from personalization.tables import CommandRow

MAX_ID = 60
Answer = dict[str, Any]


def once(
    tx: Tx,
    clock: Clock,
    command: str | None,
    kind: str,
    values: Mapping[str, Any],
    act: Callable[[], Answer],
) -> Answer:
    """Run `act` unless `command` ran before; then its first answer again. None: run it.

    Raises Rejected W-COMMAND when the id was used for another kind or other values, or is too long.
    """
    if command is None:
        return act()
    if not 1 <= len(command) <= MAX_ID:
        raise Rejected("W-COMMAND", f"an id has 1 to {MAX_ID} characters")
    digest = hashlib.sha256(
        json.dumps([kind, values], sort_keys=True, default=str).encode()
    ).hexdigest()
    known = tx.get(CommandRow, command, with_for_update=True)
    if known is not None:
        if known.digest != digest:
            raise Rejected("W-COMMAND", f"the id stands for a {known.kind}")
        answer: Answer = json.loads(known.result)
        return answer
    row = CommandRow(id=command, kind=kind, digest=digest, at=clock.now(), result="{}")
    try:
        with tx.begin_nested():  # on PostgreSQL the second of two clicks at once waits here
            tx.add(row)
    except IntegrityError:
        return once(tx, clock, command, kind, values, act)
    answer = act()
    row.result = json.dumps(answer, ensure_ascii=False, sort_keys=True)
    return answer
