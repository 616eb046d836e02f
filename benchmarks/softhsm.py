"""SoftHSM2 over its PKCS#11 functions, for comparison: no package needed, the library is called directly.

Only what the comparison uses: a token in a temporary folder, session objects, TDES in ECB and CBC.
"""

import ctypes
import json
import os
import sys
import time
from pathlib import Path

from core import crypto

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
CKF_SERIAL, CKF_RW = 4, 2
CKU_SO, CKU_USER = 0, 1
CKO_SECRET_KEY, CKK_DES3 = 4, 0x15
CKA_CLASS, CKA_TOKEN, CKA_VALUE, CKA_KEY_TYPE, CKA_ENCRYPT = 0x00, 0x01, 0x11, 0x100, 0x104
CKM_DES3_ECB, CKM_DES3_CBC = 0x132, 0x133
PIN = b"1234567890"
Long = ctypes.c_ulong


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", Long), ("parameter", ctypes.c_void_p), ("length", Long))


class _Attribute(ctypes.Structure):
    _fields_ = (("type", Long), ("value", ctypes.c_void_p), ("length", Long))


def library() -> str | None:
    """Where SoftHSM2 is; None when it is not installed."""
    return next((path for path in LIBRARIES if Path(path).exists()), None)


class SoftHsm:
    """One token with an open session."""

    def __init__(self, path: str, folder: Path) -> None:
        (folder / "tokens").mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        self._lib = ctypes.CDLL(path)
        self._call("C_Initialize", None)
        label = ctypes.create_string_buffer(b"bench".ljust(32), 32)
        self._call("C_InitToken", Long(self._slot()), PIN, Long(len(PIN)), label)
        self._session = Long()
        flags, slot = Long(CKF_SERIAL | CKF_RW), Long(self._slot())
        self._call("C_OpenSession", slot, flags, None, None, ctypes.byref(self._session))
        self._call("C_Login", self._session, Long(CKU_SO), PIN, Long(len(PIN)))
        self._call("C_InitPIN", self._session, PIN, Long(len(PIN)))
        self._call("C_Logout", self._session)
        self._call("C_Login", self._session, Long(CKU_USER), PIN, Long(len(PIN)))
        self._iv = ctypes.create_string_buffer(8)
        self._ecb = _Mechanism(CKM_DES3_ECB, None, 0)
        self._cbc = _Mechanism(CKM_DES3_CBC, ctypes.cast(self._iv, ctypes.c_void_p), 8)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._lib, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} answered {code:#x}")

    def _slot(self) -> int:
        count = Long(16)
        slots = (Long * 16)()
        self._call("C_GetSlotList", ctypes.c_ubyte(1), slots, ctypes.byref(count))
        return int(slots[0])

    def key(self, material: bytes) -> Long:
        """A TDES session object of 24 bytes."""
        values = [
            (CKA_CLASS, ctypes.byref(Long(CKO_SECRET_KEY)), ctypes.sizeof(Long)),
            (CKA_KEY_TYPE, ctypes.byref(Long(CKK_DES3)), ctypes.sizeof(Long)),
            (CKA_TOKEN, ctypes.byref(ctypes.c_ubyte(0)), 1),
            (CKA_ENCRYPT, ctypes.byref(ctypes.c_ubyte(1)), 1),
            (CKA_VALUE, ctypes.create_string_buffer(material, 24), 24),
        ]
        template = (_Attribute * len(values))(
            *(
                _Attribute(kind, ctypes.cast(value, ctypes.c_void_p), size)
                for kind, value, size in values
            )
        )
        made = Long()
        self._call("C_CreateObject", self._session, template, Long(len(values)), ctypes.byref(made))
        return made

    def forget(self, key: Long) -> None:
        """Destroy a session object."""
        self._call("C_DestroyObject", self._session, key)

    def encrypt(self, key: Long, data: bytes, cbc: bool = False) -> bytes:
        """ECB, or CBC from a zero IV."""
        mechanism = self._cbc if cbc else self._ecb
        self._call("C_EncryptInit", self._session, ctypes.byref(mechanism), key)
        out, size = ctypes.create_string_buffer(len(data)), Long(len(data))
        self._call("C_Encrypt", self._session, data, Long(len(data)), out, ctypes.byref(size))
        return out.raw[: size.value]

    def close(self) -> None:
        """End the library's use."""
        self._call("C_Finalize", None)


def load(
    soft: SoftHsm, master: Long, card: bytes, counter: int, random: bytes
) -> tuple[bytes, bytes]:
    """MAC1 and MAC2 of a load of 5.00 as a host would make them: it sees the card's keys on the way."""
    derived = soft.encrypt(master, card + bytes(b ^ 0xFF for b in card))
    held = soft.key(derived + derived[:8])
    session = soft.encrypt(held, random + counter.to_bytes(2, "big") + b"\x80\x00")
    single, place = soft.key(session * 3), b"\x02" + bytes(6)
    told = (100).to_bytes(4, "big") + (500).to_bytes(4, "big") + place
    mac1 = soft.encrypt(single, crypto.pad80(told), cbc=True)[-8:-4]
    told = (500).to_bytes(4, "big") + place + bytes.fromhex("20261127101500")
    mac2 = soft.encrypt(single, crypto.pad80(told), cbc=True)[-8:-4]
    soft.forget(held)
    soft.forget(single)
    return mac1, mac2


def main() -> None:
    """Answer each count on standard input with microseconds of CPU for a MAC and for a load."""
    soft, material = SoftHsm(sys.argv[1], Path(sys.argv[2])), os.urandom(16)
    mac_key, master = soft.key(os.urandom(24)), soft.key(material + material[:8])
    for line in sys.stdin:
        count = int(line)
        data = [os.urandom(24) for _ in range(count)]
        begun = time.process_time()
        for one in data:
            soft.encrypt(mac_key, one, cbc=True)
        mac_us = (time.process_time() - begun) / count * 1e6
        few = [(os.urandom(8), n, os.urandom(4)) for n in range(max(count // 10, 20))]
        begun = time.process_time()
        made = [load(soft, master, *one) for one in few]
        load_us = (time.process_time() - begun) / len(few) * 1e6
        for (card, counter, random), (mac1, _) in zip(few, made, strict=True):
            key = crypto.diversify(material, card)
            session = crypto.purse_session_key(key, random, counter.to_bytes(2, "big"), b"\x80\x00")
            told = (100).to_bytes(4, "big") + (500).to_bytes(4, "big") + b"\x02" + bytes(6)
            assert crypto.purse_mac(session, told) == mac1, "SoftHSM2 computes something else"
        print(json.dumps({"softhsm_mac_us": mac_us, "softhsm_load_us": load_us}), flush=True)
    soft.close()


if __name__ == "__main__":
    main()
