"""Several programs write one SQLite file: each gets its turn, also beside one that never pauses."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

import core.db
from core.db import Database
from core.errors import Unavailable

BUSY = """
import sys, threading
from sqlalchemy import text
from core.db import Database
db = Database(sys.argv[1])
def write():
    while True:
        with db.write() as tx:
            tx.execute(text("UPDATE writes SET theirs = theirs + 1"))
            threading.Event().wait(0.02)  # as long as an application takes
for _ in range(3):
    threading.Thread(target=write, daemon=True).start()
sys.stdin.read()
"""
HOLD = """
import sys
from core.db import Database
with Database(sys.argv[1]).write():
    print("in", flush=True)
    sys.stdin.read()
"""
THREADS, OURS = 3, 20


def child(program: str, url: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@pytest.fixture
def db(tmp_path: Path):
    made = Database(f"sqlite:///{tmp_path / 'city.db'}")
    with made.write() as tx:
        tx.execute(text("CREATE TABLE writes (theirs INTEGER)"))
        tx.execute(text("INSERT INTO writes VALUES (0)"))
    yield made
    made.close()


def theirs(db: Database) -> int:
    with db.read() as tx:
        return tx.execute(text("SELECT theirs FROM writes")).scalar_one()


def test_who_waits_is_overtaken_by_nobody(db: Database) -> None:
    """Between our asking and our writing the other program ends what it was writing and one more at most."""
    other = child(BUSY, str(db.engine.url))
    try:
        while theirs(db) < THREADS:
            with db.write():
                pass
        overtaken = []
        for _ in range(OURS):
            before = theirs(db)
            with db.write() as tx:
                overtaken.append(
                    tx.execute(text("SELECT theirs FROM writes")).scalar_one() - before
                )
        assert sorted(overtaken)[OURS * 3 // 4] <= 2, overtaken
    finally:
        other.kill()
        other.communicate()


def test_a_program_that_dies_lets_go(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    other = child(HOLD, str(db.engine.url))
    assert other.stdout is not None
    assert other.stdout.readline() == b"in\n"
    monkeypatch.setattr(core.db, "WRITER_WAIT_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="DB-BUSY"), db.write():
        pass
    other.kill()
    other.communicate()
    with db.write() as tx:
        tx.execute(text("UPDATE writes SET theirs = 1"))
    assert theirs(db) == 1
