"""GlobalPlatform secure channels: the host's half of SCP02 and SCP03, keys and all, inside the HSM.

SCP02 (GPC 2.2.1 Annex E; i = 15 or 55: three keys, explicit start, MAC over the modified APDU, ICV encrypted):
session keys TDES-CBC(key, constant || counter || zeros); C-MAC single DES with a TDES last block; C-ENC
TDES-CBC over data padded 80. SCP03 (GPC Amendment D): keys and cryptograms by the counter-mode KDF over
AES-CMAC; C-MAC is the left half of a chained CMAC; C-ENC under an encrypted counter. Base keys come from the
production master: as they are, by EMV CPS (``KMC(D6 || F0 || n) || KMC(D6 || 0F || n)``, D6 the last six
bytes of the key data), or by VISA2 (D6 = bytes 1, 2, 5 to 8).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from core import crypto
from hsm_sim.errors import refusal
from hsm_sim.secret import SecretKey, ecb_cipher

SCP02_OPTIONS = (0x15, 0x55)
SCP03_OPTIONS = (0x00, 0x10, 0x60, 0x70)
CHALLENGE = 8
MAC = 8
MAX_LC = 255
EXTERNAL_AUTHENTICATE = (0x84, 0x82)
LEVELS = {"0": 0x00, "1": 0x01, "3": 0x03}
NONE, EMV_CPS, VISA2 = "0", "1", "2"
_ENC, _MAC, _DEK = 1, 2, 3
_SCP02_CONSTANTS = {"enc": 0x0182, "cmac": 0x0101, "dek": 0x0181}
_CARD_CRYPTOGRAM, _HOST_CRYPTOGRAM, _S_ENC, _S_MAC = 0x00, 0x01, 0x04, 0x06


@dataclass(frozen=True)
class Apdu:
    """A command APDU in its parts; `le` is b"" when there is none."""

    header: bytes
    data: bytes
    le: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Apdu":
        """Short APDUs only; HSM-15 for anything else."""
        if len(raw) <= 5:
            if len(raw) < 4:
                raise refusal("15", "an APDU has four header bytes")
            return cls(raw[:4], b"", raw[4:])
        end = 5 + raw[4]
        if raw[4] == 0 or len(raw) not in (end, end + 1):
            raise refusal("15", "Lc does not fit the APDU")
        return cls(raw[:4], raw[5:end], raw[end:])


def base_keys(kmc: SecretKey, diversification: str, key_data: bytes) -> tuple[bytes, bytes, bytes]:
    """ENC, MAC and DEK of the card; AES production masters are used as they are only (HSM-A7)."""
    if diversification == NONE:
        return kmc.reveal(), kmc.reveal(), kmc.reveal()
    if kmc.alg != "T2":
        raise refusal("A7", "EMV CPS and VISA2 derive from a two-key TDES master")
    six = key_data[-6:] if diversification == EMV_CPS else key_data[:2] + key_data[4:8]

    def one(number: int) -> bytes:
        return kmc.encrypt_blocks(six + bytes((0xF0, number)) + six + bytes((0x0F, number)))

    return one(_ENC), one(_MAC), one(_DEK)


def scp02_session_key(key: bytes, constant: int, counter: bytes) -> bytes:
    """TDES-CBC over constant(2) || counter(2) || 12 zeros."""
    return crypto.des_cbc(key, constant.to_bytes(2, "big") + counter + bytes(12))


def scp03_derive(key: bytes, constant: int, bits: int, context: bytes) -> bytes:
    """NIST SP 800-108 in counter mode over AES-CMAC: 11 zeros, constant, 00, length in bits, counter, context."""
    found = b""
    for counter in range(1, -(-bits // 128) + 1):
        head = bytes(11) + bytes((constant, 0)) + bits.to_bytes(2, "big") + bytes((counter,))
        found += crypto.aes_cmac(key, head + context)
    return found[: bits // 8]


def _aes_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


@dataclass
class _Session:
    """An authenticated channel: wraps APDUs, encrypts data for the card."""

    level: int
    mac: Callable[[bytes], bytes]
    encrypt: Callable[[bytes], bytes]
    dek: Callable[[bytes], bytes]
    mac_first: bool

    def wrap(self, apdu: Apdu) -> bytes:
        """Under the session's level; level 0 leaves it as it is."""
        head, data = apdu.header, apdu.data
        if self.level == 0:
            return head + (bytes((len(data),)) + data if data else b"") + apdu.le
        head = bytes((head[0] | 0x04,)) + head[1:]
        encrypted = self.encrypt(data) if self.level & 0x02 else data
        if len(encrypted) + MAC > MAX_LC:
            raise refusal("80", "too long for one protected APDU")
        told = data if self.mac_first else encrypted
        mac = self.mac(head + bytes((len(told) + MAC,)) + told)
        return head + bytes((len(encrypted) + MAC,)) + encrypted + mac + apdu.le


