"""Digests for reading aloud: PGP words, and hex in groups of four.

The word list stands in the verifier, which has to run alone.
"""

from hsm_sim.ceremony.verifier import pgp_words

GROUP = 4


def words(digest: bytes) -> str:
    """The PGP words of a digest, one for each byte.

    >>> words(bytes.fromhex("E582"))
    'topmost Istanbul'
    """
    return " ".join(pgp_words(digest))


def groups(digest: bytes) -> str:
    """Lower-case hex in groups of four.

    >>> groups(bytes.fromhex("2F9C81AA"))
    '2f9c 81aa'
    """
    text = digest.hex()
    return " ".join(text[place : place + GROUP] for place in range(0, len(text), GROUP))
