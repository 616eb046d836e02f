"""A chip in a file: versioned, checksummed, replaced in one step.

Bytes: magic ``CITYCHIP`` 8, version 2 (0001), length of the memory 4, memory, SHA-256 over all before it.
"""

import hashlib
import os
from pathlib import Path

from cardos.memory import SYSTEM_MAGIC, USER_AT
from core.errors import EvidenceMismatch

IMAGE_MAGIC = b"CITYCHIP"
IMAGE_VERSION = 1
HEAD_LENGTH = len(IMAGE_MAGIC) + 6
DIGEST_LENGTH = 32


def encode(memory: bytes) -> bytes:
    """The image of a memory."""
    head = IMAGE_MAGIC + IMAGE_VERSION.to_bytes(2, "big") + len(memory).to_bytes(4, "big")
    return head + memory + hashlib.sha256(head + memory).digest()


def decode(raw: bytes) -> bytes:
    """The memory of an image; `EvidenceMismatch` CHIP-IMAGE when it is damaged, cut or of another kind."""
    if raw[: len(IMAGE_MAGIC)] != IMAGE_MAGIC or len(raw) < HEAD_LENGTH + DIGEST_LENGTH:
        raise EvidenceMismatch("CHIP-IMAGE", "the file is not a chip image", reason="magic")
    version = int.from_bytes(raw[8:10], "big")
    if version != IMAGE_VERSION:
        raise EvidenceMismatch("CHIP-IMAGE", f"image version {version}", reason="version")
    body, digest = raw[:-DIGEST_LENGTH], raw[-DIGEST_LENGTH:]
    memory = body[HEAD_LENGTH:]
    if hashlib.sha256(body).digest() != digest or len(memory) != int.from_bytes(raw[10:14], "big"):
        raise EvidenceMismatch("CHIP-IMAGE", "the checksum is wrong", reason="checksum")
    if len(memory) <= USER_AT or not memory.startswith(SYSTEM_MAGIC):
        raise EvidenceMismatch("CHIP-IMAGE", "the memory holds no chip", reason="content")
    return memory


def save(path: Path, memory: bytes) -> None:
    """Write the image beside `path`, flush it to the disk, put it in place."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as file:
        file.write(encode(memory))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def load(path: Path) -> bytes:
    """The memory in the image at `path`."""
    return decode(path.read_bytes())
