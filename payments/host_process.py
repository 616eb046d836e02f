"""A process that is nothing but a purse host: the interpreter set for short waits instead of long turns."""

import gc
import sys

TURN_SECONDS = 0.0005
YOUNG_OBJECTS = 20_000


def settle_in() -> None:
    """Call once when everything is loaded.

    The listener's thread must not wait a whole turn (5 ms by default) behind a committer to send what is committed;
    and the collector need not look again and again at modules and statements that stay for good.
    """
    sys.setswitchinterval(TURN_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
