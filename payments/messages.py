"""ISO 8583 messages as frozen values: `parse` a frame, `build` one (iso8583-host.md 3, 15).

The only file that imports the codec library. The library covers the encodings; what it lets pass (hex
digits in BCD, control characters, padding, unknown types and bits) is checked here, and its exceptions,
which carry the whole message, never leave this file: a `MessageFault` says field, position and reason.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar

import iso8583

from core.errors import Rejected
from payments import frames, table_codec
from payments.frames import Frame
from payments.iso_fields import (
    BITMAP_LENGTH,
    BODY_MIN,
    FIELDS,
    MAC_FIELD,
    MAC_LENGTH,
    MTI_LENGTH,
    MTI_NAMES,
    Field,
    Form,
    fault_of,
)
from payments.purse_data import PurseDataFault, check_form

Value = str | bytes
T = TypeVar("T")
MacMaker = Callable[[bytes], bytes]
PURSE_FIELD = 58
ADDRESS_FIELDS = (11, 41, 42, 60)  # without these no answer finds its way (I-2)
MAX_MENDED = 8
_NIBBLES = re.compile(r"Field data is (\d+) nibbles, expecting (\d+)")


class MessageFault(Rejected):
    """A message breaks a rule of the dialect; `str` names field, reason and position, never content.

    `field` 0 stands for the message as a whole. `message`: what was decoded, when the body could be cut
    into fields at all (then the host answers 30); None when it could not (then it closes, I-2).
    """

    response_code = "30"

    def __init__(
        self, field: int, reason: str, position: int, message: "Message | None" = None
    ) -> None:
        self.name = reason
        self.reason = f"field {field} {reason}" if field else reason
        super().__init__(
            "ISO-MESSAGE", f"{self.reason} at byte {position}", field=field, position=position
        )
        self.field = field
        self.position = position
        self.message = message


class _Once(Generic[T]):
    """A value of a message worked out when first asked for, and kept (`cached_property` takes a lock for it)."""

    def __init__(self, work_out: Callable[["Message"], T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, message: "Message", _owner: type) -> T:
        value = message.__dict__[self._name] = self._work_out(message)
        return value


@dataclass(frozen=True, repr=False)
class Message:
    """One message. `fields`: digits and text as str, fields 52, 55, 58, 62, 64 as bytes.

    `body` is the body exactly as received (or as built), for MAC and evidence; empty before `build`.
    """

    mti: str
    fields: Mapping[int, Value]
    tpdu: bytes = frames.TPDU
    header: bytes = frames.HEADER
    body: bytes = b""

    def text(self, number: int) -> str:
        """A field of digits or characters; empty when absent."""
        value = self.fields.get(number, "")
        if not isinstance(value, str):
            raise TypeError(f"field {number} holds bytes")
        return value

    def octets(self, number: int) -> bytes:
        """A field of bytes; empty when absent."""
        value = self.fields.get(number, b"")
        if not isinstance(value, bytes):
            raise TypeError(f"field {number} holds text")
        return value

    def __contains__(self, number: int) -> bool:
        return number in self.fields

    @_Once
    def terminal(self) -> str:
        """Field 41."""
        return self.text(41)

    @_Once
    def merchant(self) -> str:
        """Field 42."""
        return self.text(42)

    @_Once
    def trace(self) -> str:
        """Field 11, six digits."""
        return self.text(11)

    @_Once
    def amount(self) -> int:
        """Field 4 in fen; 0 when absent."""
        return int(self.text(4) or "0")

    @_Once
    def kind(self) -> str:
        """Field 60.1, the transaction type."""
        return self.text(60)[:2]

    @_Once
    def batch(self) -> str:
        """Field 60.2, the batch number."""
        return self.text(60)[2:8]

    @_Once
    def function(self) -> str:
        """Field 60.3, network management or upload code."""
        return self.text(60)[8:11]

    @_Once
    def response(self) -> str:
        """Field 39."""
        return self.text(39)

    @property
    def mab(self) -> bytes:
        """What the MAC covers: MTI to the byte before field 64, as it went over the wire (9.2)."""
        return self.body[:-MAC_LENGTH] if MAC_FIELD in self.fields else self.body

    @property
    def mac(self) -> bytes:
        """Field 64, eight ASCII characters; empty when absent."""
        return self.octets(MAC_FIELD)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={masked(n, v)}" for n, v in sorted(self.fields.items()))
        return f"Message({self.mti}, {shown})"

    @classmethod
    def of(
        cls,
        mti: str,
        fields: Mapping[int, Value | None],
        tpdu: bytes = frames.TPDU,
        header: bytes = frames.HEADER,
    ) -> Self:
        """A message to be built; fields that are None are left out."""
        kept = {number: value for number, value in sorted(fields.items()) if value is not None}
        return cls(mti, MappingProxyType(kept), tpdu, header)


def masked(number: int, value: Value) -> str:
    """A field's value fit for a screen or a log: secrets by length, account numbers by their ends."""
    if not FIELDS[number].secret:
        return value.hex().upper() if isinstance(value, bytes) else value
    if number == 2 and isinstance(value, str) and len(value) > 10:
        return f"{value[:6]}****{value[-4:]}"
    return f"<{len(value)}>"


