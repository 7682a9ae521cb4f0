"""`./run bench` measures what it says. How long anything takes is asserted nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "lines"), [("decide", 4), ("audience", 7)])
def test_every_line_has_both_sides(name: str, lines: int) -> None:
    done = bench(name, "--on", "sqlite", "--subjects", "300")
    assert done.returncode == 0, done.stderr
    found = re.findall(
        r"^  .+ [\d,.]+ u?s   (?:raw|same |plain) +[\d,.]+ u?s   ratio ", done.stdout, re.MULTILINE
    )
    assert len(found) == lines, done.stdout


def test_a_name_that_is_none() -> None:
    done = bench("decide", "nothing")
    assert done.returncode == 2
    assert "there is no nothing" in done.stderr
