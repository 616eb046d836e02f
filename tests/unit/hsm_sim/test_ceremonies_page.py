"""docs/ceremonies.md is true: the rehearsal's commands run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "ceremonies.md").read_text("utf-8")


@pytest.mark.slow
def test_the_rehearsal_runs_as_it_stands(tmp_path):
    (tmp_path / "citycard").write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
    (tmp_path / "citycard").chmod(0o755)
    (blocks,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    said = subprocess.run(
        ["sh", "-eu", "-c", blocks],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
    )
    assert said.returncode == 0, said.stderr
    assert "KEY CEREMONIES hsm-01.city.example  VALID" in said.stdout
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "init.md").read_text("utf-8").count("| component |") == 3


def test_every_command_named_on_the_page_exists():
    from cli.ceremony import app

    known = {command.name for command in app.registered_commands}
    named = set(re.findall(r"citycard ceremony ([a-z]+)", PAGE))
    assert named <= known
    assert {"script", "person", "run", "sign", "close", "export", "kcv", "verify"} <= named
