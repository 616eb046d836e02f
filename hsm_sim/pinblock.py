"""PIN blocks of ISO 9564: formats 0, 1, 3 and 4, and what may become what (R-7).

Nothing here puts a digit of a PIN or a byte of a block into an exception. Format 0: ``0`` L PIN ``F``.. XOR
``0000`` + 12 account digits; format 3 the same with random filler A to F; format 1: ``1`` L PIN and random
hex; format 4 (AES): E(E(``4`` L PIN ``A``.. random) XOR account field). Codes are payShield's.
"""

import secrets

from core import crypto
from hsm_sim.errors import refusal
from hsm_sim.secret import ecb_cipher

ISO_0, ISO_1, ISO_3, ISO_4 = "01", "05", "47", "48"
ACCOUNT_BOUND = (ISO_0, ISO_3, ISO_4)
FORMATS = (ISO_0, ISO_1, ISO_3, ISO_4)
MIN_PIN, MAX_PIN = 4, 12
_CONTROL = {ISO_0: "0", ISO_1: "1", ISO_3: "3", ISO_4: "4"}
_DIGITS = frozenset("0123456789")
_LETTERS = "ABCDEF"


def require_change(source: str, target: str) -> None:
    """Raise HSM-23 unless R-7 allows this change, HSM-69 for a format that is not built."""
    if source not in FORMATS or target not in FORMATS:
        raise refusal("69", "this PIN block format is off")
    if target not in ACCOUNT_BOUND:
        raise refusal("23", "a PIN is not taken off its account")


def _account_mask(account: str) -> int:
    return int(account, 16)  # 0000 and the twelve digits


def read(form: str, block: bytes, account: str) -> str:
    """The PIN of a clear 8-byte block, or of a format 4 PIN field; HSM-20 or 24 and no more."""
    text = block.hex().upper()
    if form in (ISO_0, ISO_3):
        text = f"{int(text, 16) ^ _account_mask(account):016X}"
    length = int(text[1], 16)
    pin, filler = text[2 : 2 + length], text[2 + length :]
    if text[0] != _CONTROL[form]:
        raise refusal("20")
    if not MIN_PIN <= length <= MAX_PIN:
        raise refusal("24")
    fill = {ISO_0: "F", ISO_1: "0123456789ABCDEF", ISO_3: _LETTERS, ISO_4: "A"}[form]
    checked = text[2 + length : 16] if form == ISO_4 else filler
    if not set(pin) <= _DIGITS or not set(checked) <= set(fill):
        raise refusal("20")
    return pin


def write(form: str, pin: str, account: str) -> bytes:
    """A clear block of this format; for format 4 the 16-byte PIN field."""
    head = f"{_CONTROL[form]}{len(pin):X}{pin}"
    if form == ISO_4:
        return bytes.fromhex(head.ljust(16, "A")) + secrets.token_bytes(8)
    if form == ISO_0:
        text = head.ljust(16, "F")
    else:
        text = head + "".join(secrets.choice(_LETTERS) for _ in range(16 - len(head)))
    return (int(text, 16) ^ _account_mask(account)).to_bytes(8, "big")


def account_field(account: str) -> bytes:
    """Format 4: how many digits beyond 12, the digits, zeros; 16 bytes."""
    return bytes.fromhex(f"{max(len(account) - 12, 0)}{account.rjust(12, '0')}".ljust(32, "0"))


def open_tdes(key: bytes, block: bytes) -> bytes:
    """The clear 8-byte block."""
    return crypto.des_decrypt(key, block)


def open_aes(key: bytes, block: bytes, account: str) -> bytes:
    """The PIN field of a format 4 block."""
    inner = _aes(key, block, decrypt=True)
    return _aes(key, crypto.xor(inner, account_field(account)), decrypt=True)


def close_aes(key: bytes, field: bytes, account: str) -> bytes:
    """A format 4 block from its PIN field."""
    return _aes(key, crypto.xor(_aes(key, field), account_field(account)))


def _aes(key: bytes, block: bytes, decrypt: bool = False) -> bytes:
    cipher = ecb_cipher({16: "A1", 24: "A2", 32: "A3"}[len(key)], key)
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(block)


def card_form(pin: str) -> bytes:
    """The PIN as cards hold it: BCD, an odd digit filled with F."""
    return bytes.fromhex(pin + "F" * (len(pin) % 2))
