"""Template functions for what waits for consent: scripts, embeds, connections.

What they write is the same for every visitor, unless `private=True`: then the server asks the gate, and what is
not allowed is not in the page at all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from flask import current_app, has_request_context, render_template, url_for
from markupsafe import Markup

from consentkit import logs
from consentkit.core.catalog import Catalog, localized
from consentkit.core.errors import CatalogError, UnknownPurpose
from consentkit.core.texts import direction, texts
from consentkit.web import asking
from consentkit.web.caching import for_one_person, not_stored
from consentkit.web.cross_site import here
from consentkit.web.current import current
from consentkit.web.once import embed_id, is_shown

Place = Literal["waiting", "in the page", "left out"]
"""Of a tag: inert until the script wakes it; as it is; not there."""

_ATTRIBUTE = re.compile(r"""[^\s"'<>/=\x00-\x1f\x7f-\x9f]+""")
HINTS = ("preconnect", "dns-prefetch", "prefetch", "preload", "modulepreload")


def attributes(values: Mapping[str, object]) -> Markup:
    """HTML attributes: `True` a bare one, `None` and `False` left out, `_` becomes `-`, `async_` `async`.

    Raises ValueError for a name that HTML does not have (WHATWG HTML, 13.1.2.3).
    """
    written = [
        (name.rstrip("_").replace("_", "-"), value)
        for name, value in values.items()
        if value is not None and value is not False
    ]
    for name, _ in written:
        if not _ATTRIBUTE.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of an attribute")
    return Markup("").join(
        Markup(" {}").format(name) if value is True else Markup(' {}="{}"').format(name, value)
        for name, value in written
    )


def gate_key(catalog: Catalog, key: str) -> str:
    """The key that the browser knows, as in `consent_hint`. Raises UnknownPurpose.

    A purpose that its category's switch answers is that category. One that stands apart and is called
    as a category is `purpose:<key>`.
    """
    if key in catalog.categories:
        return key
    purpose = catalog.purpose(key)
    if purpose.category is not None and purpose not in catalog.apart and not purpose.scoped:
        return purpose.category
    return f"purpose:{purpose.key}" if purpose.key in catalog.categories else purpose.key


def consent_script(
    key: str,
    src: str | None = None,
    *,
    nonce: str | None = None,
    vendor: str | None = None,
    private: bool = False,
    **attrs: object,
) -> Markup:
    """A script that runs when `key`, a purpose or a category, is allowed. `vendor`: the party it comes from.

    `type="module"` and other attributes are passed on; a page with nonces has to give the nonce.
    Raises UnknownPurpose, CatalogError for a vendor that is no recipient.
    """
    catalog = _catalog()
    gate, place = _place(catalog, key, vendor, private)
    if place == "left out":
        return _left_out(gate)
    kind = attrs.pop("type", None)
    shown: dict[str, object]
    if place == "waiting":
        shown = {"type": "text/plain", "data-category": gate, "data-service": _named(gate, key)}
        shown |= {"data-vendor": vendor, "data-type": kind, "data-src": src}
    else:
        shown = {"type": kind, "src": src, **_put_in(gate)}
    return Markup("<script{}></script>").format(attributes({**shown, "nonce": nonce, **attrs}))


def consent_preconnect(
    key: str,
    href: str,
    rel: str = "preconnect",
    *,
    vendor: str | None = None,
    private: bool = False,
    **attrs: object,
) -> Markup:
    """A resource hint: no name is looked up and no connection is made before `key` is allowed.

    `rel`: preconnect, dns-prefetch, prefetch, preload or modulepreload. Raises UnknownPurpose, CatalogError for a
    vendor that is no recipient, ValueError for another `rel`.
    """
    if rel not in HINTS:
        raise ValueError(f"consent_preconnect(rel={rel!r}): write one of {', '.join(HINTS)}")
    gate, place = _place(_catalog(), key, vendor, private)
    if place == "left out":
        return _left_out(gate)
    shown: dict[str, object] = {"rel": rel}
    if place == "waiting":
        shown |= {"data-category": gate, "data-vendor": vendor, "data-src": href}
    else:
        shown |= {"href": href, **_put_in(gate)}
    return Markup("<link{}>").format(attributes({**shown, **attrs}))


