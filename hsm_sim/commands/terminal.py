"""Work keys for terminals at sign-on (`50`): a token for the host, the same key wrapped for the PIN pad."""

from hsm_sim import keyblock, tokens
from hsm_sim.commands.generic import require_work_key, wrap_bare, wrap_block
from hsm_sim.errors import refusal
from hsm_sim.kcv import check_value, generate
from hsm_sim.terminal_requests import MASK_TAK, MASK_TEK, MASK_TPK, MakeWorkKeys
from hsm_sim.work import Work, handles

VERSION = "00"
KINDS = ((MASK_TPK, "P0", "B"), (MASK_TAK, "M3", "C"), (MASK_TEK, "D0", "B"))
SINGLE_MAC_USAGE = (
    "M1"  # X9.9 and UnionPay's MAC take a single-length key; X9.19 (M3) needs both halves
)
MAC_ALGORITHMS = ("T2", "D1")
DATA_ALGORITHMS = ("T2",)


@handles(MakeWorkKeys)
def make_work_keys(work: Work, request: MakeWorkKeys) -> bytes:
    """For each key of the mask: token, wrapped key, check value of 6 or 8 characters."""
    under = work.key("master")
    if request.algorithm not in DATA_ALGORITHMS or request.mac_algorithm not in MAC_ALGORITHMS:
        raise refusal("A7")
    mask = int(request.mask)
    wanted = [kind for kind in KINDS if mask & kind[0]]
    answer = ""
    for (bit, usage, mode), algorithm in zip(wanted, request.algorithms, strict=True):
        if bit == MASK_TAK and algorithm == "D1":
            usage = SINGLE_MAC_USAGE
        require_work_key(usage, algorithm, mode, "N")
        material = bytes(generate(algorithm))
        token = tokens.make(work.hsm.lmk, material, usage, algorithm, mode, VERSION, "N")
        if request.wrap == "X":
            wrapped = wrap_bare(under, algorithm, material).hex().upper()
        else:
            header = keyblock.BlockHeader(usage, tokens.letter_of(algorithm), mode, VERSION, "N")
            wrapped = "R" + wrap_block(under, header, algorithm, material)
        shown = check_value(algorithm, material, 4 if request.long_check == "1" else 3)
        answer += token + wrapped + shown
    kcv = check_value(under.alg, under.secret.reveal())
    work.hsm.log_export(work.client, "", under.kid or "token", kcv, f"50{request.wrap}")
    return answer.encode("ascii")
