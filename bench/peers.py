"""Flask-Consent and django-cookie-consent on the same page, each beside the framework it is made for.

They are installed in an environment of their own, because neither is wanted in ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import line

HERE = Path(__file__).parent
VENV, REQUIREMENTS = HERE.parent / ".venv-peers", HERE.parent / "requirements" / "peers.txt"
ROUNDS = 3


def install() -> str:
    """The interpreter of their environment."""
    python, stamp = VENV / "bin" / "python", VENV / ".installed"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
        stamp.write_text(REQUIREMENTS.read_text())
    return str(python)


def run() -> None:
    """Their pages, and a choice."""
    python = install()
    subprocess.run([python, "peers_flask.py"], cwd=HERE, check=True)
    found: dict[str, float] = {}
    for _ in range(ROUNDS):
        for said in ({}, {"DCC": "1"}):
            for name, each in _django(python, said).items():
                found[name] = min(each, found.get(name, each))
    for name, what in {"before": "page, before a choice", "after": "page, after a choice"}.items():
        line(f"django-cookie-consent: {what}", found[name], found["bare"], name="bare")
    print(
        f"  django-cookie-consent: a choice, durable by SQLite's default   {found['choice'] * 1e6:,.0f} us of CPU"
    )


def _django(python: str, said: dict[str, str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=HERE, prefix="tmp-") as folder:
        command = [python, "peers_django.py", folder]
        done = subprocess.run(
            command, cwd=HERE, check=True, env={**os.environ, **said}, stdout=subprocess.PIPE
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found
