"""Commands of registers, event log and auditors: fields, index, seals, proofs, cosigned checkpoints."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core import merkle
from core.clock import FixedClock
from core.errors import CityError
from hsm_sim import audit_requests as audit
from hsm_sim import canonical, note
from hsm_sim import data_requests as data
from hsm_sim.client import KeySlots
from hsm_sim.data_requests import Entry
from hsm_sim.seals import Seals
from tests.hsm_bench import HsmCity, KnownKeys, hold

START = datetime(2026, 11, 27, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HsmCity]:
    made = hold(tmp_path_factory.mktemp("data"), FixedClock(START))
    yield made
    made.hsm.close()


def refused(code: str) -> Any:
    return pytest.raises(CityError, match=f"HSM-{code}")


# -- fields -----------------------------------------------------------------------------------------


def test_fields_go_with_their_context(city: HsmCity) -> None:
    key, hsm = city.slots["registers-data-01"], city.local
    entries = (Entry(b"person.name.7", "李雷".encode()), Entry(b"person.name.8", b""))
    sealed = hsm.call(data.EncryptFields(key, entries))
    assert [one[:2] for one in sealed] == [b"01", b"01"]
    assert len({one[2:14] for one in sealed}) == 2
    back = tuple(Entry(e.context, one) for e, one in zip(entries, sealed, strict=True))
    assert hsm.call(data.DecryptFields(key, back)) == tuple(e.data for e in entries)
    moved = (Entry(entries[1].context, sealed[0]),)
    with refused("01"):
        hsm.call(data.DecryptFields(key, moved))
    for at in (0, 1, 5, 14, -1):
        changed = bytearray(sealed[0])
        changed[at] ^= 1
        with refused("01"):
            hsm.call(data.DecryptFields(key, (Entry(entries[0].context, bytes(changed)),)))
    with refused("01"):
        hsm.call(data.DecryptFields(key, (Entry(b"x", b"short"),)))


def test_fields_move_to_the_newest_version(tmp_path: Any) -> None:
    bench = KnownKeys(tmp_path / "hsm")
    old = bench.load("data-01", bytes(range(32)), "A3", "D0", "B", scope="reg", version="01")
    (sealed,) = bench.local.call(data.EncryptFields(old, (Entry(b"c", b"text"),)))
    new = bench.load(
        "data-02", bytes(range(1, 33))[::-1], "A3", "D0", "B", scope="reg", version="02"
    )
    bench.move("data-01", "deactivate")
    with refused("F1"):
        bench.local.call(data.EncryptFields(old, (Entry(b"c", b"text"),)))
    (fresh,) = bench.local.call(data.ReencryptFields(old, (Entry(b"c", sealed),)))
    assert (sealed[:2], fresh[:2]) == (b"01", b"02")
    for field in (old, new):  # either version names the lineage; the text says which key it is
        assert bench.local.call(data.DecryptFields(field, (Entry(b"c", fresh),))) == (b"text",)
        assert bench.local.call(data.DecryptFields(field, (Entry(b"c", sealed),))) == (b"text",)
    bench.move("data-01", "destroy")
    with refused("01"):
        bench.local.call(data.DecryptFields(new, (Entry(b"c", sealed),)))
    bench.hsm.log.close()


def test_the_index_is_keyed_and_apart_for_each_partner(tmp_path: Any) -> None:
    bench, key = KnownKeys(tmp_path / "hsm"), bytes(range(7, 39))
    field = bench.load("index", key, "H2", "M7", "C")
    entry = Entry(b"id", b"440301199001011234")
    (plain,) = bench.local.call(data.KeyedIndex(field, (entry,)))
    (bank,) = bench.local.call(data.KeyedIndex(field, (entry,), b"bank"))
    (bank_again,) = bench.local.call(data.KeyedIndex(field, (entry,), b"bank"))
    (school,) = bench.local.call(data.KeyedIndex(field, (entry,), b"school"))
    assert bank == bank_again
    assert len({plain, bank, school}) == 3
    told = b"\x02id440301199001011234"
    assert plain == hmac.digest(key, told, "sha256")[:16]
    pair = hmac.digest(key, b"pair\x00bank", "sha256")
    assert bank == hmac.digest(pair, told, "sha256")[:16]
    bench.hsm.log.close()


# -- seals ------------------------------------------------------------------------------------------


def leaves(count: int, salt: bytes = b"") -> list[bytes]:
    return [merkle.leaf_hash(salt + str(n).encode()) for n in range(count)]


def seal(city: HsmCity, old: int, new: int, salt: bytes = b"") -> str:
    tree = leaves(new, salt)
    proof = merkle.consistency_proof(tree, old) if 0 < old < new else []
    return city.local.call(data.SealLog(1, old, new, merkle.root(tree), tuple(proof)))


def test_a_seal_needs_proof_that_the_log_only_grew(city: HsmCity) -> None:
    first = seal(city, 0, 3)
    vkey = next(e["vkey"] for e in city.local.call(audit.KeyDirectory(0, 64)) if e["usage"] == "S0")
    point = note.parse_checkpoint(note.verify(first, [vkey]))
    assert (point.origin, point.size, point.root) == (
        "hsm-01.city.example/events",
        3,
        merkle.root(leaves(3)),
    )
    assert seal(city, 3, 3) == first  # asked again: the same note
    note.verify(seal(city, 3, 8), [vkey])
    with refused("01"):
        seal(city, 3, 9)  # not from the tree signed last
    with refused("01"):
        seal(city, 8, 7)  # smaller: the database was rolled back
    with refused("01"):
        seal(city, 8, 8, b"other")  # a second root for one size
    with refused("01"):
        seal(city, 8, 12, b"other")  # grown from another tree
    with refused("01"):
        city.local.call(data.SealLog(1, 8, 12, merkle.root(leaves(12))))  # no proof
    with refused("28"):
        city.local.call(data.SealLog(2, 0, 1, bytes(32)))
    city.restart(FixedClock(START))
    with refused("01"):
        seal(city, 0, 3)  # a restart forgets nothing
    note.verify(seal(city, 8, 12), [vkey])


def test_the_file_of_seals_is_refused_when_edited(tmp_path: Any) -> None:
    seals = Seals(tmp_path, bytes(range(32)))
    seals.remember(1, 5, bytes(32))
    path = tmp_path / "seals.json"
    good = path.read_bytes()
    assert Seals(tmp_path, bytes(range(32))).seen(1) == (5, bytes(32))
    for wrong in (good.replace(b'"size":5', b'"size":4'), good[:20], b"{}"):
        path.write_bytes(wrong)
        with refused("STORE"):
            Seals(tmp_path, bytes(range(32)))
    path.write_bytes(good)
    with refused("STORE"):
        Seals(tmp_path, bytes(range(1, 33)))


# -- audit ------------------------------------------------------------------------------------------


def test_an_auditor_reads_and_proves_everything(city: HsmCity) -> None:
    hsm = city.local
    index = hsm.call(audit.AuditExport("AB" * 16))
    point = note.parse_checkpoint(
        note.verify(hsm.call(audit.NewestCheckpoint()), [city.hsm.log.vkey])
    )
    assert point.size == index + 1
    lines: list[bytes] = []
    while len(lines) < point.size:
        lines += hsm.call(audit.LogLines(len(lines), 256))
    hashes = [merkle.leaf_hash(line) for line in lines[: point.size]]
    assert merkle.root(hashes) == point.root
    export = json.loads(lines[index])
    assert (export["type"], export["body"]["nonce"]) == ("audit.export", "ab" * 16)
    proof = hsm.call(audit.InclusionProof(index, point.size))
    assert merkle.verify_inclusion(hashes[index], index, point.size, list(proof), point.root)
    extends = hsm.call(audit.ConsistencyProof(5, point.size))
    assert merkle.verify_consistency(
        5, point.size, merkle.root(hashes[:5]), point.root, list(extends)
    )
    rows: list[dict[str, Any]] = []
    while page := hsm.call(audit.KeyDirectory(len(rows), 64)):
        rows += page
    names = (
        "alg",
        "cid",
        "export",
        "fp",
        "kcv",
        "kid",
        "mode",
        "state",
        "usage",
        "uses",
        "version",
    )
    mine = sorted(({name: row[name] for name in names} for row in rows), key=lambda row: row["kid"])
    assert hashlib.sha256(canonical.encode(mine)).hexdigest() == export["body"]["keys"]
    assert KeySlots.load(city.city.home / "slots.json").keys() <= {row["kid"] for row in rows}


def test_bounds_of_proofs(city: HsmCity) -> None:
    size = city.hsm.log.size
    for wrong in (
        audit.InclusionProof(size, size), audit.InclusionProof(0, size + 99),
        audit.ConsistencyProof(0, size), audit.ConsistencyProof(9, 8), audit.ConsistencyProof(1, size + 99),
        audit.LogLines(0, 257),
    ):  # fmt: skip
        with refused("15"):
            city.local.call(wrong)
    assert city.local.call(audit.LogLines(size + 99, 5)) == ()


def test_a_cosigned_checkpoint_is_kept_for_the_auditor_only(city: HsmCity) -> None:
    hsm, people = city.local, city.city.people
    text = hsm.call(audit.NewestCheckpoint())
    signed, _ = note.split(text)
    with refused("01"):
        hsm.call(audit.CosignCheckpoint(text.encode()))  # nobody cosigned
    with refused("01"):
        hsm.call(audit.CosignCheckpoint(b"nonsense"))
    for who, good in (("ca1", False), ("ea1", True)):
        cosigned = text + people[who].key.line(signed)
        if not good:
            with refused("01"):
                hsm.call(audit.CosignCheckpoint(cosigned.encode()))
            continue
        hsm.call(audit.CosignCheckpoint(cosigned.encode()))
        assert hsm.call(audit.NewestCheckpoint()) == cosigned
