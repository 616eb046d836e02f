"""Run by a test: a chip in a virtual reader whose process is killed in the middle of GET CHALLENGE."""

import os
import signal
import sys
from threading import Event

from cardos.card import Card
from cardos.vpcd import VirtualSlot


def die(_count: int) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


slot = VirtualSlot(("127.0.0.1", int(sys.argv[1])))
slot.insert(Card.blank(rng=die, serial=bytes(8)))
Event().wait(60)