def consent_embed(
    key: str,
    title: str,
    *,
    vendor: str | None = None,
    private: bool = False,
    once: bool = True,
    caller: Callable[[], str] | None = None,
) -> Markup:
    """In `{% call consent_embed("marketing", title="Video") %}<iframe …></iframe>{% endcall %}`.

    Until `key` is allowed a notice stands in its place and nothing loads. `vendor`: the party it comes from.
    `once=False` where the content comes from a view with a gate of its own, which does not open for a click.
    Raises UnknownPurpose, CatalogError for a vendor that is no recipient.
    """
    state, catalog = current_app.extensions["consentkit"], _catalog()
    locale: str = state.locale()
    gate, place = _place(catalog, key, vendor, private)
    embed = embed_id(gate, vendor or "", title)
    only_once = place != "in the page" and is_shown(embed) and not_stored()
    shown = place == "in the page" or only_once
    return _render(
        "embed.html",
        key=gate,
        id=embed,
        title=title,
        name=_name_of(catalog, gate, locale),
        vendor=catalog.parties[vendor] if vendor else None,
        asked=_asked(state, catalog, gate),
        href=url_for("consentkit.preferences", locale=locale),
        action=url_for("consentkit.preferences"),
        next=here() if has_request_context() else None,
        once=once,
        content=caller() if caller and (shown or not private) else "",
        shown=shown,
        private=private and not only_once,
        t=texts(locale),
        locale=locale,
        dir=direction(locale),
    )


def _place(catalog: Catalog, key: str, vendor: str | None, private: bool) -> tuple[str, Place]:
    """The key that the browser knows, and where the tag goes."""
    gate = gate_key(catalog, key)
    if vendor is not None:
        _check_vendor(catalog, key, vendor)
    if not private:
        return gate, "waiting"
    if not for_one_person():
        message = (
            "a tag was left out: with private=True %(key)s is asked before the headers of a stream leave"
        )
        logs.log(logging.ERROR, "private_too_late", message, key=gate)
        return gate, "left out"
    return gate, "in the page" if current().allows(gate) else "left out"


def _check_vendor(catalog: Catalog, key: str, vendor: str) -> None:
    """Whoever allows the key has to have been told of the vendor. Raises CatalogError."""
    asked = catalog.purposes_of(key) or tuple(catalog.in_category(key))
    if vendor not in catalog.parties:
        raise CatalogError(
            f"vendor={vendor!r}: there is no such party",
            mend=f"Known parties: {', '.join(sorted(catalog.parties)) or 'none'}",
        )
    if not any(vendor in purpose.recipients for purpose in asked):
        raise CatalogError(
            f"vendor={vendor!r} receives nothing by {key!r}, so a yes to that does not mean it",
            mend=f'Add "{vendor}" to recipients there, with a new version: people are asked again',
        )


def _asked(state: Any, catalog: Catalog, gate: str) -> dict[str, Any] | None:
    """What the button for always needs; None where a browser cannot answer for good."""
    try:
        question = asking.askable(catalog, gate)
    except UnknownPurpose:
        return None
    return None if question.scoped else asking.form_values(state, question, "", None)


def _named(gate: str, key: str) -> str | None:
    service = key.removeprefix("purpose:")
    return service if service not in (gate, gate.removeprefix("purpose:")) else None


def _name_of(catalog: Catalog, gate: str, locale: str) -> str:
    asked = catalog.categories.get(gate) or catalog.purpose(gate)
    title = localized(asked.title, locale, catalog.site.default_locale)
    return title or texts(locale).get(f"category.{gate}.title", gate)


def _put_in(gate: str) -> dict[str, object]:
    """By these the script knows, after another answer, that the page has to be made anew."""
    return {"data-consent-private": gate, "data-consent-shown": True}


def _left_out(gate: str) -> Markup:
    return Markup('<template data-consent-private="{}"></template>').format(gate)


def _catalog() -> Catalog:
    return cast(Catalog, current_app.extensions["consentkit"].kit.catalog)


def _render(template: str, **values: object) -> Markup:
    return Markup(render_template(f"consentkit/{template}", **values))  # noqa: S704
