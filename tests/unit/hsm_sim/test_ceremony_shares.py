"""Secrets in several hands: XOR components and SLIP-0039 word shares."""

import itertools
import json
from pathlib import Path

import pytest

from core import crypto
from hsm_sim.shares import BadShares, Share, _words, combine_components, join, split

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/hsm-ceremony.json").read_text("utf-8"))[
    "groups"
]


def group(name):
    return [pytest.param(t["in"], t["out"], id=t["id"]) for t in VECTORS[name]["tests"]]


@pytest.mark.parametrize(("given", "out"), group("slip39"))
def test_published_shares(given, out):
    if out["secret"]:
        assert join(given["mnemonics"], b"TREZOR").hex().upper() == out["secret"]
        assert [Share.parse(words).words() for words in given["mnemonics"]] == given["mnemonics"]
    else:
        with pytest.raises(BadShares, match="SHARES"):
            join(given["mnemonics"], b"TREZOR")


def test_the_word_list_is_whole():
    assert len(_words()) == 1024 == len({word[:4] for word in _words()})


def test_any_three_of_five_give_the_secret_back_and_two_do_not():
    secret = bytes(range(32))
    words = split(secret, 3, 5, exponent=0)
    for chosen in itertools.combinations(words, 3):
        assert join(chosen) == secret
    with pytest.raises(BadShares):
        join(words[:2])
    assert join(words[:3], b"another passphrase") != secret


def test_a_mistyped_word_is_noticed():
    words = split(bytes(16), 2, 2, exponent=0)
    first = words[0].split()
    first[7] = "zero" if first[7] != "zero" else "acid"
    with pytest.raises(BadShares, match="checksum"):
        join([" ".join(first), words[1]])


@pytest.mark.parametrize(
    ("length", "threshold", "count"), [(15, 2, 3), (8, 2, 3), (16, 4, 3), (16, 2, 17), (16, 1, 2)]
)
def test_splits_that_make_no_sense(length, threshold, count):
    with pytest.raises(BadShares):
        split(bytes(length), threshold, count)


@pytest.mark.parametrize(("given", "out"), group("components"))
def test_published_components(given, out):
    parts = [bytes.fromhex(part) for part in given["components"]]
    check = crypto.aes_kcv if given.get("algorithm") == "AES" else crypto.des_kcv
    key = bytes(combine_components(parts))
    assert key.hex().upper() == out["key"]
    assert check(key).hex().upper() == out["kcv"]
    assert [check(part).hex().upper() for part in parts] == out["component_kcvs"]


@pytest.mark.parametrize(
    "parts",
    [
        [b"\x11" * 16],
        [b"\x11" * 16, b"\x22" * 8],
        [b"\x11" * 16, bytes(16), b"\x33" * 16],
        [b"\x11" * 16, b"\x22" * 16, b"\x11" * 16],
        [b"\x11" * 16, b"\x22" * 16, b"\x22" * 16],
    ],
)
def test_components_that_hide_nothing_are_refused(parts):
    with pytest.raises(BadShares):
        combine_components(parts)


def test_repr_shows_no_share():
    assert "value" not in repr(Share.parse(split(bytes(16), 2, 2, exponent=0)[0]))
