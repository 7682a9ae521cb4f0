"""The open part: front page and articles. The same bytes for every reader."""

from __future__ import annotations

from flask import Blueprint, abort

from consentkit import ungated
from example_app.reading import collection, find
from example_app.site import edition, render

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
@ungated("a page for everybody")
def home() -> str:
    """The front page."""
    newest, *more = collection("articles", edition())
    return render("home.html", newest=newest, more=more)


@blueprint.get("/articles/<slug>")
@ungated("a page for everybody; films in it are gated by the browser")
def article(slug: str) -> str:
    """One article."""
    found = find("articles", edition(), slug)
    if found is None:
        abort(404)
    others = [text for text in collection("articles", edition()) if text is not found]
    return render("article.html", article=found, others=others)
