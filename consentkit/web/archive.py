"""The public archive: every version of every policy in every language, and what changed; the same for everybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from flask import Response, abort, make_response, render_template, url_for
from markdown_it import MarkdownIt
from markupsafe import Markup

from consentkit.core.catalog import Policy, PolicyVersion, localized
from consentkit.core.difference import Block, compare
from consentkit.core.errors import UnknownPolicy
from consentkit.core.published import PolicyRelease
from consentkit.core.texts import direction
from consentkit.core.times import from_us
from consentkit.web.problems import page_context, title_of
from consentkit.web.state import BLUEPRINT, State

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
_FOLDED_FROM = 4


def policy(state: State, key: str, version: str | None) -> Response:
    """A policy's text in force, or any published version of it."""
    found, release, written = find_policy(state, key, version)
    context = page_context()
    locale = text_locale(state, written, context["locale"])
    releases = state.kit.runtime.published.policies[key]
    page = render_template(
        "consentkit/policy.html",
        policy={
            "key": key,
            "title": title_of(state, key, context["locale"]),
            "announcement": found.kind == "announcement",
        },
        version=_version(state, release, written, locale, context["locale"]),
        html=render_text(written, locale),
        text=language(locale),
        locales=[(code, _url(key, version, locale=code)) for code in written.texts],
        versions=[_listed(state, r, release) for r in reversed(releases)],
        coming=_coming(state, found, release, context["locale"]),
        **context,
    )
    return _public(page)


def changes(state: State, key: str, version: str) -> Response:
    """What a version changed. 404 for the first one: there is nothing before it."""
    found, release, written = find_policy(state, key, version)
    if release.ordinal == 1:
        abort(404, "This is the first version: there is none before it to compare with.")
    before = state.kit.runtime.published.policies[key][release.ordinal - 2]
    earlier = _written(state, found, before)
    context = page_context()
    locale = text_locale(state, written, context["locale"])
    if locale not in earlier.texts:
        locale = state.kit.catalog.site.default_locale
    blocks = compare(earlier.texts[locale], written.texts[locale])
    page = render_template(
        "consentkit/diff.html",
        policy={"key": key, "title": title_of(state, key, context["locale"])},
        old=_version(state, before, earlier, locale, context["locale"]),
        new=_version(state, release, written, locale, context["locale"]),
        parts=list(_folded(blocks)),
        changed=any(block.changed for block in blocks),
        text=language(locale),
        locales=[
            (code, url_for(f"{BLUEPRINT}.changes", key=key, version=version, locale=code))
            for code in written.texts
            if code in earlier.texts
        ],
        **context,
    )
    return _public(page)


def find_policy(state: State, key: str, version: str | None) -> tuple[Policy, PolicyRelease, PolicyVersion]:
    """A policy with a version, None: the one in force. 404 when there is none."""
    try:
        found = state.kit.catalog.policy(key)
    except UnknownPolicy:
        abort(404)
    releases = state.kit.runtime.published.policies[key]
    release = (
        state.kit.policy_in_effect(key)
        if version is None
        else next((r for r in releases if r.version == version), None)
    )
    if release is None:
        abort(404)
    return found, release, _written(state, found, release)


def announced(state: State, release: PolicyRelease) -> bool:
    """Whether a version is published and not in force yet."""
    coming = state.kit.runtime.published.announced(release.policy, state.kit.runtime.clock.now())
    return release in coming


def render_text(version: PolicyVersion, locale: str) -> Markup:
    """A text as HTML: Markdown without raw HTML, or plain text."""
    text = version.texts[locale]
    if version.media_type == "text/plain":
        return Markup('<pre class="ck-plain">{}</pre>').format(text)
    return Markup(_markdown.render(text))  # noqa: S704  raw HTML is switched off, links are checked by the renderer


def text_locale(state: State, written: PolicyVersion, wanted: str) -> str:
    """The language in which a text is shown on a page of the wanted one."""
    return wanted if wanted in written.texts else state.kit.catalog.site.default_locale


def language(locale: str) -> dict[str, str]:
    """`lang` and `dir` of a text's container: the page around it may be in another language."""
    return {"lang": locale, "dir": direction(locale)}


def _written(state: State, policy: Policy, release: PolicyRelease) -> PolicyVersion:
    """The text of a release; from the database where a newer process has published it (a rolling deploy)."""
    known = next((v for v in policy.versions if v.version == release.version), None)
    if known is not None:
        return known
    stored = {code: state.kit.document(digest) for code, digest in release.texts.items()}
    texts = {code: document[1] for code, document in stored.items() if document is not None}
    media_type = next((document[0] for document in stored.values() if document is not None), "text/markdown")
    return PolicyVersion(release.version, change=release.change, texts=texts, media_type=media_type)


def _version(
    state: State, release: PolicyRelease, written: PolicyVersion, locale: str, page_locale: str
) -> dict[str, Any]:
    default = state.kit.catalog.site.default_locale
    return {
        **_listed(state, release, release),
        "published": from_us(release.published_us),
        "summary": localized(written.summary, page_locale, default),
        "change": release.change.value,
        "digest": release.texts.get(locale),
    }


def _listed(state: State, release: PolicyRelease, shown: PolicyRelease) -> dict[str, Any]:
    key, version = release.policy, release.version
    in_force = state.kit.policy_in_effect(key)
    first = release.ordinal == 1
    return {
        "version": version,
        "effective": from_us(release.effective_us),
        "url": _url(key, version),
        "changes": None if first else url_for(f"{BLUEPRINT}.changes", key=key, version=version),
        "shown": version == shown.version,
        "current": in_force is not None and in_force.version == version,
        "announced": announced(state, release),
        "accept": url_for(f"{BLUEPRINT}.accept", key=key, version=version),
    }


def _coming(state: State, policy: Policy, shown: PolicyRelease, locale: str) -> list[dict[str, Any]]:
    """Versions that are announced, for the page of another one."""
    coming = state.kit.runtime.published.announced(policy.key, state.kit.runtime.clock.now())
    return [
        _version(state, release, _written(state, policy, release), locale, locale)
        for release in coming
        if release.version != shown.version
    ]


def _url(key: str, version: str | None, **values: Any) -> str:
    return url_for(f"{BLUEPRINT}.policy", key=key, version=version, **values)


def _folded(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """The blocks in order; of a long stretch without a change the inner ones are folded."""
    at = 0
    for changed, group in groupby(blocks, key=lambda block: block.changed):
        run = list(group)
        first, last = at == 0, at + len(run) == len(blocks)
        at += len(run)
        if changed or len(run) < _FOLDED_FROM:
            yield {"folded": False, "blocks": run}
            continue
        head, tail = (0 if first else 1), len(run) - (0 if last else 1)
        for folded, part in ((False, run[:head]), (True, run[head:tail]), (False, run[tail:])):
            if part:
                yield {"folded": folded, "blocks": part}


def _public(page: str) -> Response:
    response = make_response(page)
    response.vary.add("Accept-Language")
    return response
