"""Field encryption, keyed index and seals over other logs (5.5)."""

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsm_sim.codec import with_length
from hsm_sim.commands.audit import extends
from hsm_sim.data_requests import (
    NONCE_LENGTH,
    SEALED_EXTRA,
    VERSION_LENGTH,
    DecryptFields,
    EncryptFields,
    Entry,
    KeyedIndex,
    ReencryptFields,
    SealLog,
)
from hsm_sim.errors import refusal
from hsm_sim.work import Key, Work, handles

INDEX_BYTES = 16
SEALING = "BEN"


def _seal(key: Key, entry: Entry) -> bytes:
    version = key.version.encode("ascii")
    nonce = secrets.token_bytes(NONCE_LENGTH)
    cipher = AESGCM(key.secret.reveal()).encrypt(nonce, entry.data, version + entry.context)
    return version + nonce + cipher


def _open(work: Work, entry: Entry) -> Entry:
    """The plain entry; the version in front names the key, which may be an older one of the lineage."""
    if len(entry.data) < SEALED_EXTRA:
        raise refusal("01")
    version, rest = entry.data[:VERSION_LENGTH], entry.data[VERSION_LENGTH:]
    key = work.hsm.keys.sibling(work.key("key"), version.decode("latin-1"))
    nonce, cipher = rest[:NONCE_LENGTH], rest[NONCE_LENGTH:]
    try:
        plain = AESGCM(key.secret.reveal()).decrypt(nonce, cipher, version + entry.context)
    except InvalidTag:
        raise refusal("01") from None
    return Entry(entry.context, plain)


def _require_aes(work: Work) -> Key:
    key = work.key("key")
    if key.alg != "A3":
        raise refusal("A7", "field encryption takes AES-256")
    return key


@handles(EncryptFields)
def encrypt_fields(work: Work, request: EncryptFields) -> bytes:
    """`80`: version || nonce || ciphertext || tag, context and version as additional data."""
    key = _require_aes(work)
    return b"".join(with_length(_seal(key, entry)) for entry in request.entries)


@handles(DecryptFields)
def decrypt_fields(work: Work, request: DecryptFields) -> bytes:
    """`82`."""
    _require_aes(work)
    return b"".join(with_length(_open(work, entry).data) for entry in request.entries)


@handles(ReencryptFields)
def reencrypt_fields(work: Work, request: ReencryptFields) -> bytes:
    """`86`: opened under the version they carry, sealed under the newest active one."""
    newest = work.hsm.keys.newest(_require_aes(work))
    if newest.mode not in SEALING:
        raise refusal("A8", "the newest version only opens")
    plain = [_open(work, entry) for entry in request.entries]
    return b"".join(with_length(_seal(newest, entry)) for entry in plain)


@handles(KeyedIndex)
def keyed_index(work: Work, request: KeyedIndex) -> bytes:
    """`84`: HMAC-SHA-256 over context length, context and value; a partner has a key of its own."""
    key = work.secret("key").reveal()
    if request.partner:
        key = hmac.digest(key, b"pair\x00" + request.partner, "sha256")
    found = [
        hmac.digest(key, bytes((len(entry.context),)) + entry.context + entry.data, "sha256")[
            :INDEX_BYTES
        ]
        for entry in request.entries
    ]
    work.good = len(found)
    return b"".join(found).hex().upper().encode("ascii")


@handles(SealLog)
def seal_log(work: Work, request: SealLog) -> bytes:
    """`72`: sign size and root of another log, if it is the one signed before, only longer."""
    key, seals = work.hsm.keys.seal_key(request.log), work.hsm.seals
    seen = seals.seen(request.log)
    old, new = (request.old_size, seen[1]), (request.new_size, request.root)
    if request.old_size != seen[0] or request.new_size < seen[0]:
        raise refusal("01", "not the size signed last")
    if request.new_size == 0 or not extends(old, new, list(request.proof)):
        raise refusal("01", "no consistency proof from the tree signed last")
    seals.remember(request.log, request.new_size, request.root)
    return with_length(key.sign_checkpoint(request.new_size, request.root).encode("utf-8"))
