"""SQL at the driver for paths that count microseconds: one constant text a table and database, a batch a call.

SQLAlchemy's tables and selects stay the one description of the schema; here they are compiled once, and their
types' own conversions are used. What is saved is the work per statement and row, which for a batch of loads was
half of the host's time. SQLite gets up to 64 rows a statement; PostgreSQL gets ``COPY``, one stream a table.

A broken constraint or a database that is away is raised as SQLAlchemy's own exceptions, as everywhere.
"""

import json
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Delete, Dialect, Select, Table
from sqlalchemy import Insert as InsertStatement
from sqlalchemy import Update as UpdateStatement
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.types import TypeEngine

from core.db import Tx

POSTGRES = "postgresql"
KEYS = "keys"  # the one expanding parameter of a Lookup's select
_EXPANDED = f"(__[POSTCOMPILE_{KEYS}])"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
MOST_ROWS = 64
Convert = Callable[[Any], Any]
AnyStatement = Select[*tuple[Any, ...]] | InsertStatement | UpdateStatement | Delete


class _Driver:
    """The driver's cursor inside a transaction; as a context it turns the driver's errors into SQLAlchemy's."""

    __slots__ = ("_connection", "cursor", "dialect", "what")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect
        self.cursor: Any = connection.connection.cursor()
        self.what = ""

    @property
    def gone(self) -> bool:
        """Whether the transaction it belongs to has ended."""
        return self._connection.closed

    def __enter__(self) -> tuple[Any, Dialect]:
        return self.cursor, self.dialect

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        dbapi: Any = self.dialect.dbapi
        if isinstance(error, dbapi.IntegrityError):
            raise IntegrityError(self.what, None, error) from error
        if isinstance(error, dbapi.OperationalError):
            raise OperationalError(self.what, None, error) from error


# A session finds its connection through several layers each time it is asked; a batch asks a dozen times.
_drivers: WeakKeyDictionary[Tx, _Driver] = WeakKeyDictionary()


def _driver(tx: Tx, what: str) -> _Driver:
    found = _drivers.get(tx)
    if found is None or found.gone:
        found = _drivers[tx] = _Driver(tx.connection())
    found.what = what
    return found


def _binders(columns: Iterable[Any], dialect: Dialect) -> list[tuple[int, Convert]]:
    """Position and conversion of the columns whose Python value the driver does not take as it is."""
    found: list[tuple[int, Convert]] = []
    for index, column in enumerate(columns):
        kind: TypeEngine[Any] = column.type
        convert = kind.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            found.append((index, convert))
    return found


