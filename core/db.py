"""The database: one schema on SQLite (default) and PostgreSQL, reached through `read` and `write`.

`write` opens an explicit transaction and commits when the block ends well. SQLite runs in WAL mode with
``synchronous=FULL``, ``BEGIN IMMEDIATE`` and one fair writer lock, in the process and between programs, because
eight busy writers without it end in "database is locked" (architecture.md 5). PostgreSQL runs READ COMMITTED;
rules that must hold are constraints, never a read and a hope.
"""

import fcntl
import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import TypeDecorator

from core.errors import Unavailable

BUSY_TIMEOUT_MS = 10_000
WRITER_WAIT_SECONDS = 30.0
DOOR_SECONDS = 0.001  # between two looks at the door
# Kept connections ask by key. PostgreSQL keeps its first plan: made of an empty table, that reads all of it.
BY_KEY = "SET enable_seqscan = off"
POOL_SIZE = 8
CACHE_KIB = 16_384  # SQLite's own 2 MB spills in the middle of a batch
PAGE_BYTES = 8_192  # of a new file: half as many pages to copy and sum up at a commit as with 4 KB
CHECKPOINT_PAGES = 4_000  # 32 MB of log: a checkpoint stops one commit in hundreds, not in twenty
MUTUAL = frozenset({"DeadlockDetected", "SerializationFailure", "StaleDataError"})
DEADLOCK = "DB-CONFLICT"
COMMIT = "COMMIT"
_QUEUE = text("SELECT pg_advisory_xact_lock(hashtextextended(:subject, 0))")