def _entry(field: Field) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "data_enc": "b" if field.digits or field.form is Form.BYTES else "ascii",
        "len_enc": "bcd",
        "len_type": field.prefix,
        "len_count": "nibbles" if field.digits else "bytes",
        "max_len": field.length,
    }
    if field.form is Form.CHINESE:
        entry["data_enc"] = "gb18030"
    if field.form is Form.N:
        entry["left_pad"] = "0"
    elif field.digits:
        entry["right_pad"] = "0"
    return entry


SPEC: dict[str, dict[str, Any]] = {
    "h": {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "len_count": "bytes", "max_len": 0},
    "t": {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "len_count": "bytes", "max_len": 2},
    "p": {"data_enc": "b", "len_enc": "bcd", "len_type": 0, "len_count": "bytes", "max_len": 8},
    **{str(field.number): _entry(field) for field in FIELDS.values()},
}


def bits_of(bitmap: bytes) -> list[int]:
    """The field numbers whose bits are set, the highest bit of the first byte being field 1."""
    number = int.from_bytes(bitmap, "big")
    width = 8 * len(bitmap)
    return [bit for bit in range(1, width + 1) if number >> (width - bit) & 1]


def parse(frame: bytes) -> Message:
    """A message from a whole frame. Raises FrameFault (close) or MessageFault."""
    cut = frames.cut(frame)
    return parse_body(cut.body, cut.tpdu, cut.header)


def parse_body(body: bytes, tpdu: bytes = frames.TPDU, header: bytes = frames.HEADER) -> Message:
    """A message from its body alone. Raises MessageFault."""
    quick = table_codec.decode(body)
    if quick is not None:
        return Message(quick[0], MappingProxyType(quick[1]), tpdu, header, bytes(body))
    return parse_by_library(body, tpdu, header)


