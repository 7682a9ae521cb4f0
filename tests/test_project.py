"""Checks of the project itself: what it is made of, what it pulls in, what its commands say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "consentkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]

USUAL_LINES = 300
MAX_LINES = 350
MAX_DISTRIBUTIONS = 16

LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json", "yarn.lock"}
# in two halves, so that this file passes its own check
REGISTRY_HOSTS = [
    a + b for a, b in (("pypi", ".org"), ("python", "hosted.org"), ("npm", "js.org"), ("deb.", "debian.org"))
]

# Beside the standard library and what lies below; the layers themselves are import-linter's.
ALLOWED_IMPORTS = {
    "core": {"itsdangerous"},
    "proof": {"cryptography", "itsdangerous"},
    "verify.py": {"cryptography"},
}


def _project_files() -> list[Path]:
    """What git would commit; without git, everything that is not hidden."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in ROOT.rglob("*") if not _hidden(path)]
    return [path for path in found if path.is_file()]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)


# ---------------------------------------------------------------- files


def test_no_lock_file_is_committed() -> None:
    assert [
        path.name for path in _project_files() if path.name in LOCK_FILES or path.match("pylock*.toml")
    ] == []


def test_no_file_names_a_registry_host() -> None:
    named = {
        f"{path.relative_to(ROOT)}: {host}"
        for path in _project_files()
        for host in REGISTRY_HOSTS
        if host.encode() in path.read_bytes()
    }
    assert named == set()


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_requirements_are_pinned_hashed_and_name_no_address(path: Path) -> None:
    text = path.read_text()
    assert "http" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry


def _pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {canonicalize_name(n): v for n, v in re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", text, re.M)}


def _group(name: str) -> Iterator[str]:
    for entry in PYPROJECT["dependency-groups"][name]:
        if isinstance(entry, dict):
            yield from _group(entry["include-group"])
        else:
            yield entry


@pytest.mark.parametrize("name", ["demo", "test"])
def test_requirements_are_those_of_pyproject(name: str) -> None:
    """If this fails: `./run lock`."""
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["http"], *_group("build")]
    if name == "test":
        wanted += [*_group("test"), *(r for e in PROJECT["optional-dependencies"].values() for r in e)]
    pins = _pinned(name)
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, requirement
        assert requirement.specifier.contains(version, prereleases=True), requirement


# ---------------------------------------------------------------- modules


def test_modules_are_short() -> None:
    """About 300 lines; one module in ten may have up to 350."""
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in MODULES}
    long = {name: length for name, length in lengths.items() if length > USUAL_LINES}
    assert {name: length for name, length in long.items() if length > MAX_LINES} == {}
    assert len(long) <= max(2, len(MODULES) // 10), long


def test_no_module_is_a_drawer_for_everything() -> None:
    """A module says what it does; one that grows too long is split by direction (read, write)."""
    drawers = {"util", "utils", "helpers", "common", "misc"}
    assert [path for path in MODULES if path.stem in drawers or path.parent.name in drawers] == []


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize(("part", "allowed"), ALLOWED_IMPORTS.items())
def test_the_inner_layers_need_little(part: str, allowed: set[str]) -> None:
    known = allowed | {"consentkit"} | sys.stdlib_module_names
    paths = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] == part]
    strangers = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        for name in _imported(path)
        if name.partition(".")[0] not in known
    }
    assert strangers == set()


def test_importing_the_package_imports_no_flask() -> None:
    code = "import sys, consentkit; sys.exit('flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ---------------------------------------------------------------- distribution


def test_dependencies_have_lower_bounds_only() -> None:
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        assert [specifier.operator for specifier in Requirement(text).specifier] == [">="], text


def test_a_plain_install_is_small() -> None:
    seen: set[str] = set()
    todo = ["consentkit"]
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in seen:
            seen.add(name)
            needed = map(Requirement, distribution(name).requires or ())
            todo += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    assert len(seen) <= MAX_DISTRIBUTIONS, sorted(seen)


def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (archive.read(n).decode() for n in archive.namelist() if n.endswith("/METADATA"))
    ours = {path.relative_to(ROOT).as_posix() for path in _project_files() if path.is_relative_to(PACKAGE)}
    assert inside == {name for name in ours if not name.endswith(".pyc")}
    assert "consentkit/py.typed" in inside
    assert "\nSummary: Flask extension for " in metadata
    assert "\nClassifier: Framework :: Flask\n" in metadata


def test_the_sdist_holds_what_its_pages_and_tests_need(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--sdist",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    linked = set(re.findall(r"\]\(([\w./-]+)\)", (ROOT / "README.md").read_text("utf-8")))
    assert {link for link in linked if not any(name.startswith(link) for name in inside)} == set()
    assert {"conftest.py", "CHANGELOG.md", "docs/quickstart.md", "tests/conftest.py"} <= inside


# ---------------------------------------------------------------- ./run


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        ["bash", str(ROOT / "run"), *arguments],
        cwd="/",
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("check", "more")])
def test_run_explains_itself(arguments: tuple[str, ...]) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    for command in ("demo", "test", "check", "lock"):
        assert f"./run {command} " in done.stderr


@pytest.mark.parametrize("command", ["test", "check"])
def test_nothing_is_left_out_in_ci(command: str) -> None:
    done = _run(command, CI="true", CONSENTKIT_SKIP="browser")
    assert done.returncode == 1
    assert "CONSENTKIT_SKIP=browser is refused with CI=true" in done.stderr


def test_the_commands_can_be_executed() -> None:
    assert os.access(ROOT / "run", os.X_OK)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
