"""What a custodian can find out about the component in their envelope, without any HSM (12.4).

A check value finds typing errors; it does not identify a key (hsm-and-ceremony.md 9.3).
"""

from core import crypto
from core.errors import Rejected

KEY_BYTES = {"T2": 16, "T3": 24, "A1": 16, "A2": 24, "A3": 32, "S4": 16}


def check_value(alg: str, text: str) -> str:
    """Six hex digits for a component given in hex; the buffer is overwritten.

    TDES: zero block encrypted; AES: CMAC over a zero block; SM4: zero block encrypted. Raises Rejected
    (CER-COMPONENT) for an unknown algorithm, text that is not hex, another length or all zeros.

    >>> check_value("T2", "404142434445464748494A4B4C4D4E4F")
    '8BAF47'
    """
    try:
        value = bytearray.fromhex(text)
    except ValueError:
        raise Rejected("CER-COMPONENT", "not hex") from None
    try:
        if len(value) != KEY_BYTES.get(alg) or not any(value):
            raise Rejected("CER-COMPONENT", f"a component of {alg} has another length, or is zero")
        if alg.startswith("T"):
            shown = crypto.des_kcv(bytes(value))
        elif alg.startswith("A"):
            shown = crypto.aes_kcv(bytes(value))
        else:
            shown = crypto.sm4_kcv(bytes(value))
    finally:
        value[:] = bytes(len(value))
    return shown.hex().upper()
