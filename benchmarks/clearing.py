"""A partner's clearing file from bytes to booked money: TACs by the HSM's `44` and `90`, against two baselines.

    python -m benchmarks.clearing --records 20000 --rounds 3

Baselines of the same run: `loop` for the TACs, a careful user of the library with the master in the clear (one ECB
call derives all keys, an object a card: performance.md 1.1); `read` for the whole, a file read and checked without
a proof. The HSM is in this process. CPU seconds, rounds interleaved, medians; every candidate must find
exactly the planted TACs.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from core import crypto
from payments.clearing_file import Header, Record, read_file, write_file
from payments.exchange_files import FileDesk, provable
from payments.tac_checks import Provable, check_tacs, covered
from tests.host_bench import ISSUER, MASTERS, Keys, LabHost

NAME = "PC_01050000_20261128_T_01.txt"
HEADER = Header("T", "01050000", "48880001", "20261128", 1, "20261128120000")
MADE, PLANTED = "20261128113000", 1_000  # one bad TAC in so many
PURCHASES_A_CARD = 5


def file_of(count: int) -> bytes:
    """A file of purchases by fresh cards."""
    master = Cipher(TripleDES(MASTERS["12"] + MASTERS["12"][:8]), modes.ECB()).encryptor()
    psam, factor, key = os.urandom(6), b"", b""
    records = []
    for at in range(count):
        if not at % PURCHASES_A_CARD:
            factor = bytes.fromhex(f"{10**7 + at:016d}")
            key = master.update(factor + bytes(byte ^ 0xFF for byte in factor))
        record = Record(
            0, "20261128", "36", "000000", "01050000", "898000000000001", "10000001", "000001",
            f"{at % 999_999 + 1:06d}", "20261128120000", f"{at:012d}", ISSUER.hex().upper(),
            f"0000{factor.hex()}".upper(), f"{at % PURCHASES_A_CARD:04X}", "06", 100 + at % 500,
            50_000, psam.hex().upper(), f"{at:08X}", MADE, "0" * 8, "0101", "00", 0, "0" * 12, "00",
            "", "11223344",
        )  # fmt: skip
        if at % PLANTED:
            proof = crypto.tac(key, covered(provable(record)))
            record = replace(record, tac=proof.hex().upper())
        records.append(record)
    return write_file(HEADER, records)


def in_a_loop(records: Sequence[Provable]) -> int:
    """Bad TACs, found by a careful user of the library who has the master in the clear."""
    master = Cipher(TripleDES(MASTERS["12"] + MASTERS["12"][:8]), modes.ECB()).encryptor()
    factors = sorted({bytes.fromhex(record.asn[-16:]) for record in records})
    derived = master.update(
        b"".join(factor + bytes(byte ^ 0xFF for byte in factor) for factor in factors)
    )
    ciphers = {}
    for at, factor in enumerate(factors):
        key = derived[at * 16 : at * 16 + 16]
        single = bytes(a ^ b for a, b in zip(key[:8], key[8:], strict=True))
        ciphers[factor] = TripleDES(single * 3)
    bad = 0
    for record in records:
        cipher = Cipher(ciphers[bytes.fromhex(record.asn[-16:])], modes.CBC(bytes(8)))
        mac = cipher.encryptor().update(crypto.pad80(covered(record)))[-8:-4]
        bad += mac != bytes.fromhex(record.tac)
    return bad


def timed(act: Callable[[], int], wanted: int) -> float:
    """CPU seconds of an act that must find `wanted` bad records."""
    began = time.process_time()
    found = act()
    spent = time.process_time() - began
    if found != wanted:
        raise SystemExit(f"WRONG: {found} bad TACs, {wanted} were planted")
    return spent


def one_round(keys: Keys, count: int) -> dict[str, float]:
    """Every candidate once, on a fresh file and fresh databases."""
    raw = file_of(count)
    wanted = -(-count // PLANTED)
    records = [provable(record) for record in read_file(NAME, raw).records]

    def proven(bulk: bool) -> int:
        return sum(not good for good in check_tacs(keys.hsm, keys.masters, records, bulk).values())

    def booked(bulk: bool) -> int:
        host = LabHost(keys)
        try:
            desk = FileDesk(
                host.db, host.clock, keys.hsm, keys.masters, host.profile, host.gate, bulk
            )
            return desk.take(NAME, raw).bad
        finally:
            host.close()

    return {
        "loop": timed(lambda: in_a_loop(records), wanted),
        "tacs_44": timed(lambda: proven(False), wanted),
        "tacs_90": timed(lambda: proven(True), wanted),
        "read": timed(lambda: len(read_file(NAME, raw).records), count),
        "file_44": timed(lambda: booked(False), wanted),
        "file_90": timed(lambda: booked(True), wanted),
    }


def main() -> int:
    """Print the medians a record and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with TemporaryDirectory() as folder:
        keys = Keys(Path(folder))
        keys.known.hsm.set_policy(
            keys.known.hsm.policy.with_limits(card_failures=10**6, client_failures_per_minute=10**6)
        )
        rounds = [one_round(keys, wanted.records) for _ in range(wanted.rounds)]
    ratios = {
        "loop / tacs_90": [r["loop"] / r["tacs_90"] for r in rounds],
        "tacs_44 / tacs_90": [r["tacs_44"] / r["tacs_90"] for r in rounds],
        "file_44 / file_90": [r["file_44"] / r["file_90"] for r in rounds],
        "file_90 / read": [r["file_90"] / r["read"] for r in rounds],
    }
    micro = {
        name: round(statistics.median(r[name] for r in rounds) / wanted.records * 1e6, 2)
        for name in rounds[0]
    }
    shown = {
        name: {"median": round(statistics.median(each), 2), "min": round(min(each), 2),
               "max": round(max(each), 2)}
        for name, each in ratios.items()
    }  # fmt: skip
    sys.stdout.write(
        json.dumps(
            {"schema": "citycard/clearing-benchmark/1", "records": wanted.records,
             "cpu_us_a_record": micro, "ratios": shown, "load_average": os.getloadavg()},
            indent=1,
        )
        + "\n"
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
