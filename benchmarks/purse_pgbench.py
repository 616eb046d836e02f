"""The yardstick: pgbench with the statements and rows of one load, one durable transaction each.

The statements are those the host's database sees for a batch of one cash load: six reads and six writes of a row
each (`payments.known.read`, the registers' gate, `payments.writing.write`), on the product's own schema, indexes,
constraints and triggers, prepared, 32 clients, fsync and synchronous_commit on as for the host.
"""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

from sqlalchemy import text

from benchmarks import purse_bench as bench
from core.clock import SystemClock
from core.db import Database
from payments.enrolment import NewTerminal, enrol_merchant, enrol_terminal
from runtime.services import declare_tables
from tests.postgres_server import PrivatePostgres, programs

DATABASE = "pgbench"
CLIENTS, THREADS = 32, 2
CARDS, TERMINALS = 20_000, 64
MERCHANT = "898000000000001"
TMK = "S" + "0" * 250
SCRIPT = f"""
\\set terminal random(0, {TERMINALS - 1}) + 10000000
\\set card random(1, {CARDS})
\\set unique random(1, 1000000000000000)
BEGIN;
SELECT t.*, m.name, m.open FROM purse_terminal t JOIN purse_merchant m ON m.number = t.merchant
  WHERE t.number IN (:terminal::text);
SELECT * FROM purse_message WHERE key IN (:unique::text);
SELECT * FROM purse_card WHERE asn IN (:unique::text);
SELECT * FROM purse_load WHERE asn IN (:unique::text) AND state NOT IN ('CONFIRMED', 'DECLINED') ORDER BY at;
SELECT c.card_serial, c.state, c.void_reason, c.permit_no, p.purse_account FROM residence_card c
  JOIN residence_permit r ON r.permit_no = c.permit_no JOIN residence_person p ON p.id = r.person_id
  WHERE c.card_serial IN (lpad(:card::text, 14, '0'));
SELECT permit_no, kind, stolen FROM residence_hold WHERE permit_no IN (lpad(:card::text, 18, '0'));
INSERT INTO purse_message (key, terminal, batch, fingerprint, state, answer, response, requirement, day, at)
  VALUES (:unique::text, :terminal::text, 1, decode(repeat('ab', 32), 'hex'), 'ANSWERED',
          decode(repeat('cd', 180), 'hex'), '00', 0, current_date, now());
INSERT INTO purse_card (asn, counter, version, balance, failures, blocked, seen_at)
  VALUES (:unique::text, 0, 1, 5000, 0, false, now());
INSERT INTO ledger_account (id, kind) VALUES ('purse:' || :unique::text, 'purse') ON CONFLICT (id) DO NOTHING;
INSERT INTO ledger_account (id, kind) VALUES ('cash:{MERCHANT}', 'cash') ON CONFLICT (id) DO NOTHING;
INSERT INTO purse_load (key, kind, asn, issuer, random, key_index, key_version, algorithm, counter, balance,
                        amount, type, psam, terminal, merchant, batch, trace, reference, account, issued, state,
                        reason, watched, evidence, proven, host, day, at)
  VALUES (:unique::text, '41', :unique::text, '9156440308000001', '01020304', 1, 1, 0, 0, 0, 5000, 2,
          '000000000001', :terminal::text, '{MERCHANT}', 1, '000001', right(:unique::text, 12), '',
          '20261128103000', 'ISSUED', '', false, NULL, false, 'host-1', current_date, now());
INSERT INTO ledger_transfer (id, step, pending_id, debit, credit, amount, reason, day, at)
  VALUES (:unique::text, 'P', NULL, 'cash:{MERCHANT}', 'purse:' || :unique::text, 5000, 'load', current_date,
          now());
COMMIT;
"""


@cache
def _prepared(server: PrivatePostgres) -> Path:
    """A database of its own with schema, terminals and cards; the script beside it."""
    admin = Database(server.url())
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    admin.close()
    declare_tables()
    db, clock = Database(server.url(DATABASE)), SystemClock()
    db.create_tables()
    with db.write() as tx:
        enrol_merchant(tx, clock, MERCHANT, "Bakery", 30)
        for n in range(TERMINALS):
            psam = n.to_bytes(6, "big")
            enrol_terminal(tx, clock, NewTerminal(f"{10_000_000 + n}", MERCHANT, psam, TMK))
        bench.enter_cards(tx, bench.serials(1, CARDS))
    db.close()
    script = server.folder / "load.sql"
    script.write_text(SCRIPT)
    script.chmod(0o644)
    return script


def pgbench(server: PrivatePostgres, seconds: int) -> float:
    """Transactions a second of the script; RuntimeError when any of them failed."""
    script, found = _prepared(server), programs()
    assert found is not None
    command = [
        str(found / "pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", str(THREADS),
        "-T", str(seconds), "-h", str(server.folder), "-U", "postgres", "-f", str(script), DATABASE,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    tps = re.search(r"tps = ([0-9.]+)", done.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if done.returncode or tps is None or (failed and failed[1] != "0"):
        raise RuntimeError(f"pgbench: {done.stderr[-500:]} {done.stdout[-500:]}")
    return float(tps[1])
