"""Where a host plugs in: a pseudo-terminal behind a stable path, or a TCP port on this machine."""

import os
import select
import socket
import tempfile
import termios
import tty
from contextlib import suppress
from pathlib import Path
from typing import Protocol

READ_BYTES = 2048
_BAUDS = {
    termios.B9600: 9_600,
    termios.B19200: 19_200,
    termios.B38400: 38_400,
    termios.B57600: 57_600,
    termios.B115200: 115_200,
}


class Port(Protocol):
    """One socket on the printer's back. `receive` blocks; b"" means nothing came in time or `wake` was called."""

    @property
    def url(self) -> str: ...

    def plug_in(self) -> None: ...

    def unplug(self) -> None: ...

    def receive(self, timeout: float | None) -> bytes: ...

    def send(self, data: bytes) -> None: ...

    def host_baud(self) -> int | None: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...


class _Waker:
    """A pipe that ends a blocking wait."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def wake(self) -> None:
        os.write(self._write_end, b"\0")

    def clear(self) -> None:
        os.read(self.read_end, READ_BYTES)

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self._write_end)


class PtyPort:
    """A pseudo-terminal; `url` is a link that keeps its name over power cuts."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="citycard-printer-")
        self._link = Path(self._folder.name) / "tty"
        self._waker = _Waker()
        self._master = self._slave = -1
        self.plug_in()

    @property
    def url(self) -> str:
        """Path a driver opens."""
        return str(self._link)

    def plug_in(self) -> None:
        """Power is there: a fresh pair, raw on both ends."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        fresh = self._link.with_name("next")
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self._link)

    def unplug(self) -> None:
        """The host sees its port die."""
        for end in (self._slave, self._master):
            if end >= 0:
                os.close(end)
        self._master = self._slave = -1
        self._link.unlink(missing_ok=True)

    def receive(self, timeout: float | None) -> bytes:
        """Bytes from the host."""
        ends = [self._waker.read_end] + ([self._master] if self._master >= 0 else [])
        ready, _, _ = select.select(ends, [], [], timeout)
        if self._waker.read_end in ready:
            self._waker.clear()
            return b""
        return os.read(self._master, READ_BYTES) if ready else b""

    def send(self, data: bytes) -> None:
        """Bytes to the host; lost when the power is off."""
        if self._master >= 0:
            os.write(self._master, data)

    def host_baud(self) -> int | None:
        """The speed the host has set; both ends of a pty share the setting."""
        return _BAUDS.get(termios.tcgetattr(self._slave)[5]) if self._slave >= 0 else None

    def wake(self) -> None:
        """End a `receive` that waits."""
        self._waker.wake()

    def close(self) -> None:
        """For good."""
        self.unplug()
        self._waker.close()
        self._folder.cleanup()


class TcpPort:
    """A network printer on the loopback address; one host at a time, others are turned away."""

    def __init__(self) -> None:
        self._waker = _Waker()
        self._number = 0
        self._listener: socket.socket | None = None
        self._host: socket.socket | None = None
        self.plug_in()

    @property
    def url(self) -> str:
        """pyserial URL."""
        return f"socket://127.0.0.1:{self._number}"

    def plug_in(self) -> None:
        """Power is there: listen, on the same number as before."""
        self._listener = socket.create_server(("127.0.0.1", self._number))
        self._number = self._listener.getsockname()[1]

    def unplug(self) -> None:
        """The host sees its connection die and can make no new one."""
        self._drop_host()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def receive(self, timeout: float | None) -> bytes:
        """Bytes from the host."""
        ends: list[socket.socket | int] = [self._waker.read_end]
        ends += [end for end in (self._listener, self._host) if end is not None]
        ready, _, _ = select.select(ends, [], [], timeout)
        if self._waker.read_end in ready:
            self._waker.clear()
            return b""
        if self._listener is not None and self._listener in ready:
            self._accept(self._listener)
            return b""
        if self._host is None or self._host not in ready:
            return b""
        try:
            data = self._host.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._drop_host()
        return data

    def send(self, data: bytes) -> None:
        """Bytes to the host; lost when there is none."""
        if self._host is not None:
            with suppress(ConnectionError):  # the host has gone: so are the bytes
                self._host.sendall(data)

    def host_baud(self) -> int | None:
        """A socket has no speed."""
        return None

    def wake(self) -> None:
        """End a `receive` that waits."""
        self._waker.wake()

    def close(self) -> None:
        """For good."""
        self.unplug()
        self._waker.close()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        if self._host is not None:
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = connection

    def _drop_host(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.close()
