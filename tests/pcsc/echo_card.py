"""The smallest card there is: echoes data, tells its serial, remembers how often it was powered."""

from core.errors import DeviceFault


class EchoCard:
    """Answers ``data 9000``; INS B0 gives its serial; INS D6 counts writes; INS EE dies inside."""

    def __init__(self, serial: int = 0) -> None:
        self.serial = serial
        self.powered = 0
        self.writes = 0
        self.seen: list[bytes] = []

    @property
    def atr(self) -> bytes:
        return bytes.fromhex("3BE0000081312045") + bytes((0x35,))

    def transmit(self, apdu: bytes) -> bytes:
        self.seen.append(apdu)
        if apdu[1] == 0xB0:
            return bytes((self.serial,)) + b"\x90\x00"
        if apdu[1] == 0xD6:
            self.writes += 1
        if apdu[1] == 0xEE:
            raise DeviceFault("CARD-GONE", "power cut inside the command")
        data = apdu[5 : 5 + apdu[4]] if len(apdu) > 5 else b""
        return data + b"\x90\x00"

    def reset(self) -> bytes:
        self.powered += 1
        return self.atr

    def close(self) -> None:
        self.powered = 0
