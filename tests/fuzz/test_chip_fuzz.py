"""A short run of the chip's fuzz target, and a slow one guided by coverage."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.chip_fuzz import images, play

ATHERIS_SECONDS = 20


@pytest.fixture(scope="module")
def bases():
    return images()


@pytest.mark.parametrize("seed", range(40))
def test_random_scripts(bases, seed):
    assert play(bases[seed % len(bases)], seed) > 50


@pytest.mark.slow
def test_scripts_guided_by_coverage(tmp_path):
    pytest.importorskip("atheris")
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.fuzz.chip_fuzz", "--atheris", "-seed=1",
            f"-max_total_time={ATHERIS_SECONDS}", f"-artifact_prefix={tmp_path}/", str(tmp_path),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=ATHERIS_SECONDS * 6,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done " in done.stderr
