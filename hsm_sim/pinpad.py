"""The encrypting PIN pad of a terminal or counter: TMK, PIK, MAK, field 64 and PIN blocks (iso8583-host.md 9).

The pad's transport key comes in components, entered by custodians at the pad; the TMK comes as a key block
under it (`A0` mode 1), the work keys under the TMK in field 62 of a sign-on answer. No key leaves, and what
was there stays when a new one is wrong (I-9). `tamper` does what opening the case does: everything is gone.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

from core import crypto
from core.errors import CityError, DeviceFault, EvidenceMismatch, Rejected
from hsm_sim import mac
from hsm_sim.kcv import check_value as kcv
from hsm_sim.kcv import require_strong
from hsm_sim.keyblock import unwrap
from hsm_sim.secret import SecretKey

COMPONENT_LENGTH = 16
FIELD_62_LENGTHS = (40, 60)  # PIK and MAK, and a track key that this pad does not use
KEY_LENGTH = 16
CHECK_LENGTH = 4
DES_LENGTH = 8
TMK_USAGE, TMK_MODES = "K0", frozenset("BDN")
PIN_MIN, PIN_MAX = 4, 12
ACCOUNT_DIGITS = 12
PAD_SCHEMA = "citycard/pin-pad/1"


class MacProfile(StrEnum):
    """How field 64 is computed: a property of the terminal's row at the host (iso8583-host.md 9.2)."""

    UNIONPAY = "unionpay"
    X99 = "x99"
    X919 = "x919"


def _hex_expanded(block: bytes) -> bytes:
    return block.hex().upper().encode("ascii")[:DES_LENGTH]


_FIELD_64: dict[MacProfile, Callable[[bytes, bytes], bytes]] = {
    MacProfile.UNIONPAY: mac.unionpay,
    MacProfile.X99: lambda key, mab: _hex_expanded(mac.algorithm_1(key, mab, "1")),
    MacProfile.X919: lambda key, mab: _hex_expanded(mac.algorithm_3(key, mab, "1")),
}