def parse_by_library(body: bytes, tpdu: bytes, header: bytes) -> Message:
    """The written truth: slower, and it says what is wrong. Raises MessageFault."""
    if len(body) < BODY_MIN:
        raise MessageFault(0, "bitmap short", len(body))
    for number in bits_of(body[MTI_LENGTH : MTI_LENGTH + BITMAP_LENGTH]):
        if number not in FIELDS:
            raise MessageFault(number, "not used", MTI_LENGTH + (number - 1) // 8)
    try:
        decoded, encoded = _decode(body)
    except MessageFault as fault:
        decoded = _mended(body, fault)
        if not decoded:
            raise
        message = _message(decoded, tpdu, header, body)
        raise MessageFault(fault.field, fault.name, fault.position, message) from None
    message = _message(decoded, tpdu, header, body)
    _check_rules(message, encoded)
    return message


def _message(decoded: dict[str, str], tpdu: bytes, header: bytes, body: bytes) -> Message:
    fields = {
        int(key): bytes.fromhex(value) if FIELDS[int(key)].form is Form.BYTES else value
        for key, value in decoded.items()
        if key not in ("t", "p")
    }
    return Message(decoded["t"], MappingProxyType(fields), tpdu, header, bytes(body))


def _mended(body: bytes, fault: MessageFault) -> dict[str, str]:
    """The fields of a body whose faults are padding or characters alone, so that it can be answered with 30 (I-2).

    The bad piece is blanked in a copy; empty when the body cannot be cut into fields at all.
    """
    copy = bytearray(body)
    for _ in range(MAX_MENDED):
        if fault.name not in ("padding", "characters") or fault.field in ADDRESS_FIELDS:
            return {}
        _blank(copy, fault)
        try:
            return _decode(bytes(copy))[0]
        except MessageFault as next_fault:
            fault = next_fault
    return {}


def _blank(copy: bytearray, fault: MessageFault) -> None:
    field, at = FIELDS[fault.field], fault.position
    length = field.length
    if field.prefix:
        length = int(copy[at - field.prefix : at].hex())
    size = (length + 1) // 2 if field.digits else length
    if fault.name == "characters":
        copy[at : at + size] = b" " * size
    elif field.form is Form.N:
        copy[at] &= 0x0F
    else:
        copy[at + size - 1] &= 0xF0


def _decode(body: bytes) -> tuple[dict[str, str], Mapping[str, Mapping[str, bytes]]]:
    """The library's decoding; its exceptions hold the message and are replaced, not chained."""
    fault: MessageFault
    try:
        return iso8583.decode(body, SPEC)
    except iso8583.DecodeError as error:
        fault = _fault(error.msg, error.field, error.pos)
    raise fault


def _fault(text: str, key: str, position: int) -> MessageFault:
    if text.startswith("Extra data"):
        return MessageFault(0, "trailing bytes", position)
    field = FIELDS[int(key)]
    if "larger than" in text or "invalid BCD" in text:
        return MessageFault(field.number, "length", position)
    if "failed to decode" in text.lower():
        return MessageFault(field.number, "characters", position)
    counts = _NIBBLES.match(text)  # a bad filling shows one nibble too many, a cut field too few
    if counts is not None and int(counts[1]) == int(counts[2]) + 1:
        return MessageFault(field.number, "padding", position)
    return MessageFault(field.number, "short", position)


def _check_rules(message: Message, encoded: Mapping[str, Mapping[str, bytes]]) -> None:
    if message.mti not in MTI_NAMES:
        raise MessageFault(0, "message type", 0, message)
    position = MTI_LENGTH + BITMAP_LENGTH
    for number, value in message.fields.items():
        wire = encoded[str(number)]
        position += len(wire["len"])
        reason = fault_of(number, value)
        if reason is None and number == PURSE_FIELD:
            reason = _purse_fault(message.octets(number))
        if reason is not None:
            raise MessageFault(number, reason, position, message)
        position += len(wire["data"])


def _purse_fault(raw: bytes) -> str | None:
    try:
        check_form(raw)
    except PurseDataFault as fault:
        return fault.reason
    return None


def encode_body(message: Message) -> bytes:
    """The body of a message, field 64 as given. Raises MessageFault for a value that does not fit."""
    quick = table_codec.encode(message.mti, message.fields)
    return encode_by_library(message) if quick is None else quick


def encode_by_library(message: Message) -> bytes:
    """The written truth: slower, and it says what is wrong. Raises MessageFault."""
    document: dict[str, str] = {"t": message.mti}
    for number, value in message.fields.items():
        field = FIELDS.get(number)
        if field is None:
            raise MessageFault(number, "not used", 0)
        if isinstance(value, bytes) is not (field.form is Form.BYTES):
            raise TypeError(f"field {number} has the wrong kind of value")
        reason = fault_of(number, value)
        if reason is not None:
            raise MessageFault(number, reason, 0)
        document[str(number)] = value.hex().upper() if isinstance(value, bytes) else value
    fault: MessageFault
    try:
        raw, _ = iso8583.encode(document, SPEC)
        return bytes(raw)
    except iso8583.EncodeError as error:  # holds the message: replaced, not chained
        fault = MessageFault(int(error.field) if error.field.isdigit() else 0, "length", 0)
    raise fault


def build(message: Message, mac: MacMaker | None = None) -> bytes:
    """The frame of a message. With `mac` field 64 is made from the bytes before it (9.2)."""
    if mac is None:
        return bytes(Frame(message.tpdu, message.header, encode_body(message)))
    unsealed = Message(
        message.mti,
        MappingProxyType({**message.fields, MAC_FIELD: bytes(MAC_LENGTH)}),
        message.tpdu,
        message.header,
    )
    covered = encode_body(unsealed)[:-MAC_LENGTH]
    code = mac(covered)
    if len(code) != MAC_LENGTH:
        raise ValueError("field 64 has eight characters")
    return bytes(Frame(message.tpdu, message.header, covered + code))


def answers(request: Message, answer: Message) -> bool:
    """Whether `answer` belongs to `request`: type, trace, terminal, merchant, type and batch agree (8.1)."""
    expected = f"{int(request.mti) + 10:04d}"
    return (
        answer.mti == expected
        and all(answer.text(number) == request.text(number) for number in (11, 41, 42))
        and (answer.kind, answer.function) == (request.kind, request.function)
    )
