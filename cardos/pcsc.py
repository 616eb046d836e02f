"""Real readers through PC/SC: `CardReader` and `CardChannel` over pyscard (pcsc-and-serial.md 5 to 9).

The raw functions are used because only they tell exact return codes. Rules kept here:

* a job owns its reader (SHARE_EXCLUSIVE) and leaves the card without power (UNPOWER_CARD);
* a return code of 0 is proof of nothing: fewer than two bytes mean the card is gone;
* after any failed transmit the channel is dead for good: pcscd may otherwise serve it from *another*
  card, without a reset; the answer of a failed call is stale memory and is dropped unseen;
* readers are chosen by name, never by position.

A reader and its channels belong to one thread: a PC/SC context is one socket with one lock.
pyscard is imported on first use only; without it every call raises DeviceFault CARD-NO-PYSCARD.
"""

import importlib
from threading import Event
from typing import Any

from core.clock import Clock, SystemClock
from core.errors import CityError, DeviceFault, Unavailable

SUCCESS = 0
INVALID_HANDLE = 0x80100003
TIMEOUT = 0x8010000A
SHARING_VIOLATION = 0x8010000B
NO_SMARTCARD = 0x8010000C
PROTO_MISMATCH = 0x8010000F
COMM_ERROR = 0x80100013
NOT_TRANSACTED = 0x80100016
NO_SERVICE = 0x8010001D
SERVICE_STOPPED = 0x8010001E
NO_READERS = 0x8010002E
UNRESPONSIVE_CARD = 0x80100066
UNPOWERED_CARD = 0x80100067
REMOVED_CARD = 0x80100069
SERVICE_LOST = frozenset({INVALID_HANDLE, COMM_ERROR, NO_SERVICE, SERVICE_STOPPED})
CARD_AWAY = frozenset({NO_SMARTCARD, UNPOWERED_CARD, REMOVED_CARD})

SCOPE_SYSTEM = 2
SHARE_EXCLUSIVE = 1
PROTOCOL_T0, PROTOCOL_T1 = 1, 2
PROTOCOL_ANY = PROTOCOL_T0 | PROTOCOL_T1
UNPOWER_CARD = 2
STATE_UNAWARE, STATE_PRESENT = 0, 0x20
POLL_MILLISECONDS = 500
RETRY_SECONDS = 0.02
BUSY_SECONDS = 2.0
MAX_CONNECT_TRIES = 3


def _pyscard() -> Any:
    try:
        return importlib.import_module("smartcard.scard")
    except ImportError as reason:
        raise DeviceFault(
            "CARD-NO-PYSCARD", "pyscard is not installed: pip install 'citycard[pcsc]'"
        ) from reason


def pyscard_installed() -> bool:
    """Whether PC/SC can be used at all; makes no PC/SC call."""
    try:
        _pyscard()
    except DeviceFault:
        return False
    return True


def _fault(rc: int, reader: str) -> CityError:
    """The error for a PC/SC return code: what the person at the reader has to do."""
    rc &= 0xFFFFFFFF
    detail = f"PC/SC return code {rc:08X}"
    if rc in SERVICE_LOST:
        return Unavailable("CARD-NO-PCSCD", detail, reader=reader)
    if rc in CARD_AWAY:
        return DeviceFault("CARD-ABSENT", detail, reader=reader)
    if rc == SHARING_VIOLATION:
        return Unavailable("CARD-BUSY", detail, reader=reader)
    if rc in (UNRESPONSIVE_CARD, NOT_TRANSACTED, PROTO_MISMATCH):
        return DeviceFault("CARD-MUTE", detail, reader=reader)
    return DeviceFault("CARD-READER", detail, reader=reader)


def _call(function: Any, *arguments: Any) -> tuple[int, tuple[Any, ...]]:
    """Return code and results of a raw PC/SC call.

    pyscard sometimes raises SystemError when handles are used after pcscd died (section 8); that is
    the service being lost, not a bug of ours.
    """
    try:
        result = function(*arguments)
    except SystemError:
        return NO_SERVICE, ()
    if not isinstance(result, (list, tuple)):
        return int(result) & 0xFFFFFFFF, ()
    return int(result[0]) & 0xFFFFFFFF, tuple(result[1:])


class _Context:
    """One SCARDCONTEXT, made when first needed and made anew after pcscd was lost."""

    def __init__(self) -> None:
        self.scard = _pyscard()
        self._handle: Any = None

    @property
    def handle(self) -> Any:
        if self._handle is None:
            rc, values = _call(self.scard.SCardEstablishContext, SCOPE_SYSTEM)
            if rc != SUCCESS:
                raise _fault(rc, "")
            self._handle = values[0]
        return self._handle

    def release(self) -> None:
        """Give the context back; a dead service answers with an error that has no meaning any more."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _call(self.scard.SCardReleaseContext, handle)

    def failed(self, rc: int, reader: str) -> CityError:
        """The error for `rc`; forgets the context when the service behind it is gone."""
        if rc in SERVICE_LOST:
            self.release()
        return _fault(rc, reader)


def list_readers() -> list[str]:
    """Names of all readers, in pcscd's own order. Unavailable CARD-NO-PCSCD, DeviceFault CARD-NO-PYSCARD."""
    context = _Context()
    try:
        rc, values = _call(context.scard.SCardListReaders, context.handle, [])
        if rc == NO_READERS:
            return []
        if rc != SUCCESS:
            raise _fault(rc, "")
        return [str(name) for name in values[0]]
    finally:
        context.release()


