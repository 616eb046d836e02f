"""The shared vectors of HSM and ceremony, and an HSM that takes their keys as a partner's blocks."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import CityError
from hsm_sim import generic_requests as generic
from tests.hsm_bench import KnownKeys

with warnings.catch_warnings():  # the oracle imports ciphers from where they used to be
    warnings.simplefilter("ignore")
    from psec import tr31 as oracle

VECTORS = json.loads((Path(__file__).parent / "vectors" / "hsm.json").read_text("utf-8"))
ZONE = bytes(range(32, 64))


class VectorHsm(KnownKeys):
    """With a zone key that a partner, psec, has too."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.zone = self.load("zone", ZONE, "A3", "K0", "B")

    def token(self, key: bytes, usage: str, letter: str, mode: str = "N") -> str:
        """A partner's key, wrapped by psec under the zone key, as a token of the HSM."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = oracle.Header("D", usage, letter, mode, "00", "E")
            block = oracle.wrap(ZONE, header, key)
        return self.local.call(generic.ImportWorkKey(self.zone, "R" + block))[0]


def vector_hsm(folder: Path) -> Iterator[VectorHsm]:
    """For a fixture of a module."""
    made = VectorHsm(folder / "hsm")
    yield made
    made.hsm.log.close()


def group(name: str) -> list[Any]:
    """The vectors of a group as test parameters: what goes in, what comes out."""
    return [pytest.param(v["in"], v["out"], id=v["id"]) for v in VECTORS["groups"][name]["tests"]]


def b(text: str) -> bytes:
    """Bytes of hex."""
    return bytes.fromhex(text)


def refused(code: str) -> Any:
    """The HSM answers this code."""
    return pytest.raises(CityError, match=f"HSM-{code}")
