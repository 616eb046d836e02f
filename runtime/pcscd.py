"""A private pcscd with virtual readers, on its own socket (pcsc-and-serial.md 3).

No systemd, polkit, hardware or changed system file is needed: pcscd takes over one listening UNIX socket
(the socket-activation protocol) and dies with us. Each reader entry gets a *copy* of the vpcd driver,
because two entries that share one file mix up their cards (section 4).

    with PrivatePcscd(readers=1) as daemon:
        slot = VirtualSlot(("127.0.0.1", daemon.slots["Perso 00 00 00"]))

libpcsclite reads the socket's place once per process and keeps it, so the run directory is one per
process: a second instance may follow the first, but not run beside it. `start` must be called from a
thread that lives as long as the daemon shall (the kernel ties it to that thread).
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from cardos.pcsc import list_readers, pyscard_installed
from core.clock import Clock, SystemClock
from core.errors import Unavailable

PCSCD = Path("/usr/sbin/pcscd")
DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
STATE_DIRECTORY = Path("/run/pcscd")  # pcscd insists that it exists
SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"
MAX_READERS = 8
SLOTS_PER_READER = 2
FIRST_PORT, LAST_PORT = 20_000, 32_000  # below the ephemeral range, where ports vanish at random
PORT_STEP = 10
START_SECONDS = 10.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
LOG_TAIL = 2_000

_LAUNCH = (
    "import ctypes,os,sys;"
    "ctypes.CDLL(None).prctl(1,15);"  # PR_SET_PDEATHSIG, SIGTERM
    "os.dup2(int(sys.argv[1]),3);os.set_inheritable(3,True);"
    "os.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid()));"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


def _run_directory() -> Path:
    """One per process, short: a UNIX socket's path has 108 bytes at most."""
    return Path(tempfile.gettempdir()) / f"{_prefix()}{os.getpid()}"


def _prefix() -> str:
    return f"citycard-pcsc-{os.getuid()}-"


def _sweep() -> None:
    """Remove what killed processes of this user left; a process that lives keeps its directory."""
    for left in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        number = left.name.removeprefix(_prefix())
        if not number.isdigit() or left.is_symlink() or left.stat().st_uid != os.getuid():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)  # another process may be sweeping too
        except PermissionError:
            continue  # the number belongs to somebody else's process now


def _free(port: int) -> bool:
    for number in range(port, port + SLOTS_PER_READER):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", number))
            except OSError:
                return False
    return True


def _free_ports(count: int, base: int) -> list[int]:
    found = [port for port in range(base, LAST_PORT, PORT_STEP) if _free(port)][:count]
    if len(found) < count:
        raise Unavailable("CARD-PCSCD-PORTS", f"no {count} free ports from {base} to {LAST_PORT}")
    return found


