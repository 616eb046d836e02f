"""Frames of the host port: ``length(2) | header | code(2) | fields`` and their answers (section 3.1).

The bulk listener has the same frame with a 4-byte length. `length` counts everything after itself; the
header is printable ASCII, fixed in length per listener, and comes back in the answer.
"""

from functools import cache

from core.errors import CityError
from hsm_sim.errors import OK, HsmFault, refusal

HEADER_LENGTH = 4
MAX_HEADER = 16
CODE_LENGTH = 2
ERROR_LENGTH = 2
LENGTH_BYTES, MAX_FRAME = 2, 8192
MAX_FRAME_CONFIGURABLE = 32_767
BULK_LENGTH_BYTES, MAX_BULK_FRAME = 4, 4 * 1024 * 1024
MAX_IN_FLIGHT = 64
ANSWER_ROOM = 64  # of the limit: header, codes, counts and trailer of an answer


class BrokenStream(HsmFault):
    """The stream cannot be trusted any more: close the connection."""


@cache
def answer_code(code: str) -> str:
    """The code of the answer: second character one further (``M6`` -> ``M7``)."""
    return code[0] + chr(ord(code[1]) + 1)


def pack(body: bytes, length_bytes: int = LENGTH_BYTES, limit: int = MAX_FRAME) -> bytes:
    """A frame; ValueError when the body is empty or over the limit."""
    if not 0 < len(body) <= limit:
        raise ValueError(f"a frame holds 1 to {limit} bytes")
    return len(body).to_bytes(length_bytes, "big") + body


def frame_length(prefix: bytes | bytearray, limit: int = MAX_FRAME) -> int:
    """Length of the frame that follows; raises BrokenStream (HSM-FRAME) for 0 and over the limit."""
    length = int.from_bytes(prefix, "big")
    if not 0 < length <= limit:
        raise BrokenStream("HSM-FRAME", "a frame's length is 0 or over the limit", length=length)
    return length


def open_answer(body: bytes, header: bytes, code: str) -> bytes:
    """The fields of a good answer; raises the error the HSM named, or BrokenStream (HSM-FRAME)."""
    start = len(header)
    end = start + CODE_LENGTH + ERROR_LENGTH
    told = body[start:end].decode("latin-1")
    if body[:start] != header or told[:CODE_LENGTH] != answer_code(code) or len(body) < end:
        raise BrokenStream("HSM-FRAME", "an answer to something else")
    error = told[CODE_LENGTH:]
    if error != OK:
        raise refusal(error, command=code)
    return body[end:]


def bare_code(error: CityError) -> str:
    """The two wire characters of an error of this package."""
    return error.code.removeprefix("HSM-")
