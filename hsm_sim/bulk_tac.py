"""Purchase TACs by the ten thousand for command `90`: pure computation over one buffer of records.

Record, 34 bytes: card factor 8, TAC input 22 (amount, type, terminal, terminal counter, date, time), TAC 4. It runs
beside other commands, so it keeps its own ciphers and touches nothing of the HSM.
"""

from collections.abc import Sequence

from core import crypto
from hsm_sim.derive import CardKey, require_factors, spread
from hsm_sim.purse_requests import BULK_RECORD, TAC_INPUT
from hsm_sim.secret import SecretKey, ecb_cipher

FACTOR = 8


def check(master: SecretKey, levels: Sequence[bytes], records: bytes) -> list[bool]:
    """Of each record whether its TAC is good; HSM-22 for a factor that is not allowed (R-11)."""
    starts = range(0, len(records), BULK_RECORD)
    require_factors([*levels, *{records[start : start + FACTOR] for start in starts}])
    alg, upper = master.alg, master.reveal()
    for level in levels:
        upper = ecb_cipher(alg, upper).encryptor().update(spread(level))
    spreads = b"".join(spread(records[start : start + FACTOR]) for start in starts)
    derived = ecb_cipher(alg, upper).encryptor().update(spreads)  # all card keys in one call
    good = []
    for number, start in enumerate(starts):
        key = CardKey(alg, derived[16 * number : 16 * number + 16])
        end = start + FACTOR + TAC_INPUT
        made = key.tac(records[start + FACTOR : end])
        good.append(crypto.equal(made, records[end : start + BULK_RECORD]))
    return good