class PcscReader:
    """One PC/SC reader by name (`core.apdu.CardReader`).

    `t0`: ask the card for T=0 instead of T=1; None takes what the card speaks.
    """

    def __init__(self, name: str, t0: bool | None = False, clock: Clock | None = None) -> None:
        self._name = name
        self._protocol = PROTOCOL_ANY if t0 is None else PROTOCOL_T0 if t0 else PROTOCOL_T1
        self._clock = clock or SystemClock()
        self._pause = Event()
        self._context = _Context()

    @property
    def name(self) -> str:
        """The reader's name as PC/SC lists it."""
        return self._name

    def close(self) -> None:
        """Give the PC/SC context back."""
        self._context.release()

    def present(self) -> bool:
        """Whether a card is in now. DeviceFault CARD-READER when the reader itself is gone."""
        return bool(self._status(STATE_UNAWARE, 0) & STATE_PRESENT)

    def wait(self, present: bool, timeout: float) -> bool:
        """Wait for a card (or for an empty slot); False when `timeout` seconds passed first."""
        deadline = self._clock.monotonic() + timeout
        state = self._status(STATE_UNAWARE, 0)
        while bool(state & STATE_PRESENT) != present:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            state = self._status(state, min(POLL_MILLISECONDS, max(1, int(left * 1000))))
        return True

    def _status(self, known: int, milliseconds: int) -> int:
        """Event state, after a change from `known` or when the time is over."""
        states = [(self._name, known)]
        rc, values = _call(
            self._context.scard.SCardGetStatusChange, self._context.handle, milliseconds, states
        )
        if rc == TIMEOUT:
            return known
        if rc != SUCCESS:
            raise self._context.failed(rc, self._name)
        return int(values[0][0][1])

    def connect(self) -> "PcscChannel":
        """Power the card and own the reader until `close`.

        Raises DeviceFault CARD-ABSENT, CARD-MUTE, CARD-READER, Unavailable CARD-BUSY (somebody else kept
        the reader for two seconds) or CARD-NO-PCSCD.
        """
        deadline = self._clock.monotonic() + BUSY_SECONDS
        mute = 0
        while True:
            rc, values = _call(
                self._context.scard.SCardConnect,
                self._context.handle,
                self._name,
                SHARE_EXCLUSIVE,
                self._protocol,
            )
            if rc == SUCCESS:
                return PcscChannel(self._context, self._name, values[0], int(values[1]))
            if rc == SHARING_VIOLATION and self._clock.monotonic() < deadline:
                self._pause.wait(RETRY_SECONDS)
                continue
            mute += rc in (UNRESPONSIVE_CARD, NOT_TRANSACTED)
            if rc not in (UNRESPONSIVE_CARD, NOT_TRANSACTED) or mute >= MAX_CONNECT_TRIES:
                raise self._context.failed(rc, self._name)


class PcscChannel:
    """One powered card behind PC/SC (`core.apdu.CardChannel`). Made by `PcscReader.connect`."""

    def __init__(self, context: _Context, reader: str, handle: Any, protocol: int) -> None:
        self._context = context
        self._reader = reader
        self._handle = handle
        self._protocol = protocol
        try:
            self._atr = self._read_atr()
        except CityError:
            self.close()
            raise

    @property
    def atr(self) -> bytes:
        """Answer to reset."""
        return self._atr

    def transmit(self, apdu: bytes) -> bytes:
        """Send one APDU; the answer is data followed by SW1 SW2.

        DeviceFault CARD-GONE, or Unavailable CARD-NO-PCSCD when the service died; both end this channel,
        and what the chip did with the command must be asked over a new one.
        """
        if self._handle is None:
            raise DeviceFault("CARD-GONE", "the channel is closed", reader=self._reader)
        rc, values = _call(
            self._context.scard.SCardTransmit, self._handle, self._protocol, list(self._wire(apdu))
        )
        if rc == SUCCESS and len(values[0]) >= 2:
            return bytes(values[0])
        self._drop(rc)
        if rc in SERVICE_LOST:
            raise self._context.failed(rc, self._reader)
        raise DeviceFault("CARD-GONE", f"PC/SC return code {rc:08X}", reader=self._reader)

    def reset(self) -> bytes:
        """Cold reset of the same card; returns the ATR. The channel ends when the card is gone."""
        if self._handle is None:
            raise DeviceFault("CARD-GONE", "the channel is closed", reader=self._reader)
        rc, values = _call(
            self._context.scard.SCardReconnect,
            self._handle,
            SHARE_EXCLUSIVE,
            self._protocol,
            UNPOWER_CARD,
        )
        if rc != SUCCESS:
            self._drop(rc)
            raise self._context.failed(rc, self._reader)
        self._protocol = int(values[0])
        self._atr = self._read_atr()
        return self._atr

    def close(self) -> None:
        """Power the card down and let go of the reader. A second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _call(self._context.scard.SCardDisconnect, handle, UNPOWER_CARD)

    def _wire(self, apdu: bytes) -> bytes:
        """T=0 carries no Le behind data (ISO/IEC 7816-3 10.3.5): the answer comes by GET RESPONSE."""
        if self._protocol == PROTOCOL_T0 and len(apdu) > 5 and len(apdu) == apdu[4] + 6:
            return apdu[:-1]
        return apdu

    def _drop(self, rc: int) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and rc not in SERVICE_LOST:
            _call(self._context.scard.SCardDisconnect, handle, UNPOWER_CARD)

    def _read_atr(self) -> bytes:
        rc, values = _call(self._context.scard.SCardStatus, self._handle)
        if rc != SUCCESS:
            self._drop(rc)
            raise self._context.failed(rc, self._reader)
        return bytes(values[3])
