"""Properties of what a ceremony's proof rests on: one canonical form, notes, word shares, scripts."""

import contextlib
import json
import unicodedata

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Rejected
from hsm_sim import canonical, note, shares
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.script import Script

SMALL = settings(max_examples=150, deadline=None, derandomize=True)
FEW = settings(max_examples=25, deadline=None, derandomize=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"])).map(
    lambda text: unicodedata.normalize("NFC", text)
)
NAMES = st.text(st.characters(max_codepoint=126, min_codepoint=32))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@SMALL
@given(VALUES)
def test_both_canonical_forms_agree_and_come_back(value):
    text = canonical.encode(value)
    assert verifier.canonical(value) == text
    assert canonical.decode(text) == value == verifier.parse(text)


@SMALL
@given(ANYTHING)
def test_what_one_refuses_the_other_refuses(value):
    try:
        text = canonical.encode(value)
    except canonical.NotCanonical:
        text = b""
    assert verifier.canonical(value) == text


@SMALL
@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_parsers_answer_or_refuse_and_nothing_else(data):
    verifier.parse(data)
    verifier.read_note(data, [])
    for parse in (canonical.decode, Script.parse):
        with contextlib.suppress(Rejected):
            parse(data)


@FEW
@given(st.binary(min_size=32, max_size=32), st.text(max_size=40), st.integers(0, 63))
def test_a_note_verifies_with_its_key_and_not_with_a_bit_changed(seed, text, bit):
    body = text.encode("utf-8", "replace").decode().replace("\n\n", "\n") + "x\n"
    key = note.NoteKey("log.example", Ed25519PrivateKey.from_private_bytes(seed))
    signed = key.sign(body)
    assert note.verify(signed, [key.vkey]) == body
    assert verifier.read_note(signed.encode(), [key.vkey])[1] == [key.vkey]
    raw = bytearray(signed.encode())
    raw[bit % len(body.encode())] ^= 1 << bit % 7
    assert verifier.read_note(bytes(raw), [key.vkey])[1] != [key.vkey]


@FEW
@given(st.binary(min_size=8, max_size=16).map(lambda half: half + half), st.data())
def test_any_quorum_of_shares_gives_the_secret_back(secret, data):
    threshold = data.draw(st.integers(2, 5))
    count = data.draw(st.integers(threshold, 8))
    words = shares.split(secret, threshold, count, exponent=0)
    chosen = data.draw(st.permutations(words))[:threshold]
    assert shares.join(chosen) == secret
