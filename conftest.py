"""The Python examples of README.md and docs/ are tests: those of one page run in order, as one program.

Leave one out with a comment ``<!-- skip: next -->`` above it, or mark it ``text`` if it is no program.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


@pytest.fixture(scope="module")
def _empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a page writes (a database, a key) is written into a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        yield


def _as_main(namespace: dict[str, Any]) -> None:
    namespace["__name__"] = "__main__"


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    path=str(Path(__file__).parent),
    setup=_as_main,
    fixtures=["_empty_folder"],
).pytest()
