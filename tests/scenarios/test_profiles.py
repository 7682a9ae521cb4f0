"""The five services as somebody starts them, and as a deployment checks them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from urllib.request import urlopen

import pytest

from consentkit import ConsentKit
from consentkit.core.webhooks import new_secret
from consentkit.testing import prepare, temporary_database

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "example_app" / "profiles").glob("*/__init__.py"))


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "EXAMPLE_INSTANCE": str(folder), "PORT": "0"}


@contextmanager
def started(name: str, folder: Path) -> Iterator[str]:
    """The address that it prints once it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"example_app.profiles.{name}"],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                return
        raise AssertionError(process.stderr.read() if process.stderr else "it printed no address")
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_there_are_five() -> None:
    assert NAMES == ["calling_app", "chat_sdk", "chatbot_platform", "iot_vendor", "phone_tools_shop"]


@pytest.mark.parametrize("name", NAMES)
def test_it_serves_its_choices(name: str, tmp_path: Path) -> None:
    with started(name, tmp_path) as url, urlopen(f"{url}/consent", timeout=20) as page:
        assert page.status == 200
        assert b'name="decision"' in page.read()


@pytest.mark.parametrize("name", NAMES)
def test_its_catalogue_is_good_and_each_view_says_what_it_is_about(name: str, tmp_path: Path) -> None:
    profile = import_module(f"example_app.profiles.{name}")
    parties = ConsentKit.from_file(profile.FOLDER / "consent.toml").catalog.parties.values()
    secrets = {"CONSENTKIT_WEBHOOK_SECRETS": {party.key: new_secret() for party in parties if party.webhook}}
    app = profile.create_app({**temporary_database(tmp_path), **secrets}, instance_path=tmp_path)
    prepare(app)
    for command in (["check"], ["routes", "--fail-undeclared"]):
        done = app.test_cli_runner().invoke(args=["consent", *command])
        assert done.exit_code == 0, done.output