class PrivatePcscd:
    """One pcscd of our own with `readers` virtual readers of two slots each.

    Attributes
    ----------
    slots : reader name as PC/SC lists it -> TCP port at which its card is plugged in.
    """

    def __init__(
        self,
        readers: int = 1,
        base_port: int | None = None,
        name: str = "Perso",
        log_directory: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 1 <= readers <= MAX_READERS:
            raise ValueError(f"a pcscd serves 1 to {MAX_READERS} readers of two slots")
        self._clock = clock or SystemClock()
        self._directory = _run_directory()
        self._log_path = (log_directory or self._directory) / "pcscd.log"
        self._base = base_port or FIRST_PORT + os.getpid() % 500 * 2 * PORT_STEP
        self._count = readers
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = False
        self.slots: dict[str, int] = {}

    @property
    def socket_path(self) -> Path:
        """Where clients find it: PCSCLITE_CSOCK_NAME."""
        return self._directory / "pcscd.comm"

    @property
    def pid(self) -> int | None:
        """The daemon's process, None when stopped."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start and wait until all readers are listed.

        Raises Unavailable CARD-PCSCD-MISSING, CARD-PCSCD-TWICE, CARD-PCSCD-PORTS, CARD-PCSCD-START.
        """
        package = missing()
        if package is not None:
            raise Unavailable("CARD-PCSCD-MISSING", f"install {package}", package=package)
        try:
            STATE_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
        except OSError as reason:
            raise Unavailable(
                "CARD-PCSCD-MISSING",
                f"create {STATE_DIRECTORY} as root: {reason}",
                package=str(STATE_DIRECTORY),
            ) from reason
        self._make_directory()
        try:
            atexit.register(self.stop)
            self._write_readers()
            self._launch()
            os.environ[SOCKET_VARIABLE] = str(self.socket_path)
            self._await_readers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> int | None:
        """End the daemon and remove its directory; returns its exit code (0 is a clean end)."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        code = None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        if self._owner:
            shutil.rmtree(self._directory)
        self._owner, self.slots = False, {}
        return code

    def kill(self) -> None:
        """SIGKILL: the crash a station must survive. `restart` brings it back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """After a crash: the same socket path, readers and ports, so that clients and cards come back."""
        self.kill()
        self._launch()
        self._await_readers()

    def log(self) -> str:
        """The end of pcscd's log. Empty on a healthy run."""
        try:
            return self._log_path.read_text("utf-8", "replace")[-LOG_TAIL:]
        except FileNotFoundError:
            return ""

    def _make_directory(self) -> None:
        _sweep()
        if self.socket_path.exists() and _answers(self.socket_path):
            raise Unavailable("CARD-PCSCD-TWICE", "a private pcscd runs in this process already")
        if self._directory.is_dir() and not self._directory.is_symlink():
            shutil.rmtree(self._directory)  # left by a killed process that had our number
        self._directory.mkdir(mode=0o700)
        self._owner = True
        (self._directory / "reader.conf.d").mkdir()
        self._log_path.parent.mkdir(parents=True, exist_ok=True)

    def _write_readers(self) -> None:
        self.slots = {}
        for index, port in enumerate(_free_ports(self._count, self._base)):
            driver = self._directory / f"ifd{index}.so"
            shutil.copyfile(DRIVER.resolve(), driver)
            driver.chmod(0o700)
            name = f"{self._name} {index:02d}"
            entry = (
                f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:0x{port:04X}\n'
                f"LIBPATH {driver}\nCHANNELID 0x{port:04X}\n"
            )
            (self._directory / "reader.conf.d" / f"r{index:02d}").write_text(entry, "ascii")
            for slot in range(SLOTS_PER_READER):
                self.slots[f"{name} 00 {slot:02d}"] = port + slot

    def _launch(self) -> None:
        self.socket_path.unlink(missing_ok=True)
        command = [str(PCSCD), "--foreground", "--error"]
        command += ["-c", str(self._directory / "reader.conf.d"), *_polkit()]
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
            self._log_path.open("ab") as log,
        ):
            listener.bind(str(self.socket_path))
            self.socket_path.chmod(0o600)
            listener.listen(64)
            self._process = subprocess.Popen(  # noqa: S603 (our own launcher, fixed program)
                [sys.executable, "-c", _LAUNCH, str(listener.fileno()), *command],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await_readers(self) -> None:
        deadline = self._clock.monotonic() + START_SECONDS
        seen: set[str] = set()
        while self._clock.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                seen = set(list_readers())
            except Unavailable:
                seen = set()
            if seen == set(self.slots):
                return
            Event().wait(POLL_SECONDS)
        raise Unavailable(
            "CARD-PCSCD-START", f"readers {sorted(seen)} of {sorted(self.slots)}; {self.log()}"
        )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _polkit() -> list[str]:
    """Newer builds check polkit, which needs a D-Bus; the option exists only there (section 1)."""
    command = [str(PCSCD), "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return ["--disable-polkit"] if "polkit" in version.stdout else []


def missing() -> str | None:
    """What has to be installed before pcscd can run here, or None: for tests and `doctor`."""
    if not PCSCD.exists():
        return "pcscd"
    if not DRIVER.exists():
        return "vsmartcard-vpcd"
    return None if pyscard_installed() else "pyscard"
