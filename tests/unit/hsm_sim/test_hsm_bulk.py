"""Command `90`: DES in lanes against `cryptography`, and every record judged by itself whatever a frame's size."""

import secrets
from collections.abc import Iterator

import numpy as np
import pytest

from core import crypto
from core.errors import CityError
from hsm_sim import bulk_tac, lanes
from hsm_sim import purse_requests as purse
from hsm_sim.secret import SecretKey
from tests.hsm_bench import KnownKeys

MASTER = bytes(range(3, 19))
CITY = bytes.fromhex("5840000158400001")


def rows(data: bytes, width: int) -> lanes.Bytes:
    return np.frombuffer(data, np.uint8).reshape(-1, width)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_lanes_compute_what_the_library_computes(
    blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random keys, the weak ones, single bits in every place; more records than one turn takes."""
    monkeypatch.setattr(lanes, "LANES", 100)
    bits = [(1 << n).to_bytes(8, "big") for n in range(64)]
    keys = [secrets.token_bytes(8) for _ in range(100)] + bits + [bytes(8)] * 64 + [b"\xff" * 8]
    messages = [secrets.token_bytes(8 * blocks) for _ in range(164)] + [
        bit * blocks for bit in [*bits, bytes(8)]
    ]
    found = lanes.cbc_macs(rows(b"".join(keys), 8), rows(b"".join(messages), 8 * blocks))
    for mac, key, message in zip(found, keys, messages, strict=True):
        assert int(mac).to_bytes(4, "big") == crypto.des_cbc(key, message)[-8:][:4]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownKeys]:
    made = KnownKeys(tmp_path_factory.mktemp("bulk") / "hsm")
    made.hsm.limiter.off = True
    yield made
    made.hsm.log.close()


def record(factor: bytes, levels: tuple[bytes, ...], bad: bool) -> bytes:
    message = secrets.token_bytes(22)
    tac = crypto.tac(crypto.diversify(MASTER, *levels, factor), message)
    return factor + message + (bytes((tac[0] ^ 1,)) + tac[1:] if bad else tac)


@pytest.mark.parametrize("levels", [(), (CITY,)], ids=["card", "city and card"])
@pytest.mark.parametrize("count", [1, bulk_tac.FEW - 1, bulk_tac.FEW, 300])
def test_planted_errors_are_found_and_nothing_else(
    bench: KnownKeys, count: int, levels: tuple[bytes, ...]
) -> None:
    store = bench.hsm.keystore
    assert store is not None
    entry = store.entries.get("dtk")
    master = f"K{entry.slot:03X}" if entry else bench.load("dtk", MASTER, "T2", "12", "X")
    planted = {n for n in range(count) if n % 7 == 3}
    records = b"".join(
        record(b"\x00" + secrets.token_bytes(7), levels, n in planted) for n in range(count)
    )
    verdict = bench.local.call(purse.CheckPurchaseTacs(master, levels, records))
    good = purse.read_bitmap(verdict.bitmap, count)
    assert {n for n, one in enumerate(good) if not one} == planted
    assert (verdict.count, verdict.bad, len(verdict.bitmap)) == (
        count, len(planted), -(-count // 8),
    )  # fmt: skip


@pytest.mark.parametrize("factor", [bytes(8), b"\xff" * 8])
@pytest.mark.parametrize("count", [2, 200])
def test_forbidden_factors_refuse_the_frame(factor: bytes, count: int) -> None:
    """R-11, wherever in the frame it stands."""
    records = record(CITY, (), False) * (count - 1) + factor + bytes(26)
    with pytest.raises(CityError, match="HSM-22"):
        bulk_tac.check(SecretKey("T2", MASTER), (), records)
    with pytest.raises(CityError, match="HSM-22"):
        bulk_tac.check(SecretKey("T2", MASTER), (factor,), records[:34])


def test_sm4_cards_are_judged_one_by_one() -> None:
    message = bytes(range(22))
    tac = crypto.sm4_mac(crypto.sm4_diversify(MASTER, CITY), message)
    records = (CITY + message + tac) * 150 + CITY + message + bytes(4)
    assert bulk_tac.check(SecretKey("S4", MASTER), (), records).tolist() == [True] * 150 + [False]
