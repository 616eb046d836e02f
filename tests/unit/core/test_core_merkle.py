"""The Merkle tree against RFC 9162's own recursive definition and the shared vectors."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import merkle


def by_definition(entries: Sequence[bytes]) -> bytes:
    """RFC 9162 2.1.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    left, right = by_definition(entries[:k]), by_definition(entries[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(bytes([n])) for n in range(size)]


@pytest.mark.parametrize("size", range(34))
def test_root_is_the_definition(size: int) -> None:
    assert merkle.root(leaves(size)) == by_definition([bytes([n]) for n in range(size)])


@given(st.integers(1, 40), st.data())
def test_inclusion_proofs_hold_for_their_leaf_only(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(tree, index)
    top = merkle.root(tree)
    assert merkle.verify_inclusion(tree[index], index, size, proof, top)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, proof, top)
    assert not merkle.verify_inclusion(tree[index], index, size, [*proof, top], top)
    if size > 1:
        assert not merkle.verify_inclusion(tree[index], (index + 1) % size, size, proof, top)


@given(st.integers(1, 40), st.data())
def test_consistency_proofs_hold_for_prefixes_only(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(tree, old)
    old_root, new_root = merkle.root(tree[:old]), merkle.root(tree)
    assert merkle.verify_consistency(old, size, old_root, new_root, proof)
    assert not merkle.verify_consistency(old, size, merkle.leaf_hash(b"x"), new_root, proof)
    if old < size:
        assert not merkle.verify_consistency(old, size, old_root, merkle.leaf_hash(b"x"), proof)
        assert not merkle.verify_consistency(old, size, old_root, new_root, [])


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(ValueError):
        merkle.inclusion_proof(leaves(3), 3)
    with pytest.raises(ValueError):
        merkle.consistency_proof(leaves(3), 0)
    assert not merkle.verify_inclusion(b"", 3, 3, [], b"")
