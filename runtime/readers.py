"""Card readers by name: the one place where commands get a real PC/SC reader."""

from cardos.pcsc import PcscReader, list_readers
from core.errors import DeviceFault, NotFound


def find_reader(name: str | None = None) -> PcscReader:
    """The reader of this name (a part of it will do), else the first one that holds a card, T=0 or T=1.

    Raises NotFound CARD-NO-READER, DeviceFault CARD-ABSENT when no reader holds a card, and what
    `list_readers` raises when there is no PC/SC.
    """
    names = list_readers()
    if name is not None:
        for listed in sorted(names, key=lambda one: one != name):
            if name in listed:
                return PcscReader(listed, t0=None)
        raise NotFound("CARD-NO-READER", f"readers: {', '.join(names) or 'none'}", reader=name)
    for listed in names:
        reader = PcscReader(listed, t0=None)
        if reader.present():
            return reader
        reader.close()
    if not names:
        raise NotFound("CARD-NO-READER", "pcscd knows no reader", reader="*")
    raise DeviceFault("CARD-ABSENT", "no reader holds a card", reader=", ".join(names))


def seen_in(name: str, timeout: float) -> bool:
    """Whether the reader of this name sees a card within `timeout` seconds."""
    reader = PcscReader(name)
    try:
        return reader.wait(True, timeout)
    finally:
        reader.close()
