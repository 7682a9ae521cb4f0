"""Articles and letters: Markdown files with a head of a few lines."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

FOLDER = Path(__file__).parent
WORDS_A_MINUTE = 200


@dataclass(frozen=True)
class Text:
    """One text in one language. `film`: the name of a film to show in it."""

    slug: str
    title: str
    teaser: str
    date: date | None
    film: str | None
    html: Markup
    minutes: int


@functools.cache
def collection(name: str, locale: str) -> tuple[Text, ...]:
    """All texts of a folder in one language, the newest first."""
    texts = (_read(path) for path in (FOLDER / name).glob(f"*.{locale}.md"))
    return tuple(sorted(texts, key=lambda text: (text.date or date.min, text.slug), reverse=True))


def find(name: str, locale: str, slug: str) -> Text | None:
    """One text, or None."""
    return next((text for text in collection(name, locale) if text.slug == slug), None)


def _read(path: Path) -> Text:
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    said = dict(line.split(": ", 1) for line in head.splitlines())
    return Text(
        slug=path.name.split(".")[0],
        title=said["title"],
        teaser=said.get("teaser", ""),
        date=date.fromisoformat(said["date"]) if "date" in said else None,
        film=said.get("film"),
        html=Markup(MarkdownIt("commonmark", {"html": False}).render(body)),  # noqa: S704  our own files
        minutes=max(1, round(len(body.split()) / WORDS_A_MINUTE)),
    )