class SimPinPad:
    """A PIN pad (`hsm_sim.client.PinPad`). Not for sharing between threads."""

    def __init__(self, profile: MacProfile = MacProfile.UNIONPAY) -> None:
        self._profile = profile
        self._transport: SecretKey | None = None
        self._master: SecretKey | None = None
        self._pik: SecretKey | None = None
        self._mak: SecretKey | None = None
        self._typed: bytearray | None = None
        self._cancelled = False
        self._opened = False

    # -- keys in ------------------------------------------------------------------------------------

    def load_transport_key(self, components: Sequence[bytes], check_value: str) -> None:
        """Combine the custodians' components (XOR, 16 bytes each) to the pad's transport key.

        Raises EvidenceMismatch PAD-KCV when the check value (6 hex) differs, Rejected PAD-KEY.
        """
        self._closed()
        if len(components) < 2 or any(len(one) != COMPONENT_LENGTH for one in components):
            raise Rejected("PAD-KEY", "at least two components of 16 bytes")
        combined = bytes(COMPONENT_LENGTH)
        for component in components:
            combined = crypto.xor(combined, component)
        self._transport = _checked(combined, check_value, "transport key")

    def load_master_key(self, exported: str, check_value: str) -> None:
        """See `PinPad.load_master_key`: ``R`` and a key block of usage K0 under the transport key."""
        self._closed()
        if self._transport is None:
            raise Rejected("PAD-KEY", "the pad has no transport key")
        if not exported.startswith("R"):
            raise Rejected("PAD-KEY", "the master key must come as a key block")
        try:
            opened = unwrap(self._transport.reveal(), exported[1:])
        except CityError:
            raise Rejected("PAD-KEY", "the key block does not open here") from None
        header = opened.header
        if (header.usage, header.algorithm) != (TMK_USAGE, "T") or header.mode not in TMK_MODES:
            raise Rejected("PAD-KEY", "the key block holds no terminal master key")
        self._master = _checked(opened.material, check_value, "master key")
        self._pik = self._mak = None

    def load_work_keys(self, field_62: bytes) -> None:
        """See `PinPad.load_work_keys`."""
        self._closed()
        if self._master is None:
            raise Rejected("PAD-KEY", "the pad has no master key")
        if len(field_62) not in FIELD_62_LENGTHS:
            raise Rejected("PAD-KEY", "work keys come as 40 or 60 bytes")
        size = KEY_LENGTH + CHECK_LENGTH
        pik = self._unwrapped(field_62[:size], "PIK")
        mak = self._unwrapped(field_62[size : 2 * size], "MAK")
        if self._profile is MacProfile.X919 and mak.alg != "T2":
            raise Rejected("PAD-KEY", "this pad's MAC needs a double-length MAK")
        self._pik, self._mak = pik, mak

    def _unwrapped(self, wrapped: bytes, name: str) -> SecretKey:
        """A work key, each half under the TMK in ECB; a literal zero half makes it single-length (7.1)."""
        assert self._master is not None
        key, check = wrapped[:KEY_LENGTH], wrapped[KEY_LENGTH:]
        if name == "MAK" and key[DES_LENGTH:] == bytes(DES_LENGTH):
            key = key[:DES_LENGTH]
        return _checked(crypto.des_decrypt(self._master.reveal(), key), check.hex(), name)

    # -- field 64 -----------------------------------------------------------------------------------

    def make_mac(self, mab: bytes) -> bytes:
        """See `PinPad.make_mac`."""
        self._closed()
        if self._mak is None:
            raise Rejected("PAD-KEY", "no work keys: sign on first")
        return _FIELD_64[self._profile](self._mak.reveal(), mab)

    def check_mac(self, mab: bytes, mac: bytes) -> None:
        """See `PinPad.check_mac`."""
        if not crypto.equal(self.make_mac(mab), mac):
            raise EvidenceMismatch("PAD-MAC", "field 64 is wrong")

    # -- the PIN ------------------------------------------------------------------------------------

    def type_pin(self, digits: str) -> None:
        """The holder's fingers: 4 to 12 digits, good for one PIN block. Raises Rejected PAD-PIN."""
        self._closed()
        self._forget_pin()
        if not re.fullmatch(f"[0-9]{{{PIN_MIN},{PIN_MAX}}}", digits):
            raise Rejected("PAD-PIN", "a PIN has 4 to 12 digits")
        self._typed = bytearray(digits, "ascii")

    def cancel(self) -> None:
        """The holder's cancel key: what was typed is gone, and the next PIN block is refused (PAD-CANCEL)."""
        self._closed()
        self._forget_pin()
        self._cancelled = True

    def pin_block(self, account: str) -> bytes:
        """See `PinPad.pin_block`; the typed PIN is forgotten whatever happens."""
        self._closed()
        try:
            if self._cancelled:
                raise Rejected("PAD-CANCEL", "the holder pressed cancel")
            if self._typed is None:
                raise Rejected("PAD-PIN", "no PIN was typed")
            if self._pik is None:
                raise Rejected("PAD-KEY", "no work keys: sign on first")
            if not re.fullmatch(f"[0-9]{{{ACCOUNT_DIGITS}}}", account):
                raise Rejected("PAD-PIN", "a PIN block takes 12 digits of the account")
            filled = f"{len(self._typed):02X}{self._typed.decode('ascii')}".ljust(16, "F")
            clear = crypto.xor(bytes.fromhex(filled), bytes.fromhex("0000" + account))
            return crypto.des_encrypt(self._pik.reveal(), clear)
        finally:
            self._forget_pin()

    def _forget_pin(self) -> None:
        self._cancelled = False
        if self._typed is not None:
            self._typed[:] = bytes(len(self._typed))
            self._typed = None

    # -- its memory ---------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """The pad's memory as a file only its owner may read: transport and master key, no work keys.

        It stands for the tamper-proof memory of a real pad, as a chip's image stands for the chip.
        """
        self._closed()
        memory = {"schema": PAD_SCHEMA, "profile": self._profile.value}
        for name, key in (("transport", self._transport), ("master", self._master)):
            if key is not None:
                memory[name] = key.reveal().hex()
        beside = path.with_suffix(".new")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(file, "w", encoding="utf-8") as target:
            json.dump(memory, target)
            target.flush()
            os.fsync(target.fileno())
        os.replace(beside, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The pad of a file. Raises DeviceFault PAD-MEMORY when it is missing or not one."""
        try:
            memory = json.loads(path.read_text("utf-8"))
            if memory["schema"] != PAD_SCHEMA:
                raise KeyError("schema")
            pad = cls(MacProfile(memory["profile"]))
            for name in ("transport", "master"):
                if name in memory:
                    setattr(pad, f"_{name}", SecretKey("T2", bytes.fromhex(memory[name])))
        except (OSError, ValueError, KeyError, TypeError):
            raise DeviceFault("PAD-MEMORY", "no memory of a PIN pad", file=path.name) from None
        return pad

    # -- the case -----------------------------------------------------------------------------------

    def tamper(self) -> None:
        """Somebody opens the case: all keys are gone and the pad works no more."""
        self._forget_pin()
        for key in (self._transport, self._master, self._pik, self._mak):
            if key is not None:
                key.clear()
        self._transport = self._master = self._pik = self._mak = None
        self._opened = True

    def _closed(self) -> None:
        if self._opened:
            raise DeviceFault("PAD-TAMPERED", "the pad's case was opened")


def _checked(material: bytes, check_value: str, name: str) -> SecretKey:
    """A DES key whose check value is the announced one and that is not weak."""
    alg = "D1" if len(material) == DES_LENGTH else "T2"
    if len(material) not in (DES_LENGTH, KEY_LENGTH):
        raise Rejected("PAD-KEY", f"the {name} has a wrong length")
    found = kcv(alg, material, len(check_value) // 2)
    announced = check_value.upper().encode("utf-8")
    if not announced or not crypto.equal(found.encode("ascii"), announced):
        raise EvidenceMismatch("PAD-KCV", f"{name} check value", key=name)
    try:
        require_strong(alg, material)
    except CityError:
        raise Rejected("PAD-KEY", f"the {name} is weak") from None
    return SecretKey(alg, material, found)