Tx = Session

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Table(DeclarativeBase):
    """Root of all mapped rows; every package's ``tables.py`` declares its own."""

    metadata = metadata


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC with microseconds on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """As the base makes it, with a memory of one: a batch writes the same instant into hundreds of rows."""
        convert = super().bind_processor(dialect)
        if convert is None:
            return None
        last: list[tuple[Any, Any]] = [(None, None)]

        def process(value: Any) -> Any:
            known, converted = last[0]  # one pair, replaced whole: safe between threads
            if value is known:
                return converted
            converted = convert(value)
            last[0] = (value, converted)
            return converted

        return process

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Door:
    """The way to a SQLite file for the programs on one machine that write it.

    SQLite lets a program that finds the file taken look again after a while: beside a busy one for ever. Here who
    waits stands in the door (byte 0), so that who has just written cannot overtake, and byte 1 is held while
    writing. Locks of the system on ``<file>-door``: a program that dies lets go of both.
    """

    def __init__(self, file: str) -> None:
        self._path = f"{file}-door"
        self._file = -1
        self._shut: Callable[[], object] = lambda: None

    def enter(self, timeout: float) -> bool:
        """Whether the file became ours to write within `timeout` seconds."""
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            self._shut = weakref.finalize(self, os.close, self._file)
        tries = int(timeout / DOOR_SECONDS)
        if not self._wait(0, tries):
            return False
        try:
            return self._wait(1, tries)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 0)

    def leave(self) -> None:
        """Let the one in the door write."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 1)

    def close(self) -> None:
        """Let go; the next `enter` opens it again."""
        self._shut()
        self._file = -1

    def _wait(self, byte: int, tries: int) -> bool:
        for _ in range(tries):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except OSError:
                threading.Event().wait(DOOR_SECONDS)
            else:
                return True
        return False


class FairLock:
    """A lock that serves waiters in order of arrival, with a limit on waiting.

    With a `file`, one among all programs that write this SQLite file.
    """

    def __init__(self, file: str = "") -> None:
        self._door = Door(file) if file else None
        self._mutex = threading.Lock()
        self._held = False
        self._waiters: deque[threading.Event] = deque()

    def acquire(self, timeout: float) -> None:
        """Take the lock; raises Unavailable (DB-BUSY) after `timeout` seconds."""
        self._turn(timeout)
        if self._door is not None and not self._door.enter(timeout):
            self._next()
            raise Unavailable("DB-BUSY", "another program writes without end")

    def release(self) -> None:
        if self._door is not None:
            self._door.leave()
        self._next()

    def close(self) -> None:
        if self._door is not None:
            self._door.close()

    def _turn(self, timeout: float) -> None:
        with self._mutex:
            if not self._held and not self._waiters:
                self._held = True
                return
            turn = threading.Event()
            self._waiters.append(turn)
        if turn.wait(timeout):
            return
        with self._mutex:
            if turn.is_set():  # the turn came between the time-out and here
                return
            self._waiters.remove(turn)
        raise Unavailable("DB-BUSY", "the writer lock was not free in time")

    def _next(self) -> None:
        with self._mutex:
            if self._waiters:
                self._waiters.popleft().set()
            else:
                self._held = False


class Database:
    """A database given by its URL (``sqlite://`` in memory, ``sqlite:///file``, ``postgresql+psycopg://...``)."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.info: dict[str, Any] = {}  # what every transaction carries along, as `Tx.info`
        self._writer = FairLock(_file_of(url)) if self.sqlite else None

    @property
    def sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def create_tables(self) -> None:
        """Create what is missing; all packages' ``tables.py`` must have been imported (runtime does)."""
        metadata.create_all(self.engine)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only looks; always rolled back."""
        with Session(self.engine, expire_on_commit=False, info=self.info) as session:
            try:
                yield session
            finally:
                session.rollback()

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that commits at the end of the block and rolls back on any exception."""
        if self._writer is not None:
            self._writer.acquire(WRITER_WAIT_SECONDS)
        try:
            session = Session(self.engine, expire_on_commit=False, info=self.info)
            with session, session.begin():
                if self.sqlite:
                    session.connection(execution_options={"citycard_immediate": True})
                yield session
        except (OperationalError, StaleDataError) as error:
            raise _away(getattr(error, "orig", error)) from error
        finally:
            if self._writer is not None:
                self._writer.release()

    def keep(self) -> "Kept":
        """Connections for short transactions that follow each other without pause."""
        return Kept(self, self._writer)

    def close(self) -> None:
        self.engine.dispose()
        if self._writer is not None:
            self._writer.close()


def _away(error: BaseException | None) -> Unavailable:
    """Of two transactions that wait for each other, or changed the same row, one is ended and may begin again."""
    kind = type(error).__name__
    return Unavailable(DEADLOCK if kind in MUTUAL else "DB-UNAVAILABLE", kind)


class Kept:
    """`read` and `write` of a database on connections that stay open, one a thread that is inside.

    BEGIN and COMMIT go to the driver as they stand: what a session does round a short transaction costs more than
    its statements. SQLAlchemy sees one transaction that never ends. After any error the connection is given back,
    which rolls it back, and the next transaction opens another.
    """

    def __init__(self, db: Database, writer: FairLock | None) -> None:
        self._db, self._writer = db, writer
        self._free: list[tuple[Session, Any]] = []  # used from its end, so the warmest comes first

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """As `Database.read`, but nothing may be written: on PostgreSQL each statement stands for itself."""
        if self._db.sqlite:  # one look at the log's index for all of its statements
            with self._between("BEGIN", "ROLLBACK") as tx:
                yield tx
        else:
            with self._between("", "") as tx:
                yield tx

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """As `Database.write`."""
        if self._writer is not None:
            self._writer.acquire(WRITER_WAIT_SECONDS)
        try:
            begin = "BEGIN IMMEDIATE" if self._db.sqlite else "BEGIN"
            with self._between(begin, COMMIT) as tx:
                yield tx
        except (OperationalError, self._db.engine.dialect.loaded_dbapi.OperationalError) as error:
            raise _away(getattr(error, "orig", error)) from error
        finally:
            if self._writer is not None:
                self._writer.release()

    @contextmanager
    def _between(self, first: str, last: str) -> Iterator[Tx]:
        session, cursor = self._take()
        try:
            if first:
                cursor.execute(first)
            yield session
            session.flush()
            if last == COMMIT:  # who listens for an engine's commits hears of these too
                self._db.engine.dispatch.commit(session.get_bind())
            if last:
                cursor.execute(last)
        except BaseException:
            _give_back(session)
            raise
        session.expunge_all()
        self._free.append((session, cursor))

    def _take(self) -> tuple[Session, Any]:
        while True:
            try:
                session, cursor = self._free.pop()
            except IndexError:
                return self._open()
            if self._db.sqlite or not _readable(cursor.connection):
                return session, cursor
            _give_back(session)  # nothing was asked and something is there: the server has ended it

    def _open(self) -> tuple[Session, Any]:
        """A session whose transaction is ours: the driver is told to begin none of its own."""
        connection = self._db.engine.connect()
        connection = connection.execution_options(citycard_by_hand=True)
        if not self._db.sqlite:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # it ends with us, and so do its settings
            connection.exec_driver_sql(BY_KEY)
        session = Session(connection, expire_on_commit=False, info=self._db.info)
        return session, session.connection().connection.cursor()

    def close(self) -> None:
        """Give all connections back; only when no thread is inside any more."""
        while self._free:
            _give_back(self._free.pop()[0])


def _readable(source: Any) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(0))


def _give_back(session: Session) -> None:
    connection = session.get_bind()
    assert isinstance(connection, Connection)
    try:
        session.close()
    finally:
        connection.close()


def queue_for(tx: Tx, *subjects: str) -> None:
    """Wait until nobody else works on any of these subjects; held until the transaction ends.

    For rules over rows that may not be there yet, which no row lock can guard. PostgreSQL: advisory locks,
    in the order of their names. SQLite has one writer at a time, so whoever writes has waited already.
    """
    if tx.get_bind().dialect.name == "postgresql":
        for subject in sorted(subjects):
            tx.execute(_QUEUE, {"subject": subject})


def _file_of(url: str) -> str:
    """The path in a SQLite URL, empty for a database in memory."""
    path = url.removeprefix("sqlite://").removeprefix("/")
    return "" if path in ("", ":memory:") else path


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=POOL_SIZE, pool_pre_ping=True, hide_parameters=True)
    options: dict[str, Any] = {"connect_args": {"check_same_thread": False}}
    if url in ("sqlite://", "sqlite:///:memory:"):  # else each connection saw a database of its own
        options["poolclass"] = StaticPool
    engine = create_engine(url, hide_parameters=True, **options)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            f"page_size={PAGE_BYTES}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            f"cache_size=-{CACHE_KIB}",
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if options.get("citycard_by_hand", False):
            return
        immediate = options.get("citycard_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
