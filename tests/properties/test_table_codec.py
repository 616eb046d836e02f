"""The quick codec against the library: the same fields, the same bytes, and never a message more."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from payments import frames, table_codec
from payments.iso_fields import FIELDS, MTI_NAMES, Form
from payments.messages import (
    Message,
    MessageFault,
    encode_body,
    encode_by_library,
    parse_body,
    parse_by_library,
)
from payments.purse_data import FORMS

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "iso8583.json").read_text("utf-8"))
BODIES = [
    bytes.fromhex(v["inputs"]["frame"])[13:]
    for v in VECTORS["vectors"]
    if v["op"] in ("frame", "frame_mac")
]
PURSE = st.sampled_from(sorted(FORMS)).flatmap(
    lambda flag: st.binary(min_size=FORMS[flag].size, max_size=FORMS[flag].size).map(
        lambda rest: flag.encode() + rest
    )
)


def value_of(number: int) -> st.SearchStrategy[str | bytes]:
    field = FIELDS[number]
    least = field.length if not field.prefix else {2: 1, 32: 1, 60: 11, 61: 12}.get(number, 0)
    if number == 58:
        return PURSE
    if field.form is Form.BYTES:
        return st.binary(min_size=least, max_size=min(field.length, 40) if field.prefix else least)
    most = min(field.length, 40) if field.prefix else field.length
    if field.form is Form.Z:
        return st.text("0123456789D", min_size=least, max_size=most)
    if field.digits:
        return st.text("0123456789", min_size=least, max_size=most)
    if field.form is Form.CHINESE:
        return st.text("罗湖 ab9", min_size=least, max_size=min(most, 12))
    return st.text(
        st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=least, max_size=most
    )


MESSAGES = st.tuples(
    st.sampled_from(sorted(MTI_NAMES)),
    st.sets(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=12).flatmap(
        lambda numbers: st.fixed_dictionaries({n: value_of(n) for n in sorted(numbers)})
    ),
)


def told(fault: MessageFault) -> tuple[int, str, int]:
    return fault.field, fault.reason, fault.position


def slow(body: bytes) -> Message | tuple[int, str, int]:
    try:
        return parse_by_library(body, frames.TPDU, frames.HEADER)
    except MessageFault as fault:
        return told(fault)


def either(body: bytes) -> Message | tuple[int, str, int]:
    try:
        return parse_body(body)
    except MessageFault as fault:
        return told(fault)


def same(body: bytes) -> None:
    one, other = either(body), slow(body)
    if isinstance(one, Message) and isinstance(other, Message):
        assert (one.mti, dict(one.fields), one.body) == (other.mti, dict(other.fields), other.body)
    else:
        assert one == other


@settings(max_examples=300, deadline=None, derandomize=True)
@given(MESSAGES)
def test_every_good_message_is_written_and_read_alike(
    made: tuple[str, dict[int, str | bytes]],
) -> None:
    message = Message.of(*made)
    body = table_codec.encode(*made)
    assert body is not None
    assert body == encode_by_library(message) == encode_body(message)
    decoded = table_codec.decode(body)
    assert decoded is not None
    assert decoded == (made[0], made[1])
    same(body)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(BODIES), st.data())
def test_a_damaged_message_gets_the_librarys_verdict(body: bytes, data: st.DataObject) -> None:
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    same(bytes(changed))
    same(bytes(changed[:cut]))
    same(bytes(changed) + data.draw(st.binary(max_size=3)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_get_the_librarys_verdict(body: bytes) -> None:
    same(body)


def test_the_published_and_derived_messages_take_the_quick_way() -> None:
    for body in BODIES:
        if isinstance(slow(body), Message):
            assert table_codec.decode(body) is not None