def _scp02(keys: tuple[bytes, bytes, bytes], counter: bytes, level: int) -> tuple[_Session, bytes]:
    """The session and its ENC key, which also makes the cryptograms."""
    enc = scp02_session_key(keys[0], _SCP02_CONSTANTS["enc"], counter)
    cmac = scp02_session_key(keys[1], _SCP02_CONSTANTS["cmac"], counter)
    dek = scp02_session_key(keys[2], _SCP02_CONSTANTS["dek"], counter)
    icv = [bytes(8)]

    def mac(message: bytes) -> bytes:
        last = crypto.des_cbc(cmac[:8], crypto.pad80(message), icv[0])[-8:]
        made = crypto.des_encrypt(cmac[:8], crypto.des_decrypt(cmac[8:], last))
        icv[0] = crypto.des_encrypt(cmac[:8], made)
        return made

    def encrypt(data: bytes) -> bytes:
        return crypto.des_cbc(enc, crypto.pad80(data)) if data else b""

    session = _Session(level, mac, encrypt, lambda data: crypto.des_encrypt(dek, data), True)
    return session, enc


def _scp03(keys: tuple[bytes, bytes, bytes], context: bytes, level: int) -> tuple[_Session, bytes]:
    """The session and its MAC key, which also makes the cryptograms."""
    bits = 8 * len(keys[0])
    enc = scp03_derive(keys[0], _S_ENC, bits, context)
    cmac = scp03_derive(keys[1], _S_MAC, bits, context)
    chain, number = [bytes(16)], [0]

    def mac(message: bytes) -> bytes:
        chain[0] = crypto.aes_cmac(cmac, chain[0] + message)
        return chain[0][:MAC]

    def encrypt(data: bytes) -> bytes:
        number[0] += 1
        if not data:
            return b""
        alg = {16: "A1", 24: "A2", 32: "A3"}[len(enc)]
        icv = ecb_cipher(alg, enc).encryptor().update(number[0].to_bytes(16, "big"))
        return _aes_cbc(enc, icv, crypto.pad80(data, 16))

    session = _Session(
        level, mac, encrypt, lambda data: _aes_cbc(keys[2], bytes(16), data), mac_first=False
    )
    return session, cmac


@dataclass
class Channel:
    """One channel from `20` to `2E`. `kmc` is the production master, `connection` its owner."""

    protocol: str
    option: int
    kmc: SecretKey = field(repr=False)
    diversification: str
    level: str
    connection: int
    host_challenge: bytes = field(default_factory=lambda: secrets.token_bytes(CHALLENGE))
    session: _Session | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        options = {"02": SCP02_OPTIONS, "03": SCP03_OPTIONS}.get(self.protocol)
        if options is None or self.option not in options:
            raise refusal("15", "no such secure channel")
        if (self.protocol == "02") != (self.kmc.alg == "T2"):
            raise refusal("A7", "SCP02 runs on TDES, SCP03 on AES")
        if self.diversification != NONE and self.protocol == "03":
            raise refusal("A7", "SCP03 masters are used as they are")

    @property
    def block(self) -> int:
        """Block length of its data key."""
        return 8 if self.protocol == "02" else 16

    def authenticate(self, response: bytes) -> bytes:
        """Check the card's cryptogram; the EXTERNAL AUTHENTICATE APDU. HSM-15 (length), HSM-01."""
        if self.protocol == "02":
            return self._authenticate_02(response)
        return self._authenticate_03(response)

    def _authenticate_02(self, response: bytes) -> bytes:
        if len(response) != 28:
            raise refusal("15", "INITIALIZE UPDATE answers 28 bytes")
        counter, card = response[12:14], response[14:20]
        keys = base_keys(self.kmc, self.diversification, response[:10])
        session, enc = _scp02(keys, counter, LEVELS[self.level])
        good = crypto.pad80(self.host_challenge + counter + card)
        if not crypto.equal(crypto.des_cbc(enc, good)[-8:], response[20:28]):
            raise refusal("01")
        mine = crypto.des_cbc(enc, crypto.pad80(counter + card + self.host_challenge))[-8:]
        return self._external(session, mine)

    def _authenticate_03(self, response: bytes) -> bytes:
        if len(response) not in (29, 32):
            raise refusal("15", "INITIALIZE UPDATE answers 29 or 32 bytes")
        context = self.host_challenge + response[13:21]
        keys = base_keys(self.kmc, self.diversification, response[:10])
        session, cmac = _scp03(keys, context, LEVELS[self.level])
        if not crypto.equal(scp03_derive(cmac, _CARD_CRYPTOGRAM, 64, context), response[21:29]):
            raise refusal("01")
        return self._external(session, scp03_derive(cmac, _HOST_CRYPTOGRAM, 64, context))

    def _external(self, session: _Session, cryptogram: bytes) -> bytes:
        head = bytes((*EXTERNAL_AUTHENTICATE, session.level, 0))
        mac = session.mac(head + bytes((len(cryptogram) + MAC,)) + cryptogram)
        self.session = session
        return head + bytes((len(cryptogram) + MAC,)) + cryptogram + mac

    def open_session(self) -> _Session:
        """The session; HSM-F5 before the card was authenticated."""
        if self.session is None:
            raise refusal("F5", "the card was not authenticated")
        return self.session
