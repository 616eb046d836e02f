"""The ledger: names, pending money, immutability, and the sum that is always zero."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.db import Database
from core.errors import EvidenceMismatch, NotFound, Rejected
from payments import ledger
from payments.ledger import PENDING, Transfer

DAY, AT = date(2007, 6, 18), datetime(2007, 6, 18, 2, 0, tzinfo=UTC)
CARD, SHOP = ledger.purse("00000000001000000147"), ledger.merchant("898000000000001")


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database("sqlite://")
    database.create_tables()
    yield database
    database.close()


def load(name: str, fen: int, step: str = PENDING) -> Transfer:
    return Transfer(name, ledger.BANK, CARD, fen, "load", step)


def test_a_promise_moves_no_money_until_it_is_kept(db: Database) -> None:
    with db.write() as tx:
        assert ledger.post(tx, [load("a", 500), load("b", 300)], DAY, AT) == 2
        assert ledger.balance(tx, CARD) == ledger.Balance(posted=0, pending=800)
        ledger.complete(tx, ["a"], DAY, AT)
        ledger.void(tx, ["b"], DAY, AT)
        assert ledger.balance(tx, CARD) == ledger.Balance(posted=500, pending=0)
        assert ledger.trial(tx) == {"bank": -500, "purse": 500}


def test_the_same_name_is_the_same_movement(db: Database) -> None:
    with db.write() as tx:
        assert ledger.post(tx, [load("a", 500)], DAY, AT) == 1
        assert ledger.post(tx, [load("a", 500), load("a", 500)], DAY, AT) == 0
        with pytest.raises(EvidenceMismatch, match="LEDGER-CONFLICT"):
            ledger.post(tx, [load("a", 501)], DAY, AT)


def test_a_promise_is_decided_once(db: Database) -> None:
    with db.write() as tx:
        ledger.post(tx, [load("a", 500)], DAY, AT)
        ledger.void(tx, ["a"], DAY, AT)
        ledger.void(tx, ["a"], DAY, AT)  # saying it again is harmless
        with pytest.raises(EvidenceMismatch, match="LEDGER-RESOLVED"):
            ledger.complete(tx, ["a"], DAY, AT)
        with pytest.raises(NotFound, match="LEDGER-PENDING"):
            ledger.complete(tx, ["never"], DAY, AT)
        assert ledger.balance(tx, CARD) == ledger.Balance(0, 0)


@pytest.mark.parametrize("statement", ["UPDATE {} SET amount = 1", "DELETE FROM {}"])
def test_history_cannot_be_changed(db: Database, statement: str) -> None:
    with db.write() as tx:
        ledger.post(tx, [load("a", 500)], DAY, AT)
    with pytest.raises(IntegrityError, match="immutable"), db.write() as tx:
        tx.execute(text(statement.format("ledger_transfer")))


@pytest.mark.parametrize(
    "values",
    [
        "('x','S',NULL,'bank','fees',0,'r','2007-06-18','2007-06-18')",
        "('x','S',NULL,'bank','bank',5,'r','2007-06-18','2007-06-18')",
        "('x','Q',NULL,'bank','fees',5,'r','2007-06-18','2007-06-18')",
        "('x','C',NULL,'bank','fees',5,'r','2007-06-18','2007-06-18')",
        "('x','S','a','bank','fees',5,'r','2007-06-18','2007-06-18')",
        "('x','S',NULL,'bank','nobody',5,'r','2007-06-18','2007-06-18')",
    ],
)
def test_the_database_itself_refuses_a_wrong_row(db: Database, values: str) -> None:
    with db.write() as tx:
        ledger.open_accounts(tx, [ledger.BANK, ledger.FEES])
        ledger.post(tx, [load("a", 500)], DAY, AT)
    with pytest.raises(IntegrityError), db.write() as tx:
        tx.execute(text(f"INSERT INTO ledger_transfer VALUES {values}"))


@pytest.mark.parametrize("fen", [0, -1, 10**12])
def test_an_absurd_amount_is_refused(fen: int) -> None:
    with pytest.raises(Rejected, match="LEDGER-AMOUNT"):
        load("a", fen)


STEPS = st.lists(
    st.tuples(st.sampled_from(["load", "pay", "complete", "void"]), st.integers(1, 5000)),
    max_size=40,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(STEPS)
def test_any_interleaving_sums_to_zero(steps: list[tuple[str, int]]) -> None:
    database = Database("sqlite://")
    database.create_tables()
    open_loads: list[tuple[str, int]] = []
    expected = {"purse": 0, "merchant": 0, "bank": 0}
    with database.write() as tx:
        for number, (what, fen) in enumerate(steps):
            if what == "load":
                ledger.post(tx, [load(str(number), fen)], DAY, AT)
                open_loads.append((str(number), fen))
            elif what == "pay":
                ledger.post(tx, [Transfer(str(number), CARD, SHOP, fen, "pay")], DAY, AT)
                expected["purse"] -= fen
                expected["merchant"] += fen
            elif open_loads:
                name, promised = open_loads.pop(fen % len(open_loads))
                getattr(ledger, what)(tx, [name], DAY, AT)
                if what == "complete":
                    expected["purse"] += promised
                    expected["bank"] -= promised
        found = ledger.trial(tx)
        assert sum(found.values()) == 0
        assert {kind: found.get(kind, 0) for kind in expected} == expected
        pending = sum(fen for _, fen in open_loads)
        assert ledger.balance(tx, CARD).pending == pending
    database.close()
