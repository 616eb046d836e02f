"""A private PostgreSQL server in a temporary folder: Unix socket only, gone when the test run ends.

PostgreSQL refuses to run as root, so a root run starts it as the system user ``postgres``, which Debian's
package creates.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 30.0
STOP_SECONDS = 20.0
USER = "postgres"
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")  # nothing to lose in a test


def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, None when no server is installed."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb")
    )  # Debian keeps them off the PATH
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return Path(found).parent if found is not None else None


class PrivatePostgres:
    """One server. `durable` True keeps fsync on, for measurements; `url` names a database on it."""

    def __init__(self, durable: bool = False, settings: tuple[str, ...] = ()) -> None:
        found = programs()
        if found is None:
            raise FileNotFoundError(
                "no PostgreSQL server is installed (apt-get install postgresql)"
            )
        self._programs = found
        self._settings = (*settings, *(() if durable else FAST))
        self._folder = Path(tempfile.mkdtemp(prefix="citycard-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, int] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            self._as = {"user": account.pw_uid, "group": account.pw_gid}
            os.chown(self._folder, account.pw_uid, account.pw_gid)

    @property
    def folder(self) -> Path:
        """Where the socket lies (``host`` of a connection)."""
        return self._folder

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of a database on this server."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self._folder}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        data = self._folder / "data"
        self._run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = [f"unix_socket_directories={self._folder}", "listen_addresses=", *self._settings]
        command = [str(self._programs / "postgres"), "-D", str(data)]
        for option in (*options, "max_connections=200"):
            command += ["-c", option]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, **self._as
            )
        self._run(
            "pg_isready",
            "-h",
            str(self._folder),
            "-U",
            USER,
            "-t",
            str(int(START_SECONDS)),
            tries=60,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create(self, database: str, template: str = "template1") -> str:
        """A new database, a copy of `template` (which nobody may be connected to); returns its URL."""
        self._run("createdb", "-h", str(self._folder), "-U", USER, "-T", template, database)
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, ending the sessions in it."""
        self._run("dropdb", "-h", str(self._folder), "-U", USER, "--force", database)

    def _run(self, program: str, *arguments: str, tries: int = 1) -> None:
        command = [str(self._programs / program), *arguments]
        for left in reversed(range(tries)):
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=self._folder, **self._as
            )
            if done.returncode == 0:
                return
            if left and self._process is not None and self._process.poll() is None:
                try:
                    self._process.wait(0.25)  # between two looks; a server that ends is noticed
                except subprocess.TimeoutExpired:
                    continue
        log = self._folder / "log"
        said = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
        raise RuntimeError(f"{program}: {done.stderr.strip()} {said}")
