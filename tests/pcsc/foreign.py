"""Programs of somebody else: found on the PATH, skipped when absent, demanded where nothing may be skipped."""

import os
import shutil

import pytest


def find_program(name: str) -> str:
    """The program's path; without it the test is skipped, or fails when CITYCARD_REQUIRE_PCSC is set."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("CITYCARD_REQUIRE_PCSC"):
        pytest.fail(f"{name} is not installed, and this run demands real PC/SC")
    pytest.skip(f"{name} is not installed")
