"""Run by a test: a daemon is killed under a connected card, restarted, and everything works again."""

import os
import sys

import pytest
from echo_card import EchoCard

from cardos.pcsc import PcscReader
from cardos.vpcd import VirtualSlot
from core.errors import DeviceFault, Unavailable
from runtime.pcscd import PrivatePcscd

SERIAL = bytes.fromhex("00B0000001")


def main() -> None:
    with PrivatePcscd() as daemon:
        name, port = next(iter(daemon.slots.items()))
        directory = daemon.socket_path.parent
        slot, reader = VirtualSlot(("127.0.0.1", port)), PcscReader(name)
        slot.insert(EchoCard(5))
        assert reader.wait(True, 5)
        channel = reader.connect()
        daemon.kill()
        with pytest.raises((Unavailable, DeviceFault), match=r"CARD-NO-PCSCD|CARD-GONE"):
            channel.transmit(SERIAL)
        assert slot.join(5)
        slot.remove()
        daemon.restart()
        slot.insert(EchoCard(6))
        try:
            assert reader.wait(True, 5)
        except Unavailable:  # the old context dies on first use, the next one is new
            assert reader.wait(True, 5)
        again = reader.connect()
        assert again.transmit(SERIAL)[0] == 6
        again.close()
        slot.remove()
        reader.close()
        pid = daemon.pid
        assert daemon.stop() == 0
        assert not directory.exists()
        assert pid is not None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.stdout.write("recovered\n")


main()
