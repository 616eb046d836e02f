"""Purchase TACs by the ten thousand for command `90`: pure computation over one buffer of records.

Record, 34 bytes: card factor 8, TAC input 22 (amount, type, terminal, terminal counter, date, time), TAC 4. It runs
beside other commands, so it keeps its own ciphers and touches nothing of the HSM. The card keys come out of one ECB
call; the MACs of TDES cards are made in lanes (`lanes`) from `FEW` records on, where that begins to pay.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core import crypto
from hsm_sim import lanes
from hsm_sim.derive import CardKey, require_factors, spread
from hsm_sim.errors import refusal
from hsm_sim.purse_requests import BULK_RECORD, TAC_INPUT
from hsm_sim.secret import SecretKey, ecb_cipher

FACTOR = 8
PADDING = (0x80, 0x00)  # what makes 22 bytes whole blocks
FEW = 128
Bytes = NDArray[np.uint8]


def check(master: SecretKey, levels: Sequence[bytes], records: bytes) -> NDArray[np.bool_]:
    """Of each record whether its TAC is good; HSM-22 for a factor that is not allowed (R-11)."""
    rows = np.frombuffer(records, np.uint8).reshape(-1, BULK_RECORD)
    factors = np.ascontiguousarray(rows[:, :FACTOR])
    _require_factors(levels, factors)
    alg, upper = master.alg, master.reveal()
    for level in levels:
        upper = ecb_cipher(alg, upper).encryptor().update(spread(level))
    spreads = np.concatenate([factors, ~factors], axis=1).tobytes()
    derived = ecb_cipher(alg, upper).encryptor().update(spreads)  # all card keys in one call
    if alg == "S4" or len(rows) < FEW:
        return _one_by_one(alg, derived, rows)
    return _in_lanes(np.frombuffer(derived, np.uint8).reshape(-1, 2 * FACTOR), rows)


def _require_factors(levels: Sequence[bytes], factors: Bytes) -> None:
    if levels:
        require_factors(levels)
    numbers = factors.view(np.uint64)
    if ((numbers == 0) | (numbers == np.uint64(0xFFFFFFFFFFFFFFFF))).any():
        raise refusal("22", "diversification factor")


def _one_by_one(alg: str, derived: bytes, rows: Bytes) -> NDArray[np.bool_]:
    end = FACTOR + TAC_INPUT
    good = []
    for number, row in enumerate(rows):
        key = CardKey(alg, derived[16 * number : 16 * number + 16])
        good.append(crypto.equal(key.tac(row[FACTOR:end].tobytes()), row[end:].tobytes()))
    return np.array(good)


def _in_lanes(derived: Bytes, rows: Bytes) -> NDArray[np.bool_]:
    """TAC key: left xor right half of the card key; the comparison takes no longer for a better guess."""
    end = FACTOR + TAC_INPUT
    blocks = np.zeros((len(rows), TAC_INPUT + len(PADDING)), np.uint8)
    blocks[:, :TAC_INPUT] = rows[:, FACTOR:end]
    blocks[:, TAC_INPUT:] = PADDING
    made = lanes.cbc_macs(derived[:, :FACTOR] ^ derived[:, FACTOR:], blocks)
    told = np.ascontiguousarray(rows[:, end:]).view(">u4").reshape(-1)
    good: NDArray[np.bool_] = made == told
    return good
