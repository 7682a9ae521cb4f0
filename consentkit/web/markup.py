"""The functions of templates: consent_head, consent_banner, consent_notice, consent_announcements and others.

Their output is the same for every visitor: no token, nothing personal, and a nonce only if one was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import url_for
from markupsafe import Markup

from consentkit.core.announcing import Announcement
from consentkit.core.catalog import Catalog
from consentkit.core.errors import SchemaOutdated, StoreUnavailable
from consentkit.core.texts import direction, for_people, texts
from consentkit.web import announcements, asking, assets, own_cookies
from consentkit.web.gated_tags import (
    attributes,
    consent_embed,
    consent_preconnect,
    consent_script,
    gate_key,
)
from consentkit.web.rendered import render
from consentkit.web.state import State, current_state

GCM_SIGNALS = (
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "functionality_storage",
    "personalization_storage",
    "security_storage",
)


def gcm_of(catalog: Catalog) -> str | None:
    """Google Consent Mode's signals with the keys that must all be allowed; None where no purpose has one."""
    keys: dict[str, list[str]] = {}
    for purpose in catalog.purposes.values():
        for signal in purpose.gcm:
            keys.setdefault(signal, []).append(gate_key(catalog, f"purpose:{purpose.key}"))
    if not keys:
        return None
    names = dict.fromkeys((*GCM_SIGNALS, *keys))
    return " ".join(f"{name}={','.join(dict.fromkeys(keys.get(name, ())))}" for name in names)


def consent_head(nonce: str | None = None) -> Markup:
    """Style sheet and scripts, for `<head>`, before the page's own scripts. `nonce`: the page's own."""
    state = current_state()
    return state.rendered.template("head.html", None, lambda: _head(state), nonce)


def _head(state: State) -> dict[str, object]:
    kit, inline = state.kit, state.settings.inline
    content = assets.inlined if inline else assets.url
    return {
        "inline": inline,
        "style": content(assets.STYLE),
        "first": content(assets.HEAD),
        "script": assets.url(assets.SCRIPT),
        "revision": kit.revision,
        "action": url_for("consentkit.preferences"),
        "status": url_for("consentkit.status"),
        "state_css": url_for("consentkit.state_css"),
        "ask": bool(kit.catalog.signals) or kit.facts.relaxes(kit.catalog),
        "gpc": " ".join(_heeding(kit.catalog)),
        "gcm": gcm_of(kit.catalog),
    }


def _heeding(catalog: Catalog) -> Sequence[str]:
    """Keys of what an opt-out signal ends."""
    heeding = (p.key for p in catalog.purposes.values() if "gpc" in p.signals)
    return tuple(dict.fromkeys(gate_key(catalog, f"purpose:{key}") for key in heeding))


def consent_banner(position: str = "bottom") -> Markup:
    """The banner, as the first element of `<body>`: `bottom` (fixed) or `top` (in the flow of the page)."""
    state = current_state()
    if not state.asks:
        return Markup("")
    locale = state.locale()
    return state.rendered.template(
        "banner.html", (locale, position), lambda: _banner(state, locale, position)
    )


def _banner(state: State, locale: str, position: str) -> dict[str, object]:
    catalog, notice = state.kit.catalog, state.kit.notice(locale)
    return {
        "notice": notice.data,
        "digest": notice.digest,
        "action": url_for("consentkit.preferences"),
        "t": texts(locale),
        "position": position,
        "own_cookies": own_cookies.for_readers(own_cookies.own_cookies(state), locale),
        "gpc": any("gpc" in purpose.signals for purpose in catalog.purposes.values()),
    }


def consent_link(text: str | None = None, **attrs: object) -> Markup:
    """A link to the preferences for the foot of every page; with script it opens the dialog."""
    state = current_state()
    locale = state.locale()
    if attrs:
        return _link(locale, text, attrs)
    return state.rendered.once(("link", locale, text), lambda: _link(locale, text, {}))


def _link(locale: str, text: str | None, attrs: Mapping[str, object]) -> Markup:
    href = url_for("consentkit.preferences", locale=locale)
    return Markup("<a{}>{}</a>").format(
        attributes({"href": href, "data-consent-action": "preferences", **attrs}),
        text or texts(locale)["banner.link"],
    )


def consent_announcements(nonce: str | None = None) -> Markup:
    """The bar of announcements and coming versions, until acknowledged; the same for everybody."""
    state = current_state()
    locale = state.locale()
    try:
        found = state.kit.announcements(None)
    except (StoreUnavailable, SchemaOutdated):
        found = ()  # the page of the host is shown all the same
    key = (locale, *((each.kind, each.key, each.ordinal, each.effective_us) for each in found))
    return state.rendered.template("announcements_bar.html", key, lambda: _bar(state, locale, found), nonce)


def _bar(state: State, locale: str, found: Sequence[Announcement]) -> dict[str, object]:
    return {
        "announcements": [announcements.describe(state, each) for each in found],
        "action": url_for("consentkit.announcements"),
        "status": url_for("consentkit.status", locale=locale, hint="keep"),
        "style": assets.url(assets.NOTICES_STYLE),
        "script": assets.url(assets.NOTICES),
        "t": texts(locale),
        "locale": locale,
        "dir": direction(locale),
    }


def consent_notice(key: str, scope: str = "", *, nonce: str | None = None) -> Markup:
    """A purpose's own notice with a yes and a no, where its data is collected; the same for everybody.

    `scope`: the one thing that a scoped purpose is asked for. Raises UnknownPurpose, also for a purpose that
    rests on something else than consent.
    """
    state = current_state()
    question = asking.askable(state.kit.catalog, key)
    if scope:  # as many as there are comments or devices
        return render("notice.html", {**_notice(state, question, scope), "nonce": nonce})
    return state.rendered.template(
        "notice.html", (key, state.locale()), lambda: _notice(state, question, ""), nonce
    )


def _notice(state: State, question: asking.Question, scope: str) -> dict[str, object]:
    return {
        "asked": asking.form_values(state, question, scope, None),
        "style": assets.url(assets.NOTICES_STYLE),
        "script": assets.url(assets.NOTICES),
        "t": texts(state.locale()),
    }


functions: dict[str, Callable[..., Any]] = {
    "consent_announcements": consent_announcements,
    "consent_asset": assets.url,
    "consent_banner": consent_banner,
    "consent_duration": for_people,
    "consent_embed": consent_embed,
    "consent_head": consent_head,
    "consent_link": consent_link,
    "consent_notice": consent_notice,
    "consent_preconnect": consent_preconnect,
    "consent_script": consent_script,
}
"""The functions by the name that templates use."""