class Insert:
    """New rows of one table. `quiet`: a row whose primary key exists already changes nothing."""

    def __init__(self, table: Table, quiet: bool = False) -> None:
        self._table = table
        self._columns = [column for column in table.columns if column.autoincrement is not True]
        self._names = [column.name for column in self._columns]
        self._pick = itemgetter(*self._names)
        self._quiet = quiet
        self._bound: list[tuple[int, Convert]] | None = None
        self._texts: dict[int, str] = {}

    def run(self, tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
        """Write them all, each with every column. Raises IntegrityError, OperationalError."""
        if not rows:
            return
        with _driver(tx, self._table.name) as (cursor, dialect):
            values = [self._pick(row) for row in rows]
            if dialect.name != POSTGRES:
                self._fill(cursor, self._converted(values, dialect))
            elif self._quiet:
                columns = zip(*values, strict=True)
                cursor.execute(self._unnest, [_array(column) for column in columns])
            else:
                with cursor.copy(self._copy) as stream:
                    stream.write("".join(map(self._line, values)))

    def _fill(self, cursor: Any, values: Sequence[Sequence[Any]]) -> None:
        """SQLite: 64, 32, ... 1 rows a statement; ``executemany`` would hand the interpreter on at each row."""
        at, size = 0, MOST_ROWS
        while at < len(values):
            if len(values) - at < size:
                size //= 2
                continue
            cursor.execute(self._sqlite(size), list(chain.from_iterable(values[at : at + size])))
            at += size

    def _sqlite(self, rows: int) -> str:
        text = self._texts.get(rows)
        if text is None:
            marks = ", ".join([f"({', '.join('?' * len(self._names))})"] * rows)
            text = f"INSERT INTO {self._into} VALUES {marks}{self._ending}"  # noqa: S608 names of our own
            self._texts[rows] = text
        return text

    @cached_property
    def _copy(self) -> str:
        return f"COPY {self._into} FROM STDIN"

    @cached_property
    def _unnest(self) -> str:
        arrays = ", ".join("%s::text[]" for _ in self._names)
        source = f"SELECT * FROM unnest({arrays})"  # noqa: S608 marks alone
        return f"INSERT INTO {self._into} {source}{self._ending}"

    @property
    def _into(self) -> str:
        return f"{self._table.name} ({', '.join(self._names)})"

    @property
    def _ending(self) -> str:
        return " ON CONFLICT DO NOTHING" if self._quiet else ""

    def _converted(
        self, values: list[tuple[Any, ...]], dialect: Dialect
    ) -> Sequence[Sequence[Any]]:
        if self._bound is None:
            self._bound = _binders(self._columns, dialect)
        if not self._bound:
            return values
        made = [list(row) for row in values]
        for index, convert in self._bound:
            last, converted = None, convert(None)
            for row in made:  # a batch has one day and one instant
                if row[index] is not last:
                    last, converted = row[index], convert(row[index])
                row[index] = converted
        return made

    def _line(self, values: tuple[Any, ...]) -> str:
        plain = [  # most values are digits, hex or words
            value if type(value) is str and value.isalnum() else _COPIED[type(value)](value)
            for value in values
        ]
        return "\t".join(plain) + "\n"


# A value as text for COPY, by its Python type. Instants carry their offset, so UTC needs no conversion.
_COPIED: dict[type, Callable[[Any], str]] = {
    str: lambda text: text.translate(_ESCAPES) if "\\" in text or not text.isprintable() else text,
    int: str,
    bool: lambda value: "t" if value else "f",
    bytes: lambda raw: "\\\\x" + raw.hex(),
    date: date.isoformat,
    datetime: datetime.isoformat,
    type(None): lambda _: "\\N",
}


def _array(texts: Iterable[str]) -> str:
    """A PostgreSQL array of at least one text, as text: the driver's own way with lists takes ten times as long.

    >>> _array(["a", 'b"c'])
    '{"a","b\\\\"c"}'
    """
    quoted = '","'.join([t if t.isalnum() else _quoted(t) for t in texts])
    return f'{{"{quoted}"}}'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class Lookup:
    """Rows by a set of keys: a select whose condition is ``column.in_(bindparam(KEYS, expanding=True))``."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self._statement = statement
        names = [str(one.key) for one in statement.selected_columns]
        found: Any = namedtuple("Found", names)  # type: ignore[misc]
        self._make: Callable[[Iterable[Any]], Any] = found._make
        self._texts: dict[str, str] = {}
        self._read: dict[str, list[tuple[int, Convert]]] = {}

    def rows(self, tx: Tx, keys: Iterable[str]) -> list[Any]:
        """The rows, as named tuples in the select's order. Raises OperationalError."""
        wanted = list(keys)
        if not wanted:
            return []
        with _driver(tx, "lookup") as (cursor, dialect):
            if dialect.name not in self._texts:
                self._prepare(dialect)
            given = _array(wanted) if dialect.name == POSTGRES else json.dumps(wanted)
            cursor.execute(self._texts[dialect.name], (given,))
            found = cursor.fetchall()
        converts = self._read[dialect.name]
        if not converts:
            return list(map(self._make, found))
        return [self._make(_applied(row, converts)) for row in found]

    def _prepare(self, dialect: Dialect) -> None:
        text = str(self._statement.compile(dialect=dialect))
        within = "(SELECT value FROM json_each(?))"
        made = (
            text.replace(f"IN {_EXPANDED}", "= ANY(%s::text[])")
            if dialect.name == POSTGRES
            else text.replace(_EXPANDED, within)
        )
        if made == text:
            raise AssertionError("the select has no expanding parameter of that name")
        found: list[tuple[int, Convert]] = []
        for index, column in enumerate(self._statement.selected_columns):
            convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if convert is not None:
                found.append((index, convert))
        self._read[dialect.name] = found
        self._texts[dialect.name] = made


def _applied(row: Sequence[Any], converts: list[tuple[int, Convert]]) -> list[Any]:
    made = list(row)
    for index, convert in converts:
        made[index] = convert(made[index])
    return made


class _Text:
    """A statement as one database takes it: text, order and conversion of parameters, conversion of columns."""

    def __init__(self, statement: AnyStatement, dialect: Dialect) -> None:
        made = statement.compile(dialect=dialect)
        self.text = str(made)
        if "__[POSTCOMPILE" in self.text:
            raise AssertionError("no expanding parameter: a Lookup has one")
        self.order = made.positiontup
        self.fixed = made.construct_params(_check=False)
        self.binders: list[tuple[str, Convert]] = []
        for bind, name in made.bind_names.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if convert is not None:
                self.binders.append((name, convert))
        self.readers: list[tuple[int, Convert]] = []
        for index, column in enumerate(statement.exported_columns):
            convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if convert is not None:
                self.readers.append((index, convert))

    def parameters(self, given: dict[str, Any]) -> Any:
        """The values as the driver wants them."""
        values = {**self.fixed, **given}
        for name, convert in self.binders:
            values[name] = convert(values[name])
        return values if self.order is None else [values[name] for name in self.order]


class Statement:
    """One constant statement with named parameters (``bindparam``), compiled once for each database.

    What the session still holds back is written first, as for its own statements. Objects the session has
    loaded do not learn what a statement changed: use it for rows that nobody holds as objects.
    """

    def __init__(self, statement: AnyStatement) -> None:
        self._statement = statement
        self._names = frozenset(
            bind.key for bind in statement.compile().bind_names if bind.required
        )
        names = [str(column.key) for column in statement.exported_columns]
        found: Any = namedtuple("Found", names)  # type: ignore[misc]
        self._make: Callable[[Iterable[Any]], Any] = found._make
        self._texts: dict[str, _Text] = {}

    def rows(self, tx: Tx, **values: Any) -> list[Any]:
        """What a select finds, or a change returns, as named tuples. Raises IntegrityError, OperationalError."""
        found, text, _count = self._execute(tx, values, fetch=True)
        if not text.readers:
            return list(map(self._make, found))
        return [self._make(_applied(row, text.readers)) for row in found]

    def first(self, tx: Tx, **values: Any) -> Any | None:
        """The first row, or None."""
        found = self.rows(tx, **values)
        return found[0] if found else None

    def run(self, tx: Tx, **values: Any) -> int:
        """How many rows were changed. Raises IntegrityError, OperationalError."""
        return self._execute(tx, values, fetch=False)[2]

    def _execute(self, tx: Tx, values: dict[str, Any], fetch: bool) -> tuple[list[Any], _Text, int]:
        if values.keys() != self._names:
            raise TypeError(f"{sorted(self._names)} are wanted, {sorted(values)} were given")
        if tx.autoflush:
            tx.flush()
        with _driver(tx, "statement") as (cursor, dialect):
            text = self._texts.get(dialect.name)
            if text is None:
                text = self._texts[dialect.name] = _Text(self._statement, dialect)
            cursor.execute(text.text, text.parameters(values))
            return (cursor.fetchall() if fetch else []), text, cursor.rowcount
