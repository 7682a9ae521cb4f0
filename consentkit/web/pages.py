"""Our own pages for reading: preferences, policies and their archive, the receipt; no script needed."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, jsonify, make_response, render_template, request, url_for
from markdown_it import MarkdownIt
from markupsafe import Markup

from consentkit.core.catalog import Policy, PolicyVersion, localized
from consentkit.core.errors import UnknownPolicy
from consentkit.core.published import PolicyRelease
from consentkit.core.times import from_us
from consentkit.web.cross_site import safe_next
from consentkit.web.current import current, signals
from consentkit.web.problems import page_context, title_of, wants_html
from consentkit.web.standing import standing, standing_json
from consentkit.web.state import BLUEPRINT, State

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def preferences(state: State) -> Response:
    """What is asked, what was answered, and every button."""
    saved, outdated = "saved" in request.args, "outdated" in request.args
    return preferences_page(state, saved=saved, outdated=outdated, target=safe_next(request.args.get("next")))


def preferences_page(
    state: State, *, saved: bool = False, outdated: bool = False, target: str | None = None
) -> Response:
    """The page; with `outdated` it is the answer 409 to a grant that rested on an older notice."""
    context, notice = page_context(), state.kit.notice(state.locale())
    now = standing(state)
    page = render_template(
        "consentkit/preferences.html",
        notice=notice.data,
        digest=notice.digest,
        action=url_for(f"{BLUEPRINT}.preferences"),
        next=target,
        granted=set(now.granted),
        statuses={key: str(current().status(f"purpose:{key}")) for key in state.kit.catalog.purposes},
        decided=now.decided,
        policies=_policies(state, context["locale"]),
        receipt_url=url_for(f"{BLUEPRINT}.receipt"),
        saved=saved,
        outdated=outdated,
        gpc="gpc" in signals(),
        **context,
    )
    return _private(make_response(page, 409 if outdated and request.method == "POST" else 200))


def status(state: State) -> Response:
    """`GET /consent/status`: the visitor's standing as JSON."""
    return _private(jsonify(standing_json(state, standing(state))))


def state_css(state: State) -> Response:
    """Where no script runs: hides the banner from somebody who decided, shows the line about GPC."""
    rules = []
    if current().subject is not None and standing(state).decided:
        rules.append("[data-consent-banner]{display:none}\n:root{--ck-space:0px}")
    if "gpc" in signals():
        rules.append("[data-consent-gpc]{display:block}")
    response = make_response("\n".join(rules))
    response.content_type = "text/css; charset=utf-8"
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(["Cookie", "Sec-GPC"])
    return response


def policy(state: State, key: str, version: str | None) -> Response:
    """A policy's text in force, or any published version of it: the archive. The same for everybody."""
    found, release, written = _find(state, key, version)
    context = page_context()
    locale = (
        context["locale"] if context["locale"] in written.texts else state.kit.catalog.site.default_locale
    )
    in_force = state.kit.policy_in_effect(key)
    page = render_template(
        "consentkit/policy.html",
        policy={"key": key, "title": title_of(state, key, context["locale"])},
        version=_version(release, written, locale),
        html=render_text(written, locale),
        current=in_force is not None and in_force.version == release.version,
        locales=[
            (code, url_for(f"{BLUEPRINT}.policy", key=key, version=version, locale=code))
            for code in written.texts
        ],
        versions=[
            _archived(key, r, release) for r in reversed(state.kit.runtime.published.policies[found.key])
        ],
        **{**context, "locale": locale},
    )
    response = make_response(page)
    response.vary.add("Accept-Language")
    return response


def receipt(state: State) -> Response:
    """The visitor's own receipt, readable or as JSON (`Accept: application/json` or `?format=json`)."""
    subject = current().subject
    data = state.kit.receipt(subject)
    if request.args.get("format") == "json" or not wants_html():
        return _private(jsonify(data))
    context = page_context()
    answers = [
        {**a, "title": title_of(state, a["item"], context["locale"]), "at": a["effective_at"]}
        for a in data["answers"]
    ]
    json_url = url_for(f"{BLUEPRINT}.receipt", format="json")
    page = render_template(
        "consentkit/receipt.html", receipt={**data, "answers": answers}, json_url=json_url, **context
    )
    return _private(make_response(page))


def render_text(version: PolicyVersion, locale: str) -> Markup:
    """A text as HTML: Markdown without raw HTML, or plain text."""
    text = version.texts[locale]
    if version.media_type == "text/plain":
        return Markup('<pre class="ck-plain">{}</pre>').format(text)
    return Markup(_markdown.render(text))  # noqa: S704  raw HTML is switched off, links are checked by the renderer


def find_policy(state: State, key: str) -> tuple[Policy, PolicyRelease, PolicyVersion]:
    """A policy with its version in force. 404 when there is none."""
    return _find(state, key, None)


def _find(state: State, key: str, version: str | None) -> tuple[Policy, PolicyRelease, PolicyVersion]:
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


def _written(state: State, policy: Policy, release: PolicyRelease) -> PolicyVersion:
    """The text of a release; from the database where a newer process has published it (a rolling deploy)."""
    known = next((v for v in policy.versions if v.version == release.version), None)
    if known is not None:
        return known
    stored = {code: state.kit.document(digest) for code, digest in release.texts.items()}
    texts = {code: document[1] for code, document in stored.items() if document is not None}
    media_type = next((document[0] for document in stored.values() if document is not None), "text/markdown")
    return PolicyVersion(release.version, change=release.change, texts=texts, media_type=media_type)


def _version(release: PolicyRelease, written: PolicyVersion, locale: str) -> dict[str, Any]:
    return {
        "version": release.version,
        "effective": from_us(release.effective_us),
        "published": from_us(release.published_us),
        "summary": localized(written.summary, locale),
        "change": release.change.value,
        "digest": release.texts.get(locale),
    }


def _archived(key: str, release: PolicyRelease, shown: PolicyRelease) -> dict[str, Any]:
    return {
        "version": release.version,
        "effective": from_us(release.effective_us),
        "url": url_for(f"{BLUEPRINT}.policy", key=key, version=release.version),
        "current": release.version == shown.version,
    }


def _policies(state: State, locale: str) -> list[dict[str, Any]]:
    listed = []
    for key, found in state.kit.catalog.policies.items():
        decision = current().decide(key)
        listed.append(
            {
                "key": key,
                "title": title_of(state, key, locale),
                "url": url_for(f"{BLUEPRINT}.policy", key=key),
                "version": decision.version,
                "accepted": True if decision else (None if decision.event_id is None else False),
                "required": found.required,
            }
        )
    return listed


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
    return response
