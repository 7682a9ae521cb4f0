"""The functions of templates: consent_head, consent_banner, consent_notice, consent_announcements and others.

Their output is the same for every visitor: no token, nothing personal, and a nonce only if one was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flask import current_app, render_template, url_for
from markupsafe import Markup

from consentkit.core.catalog import Catalog
from consentkit.core.errors import SchemaOutdated, StoreUnavailable
from consentkit.core.notice import Notice
from consentkit.core.texts import direction, texts
from consentkit.web import announcements, asking, assets
from consentkit.web.gated_tags import (
    attributes,
    consent_embed,
    consent_preconnect,
    consent_script,
    gate_key,
)

GCM_SIGNALS = (
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "functionality_storage",
    "personalization_storage",
    "security_storage",
)


def _state() -> Any:
    return current_app.extensions["consentkit"]


def _catalog() -> Catalog:
    return cast(Catalog, _state().kit.catalog)


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


def _render(template: str, **values: object) -> Markup:
    return Markup(render_template(f"consentkit/{template}", **values))  # noqa: S704


def consent_head(nonce: str | None = None) -> Markup:
    """Style sheet and scripts, for `<head>`, before the page's own scripts. `nonce`: the page's own."""
    kit, inline = _state().kit, _state().settings.inline
    content = assets.inlined if inline else assets.url
    return _render(
        "head.html",
        inline=inline,
        style=content(assets.STYLE),
        first=content(assets.HEAD),
        script=assets.url(assets.SCRIPT),
        revision=kit.revision,
        action=url_for("consentkit.preferences"),
        status=url_for("consentkit.status"),
        state_css=url_for("consentkit.state_css"),
        ask=bool(kit.catalog.signals) or kit.facts.relaxes(kit.catalog),
        gcm=gcm_of(kit.catalog),
        nonce=nonce,
    )


def consent_banner(position: str = "bottom") -> Markup:
    """The banner, as the first element of `<body>`: `bottom` (fixed) or `top` (in the flow of the page)."""
    state, catalog = _state(), _catalog()
    if not catalog.choices and not catalog.apart:
        return Markup("")
    notice: Notice = state.kit.notice(state.locale())
    return _render(
        "banner.html",
        notice=notice.data,
        digest=notice.digest,
        action=url_for("consentkit.preferences"),
        t=notice.data["texts"],
        position=position,
        gpc=any("gpc" in purpose.signals for purpose in catalog.purposes.values()),
    )


def consent_link(text: str | None = None, **attrs: object) -> Markup:
    """A link to the preferences for the foot of every page; with script it opens the dialog."""
    locale = _state().locale()
    return Markup("<a{}>{}</a>").format(
        attributes(
            {
                "href": url_for("consentkit.preferences", locale=locale),
                "data-consent-action": "preferences",
                **attrs,
            }
        ),
        text or texts(locale)["banner.link"],
    )


def consent_announcements(nonce: str | None = None) -> Markup:
    """The bar of announcements and coming versions, until acknowledged; the same for everybody."""
    state = _state()
    locale: str = state.locale()
    try:
        found = announcements.for_everybody(state)
    except (StoreUnavailable, SchemaOutdated):
        found = []  # the page of the host is shown all the same
    return _render(
        "announcements_bar.html",
        announcements=found,
        action=url_for("consentkit.announcements"),
        status=url_for("consentkit.status", locale=locale),
        style=assets.url(assets.NOTICES_STYLE),
        script=assets.url(assets.NOTICES),
        t=texts(locale),
        locale=locale,
        dir=direction(locale),
        nonce=nonce,
    )


def consent_notice(key: str, scope: str = "", *, nonce: str | None = None) -> Markup:
    """A purpose's own notice with a yes and a no, where its data is collected; the same for everybody.

    `scope`: the one thing that a scoped purpose is asked for. Raises UnknownPurpose, also for a purpose that
    rests on something else than consent.
    """
    state = _state()
    return _render(
        "notice.html",
        asked=asking.form_values(state, asking.askable(_catalog(), key), scope, None),
        style=assets.url(assets.NOTICES_STYLE),
        script=assets.url(assets.NOTICES),
        t=texts(state.locale()),
        nonce=nonce,
    )


functions: dict[str, Callable[..., Any]] = {
    "consent_announcements": consent_announcements,
    "consent_asset": assets.url,
    "consent_banner": consent_banner,
    "consent_embed": consent_embed,
    "consent_head": consent_head,
    "consent_link": consent_link,
    "consent_notice": consent_notice,
    "consent_preconnect": consent_preconnect,
    "consent_script": consent_script,
}
"""The functions by the name that templates use."""
