"""The message to a guardian, ready to be sent: title and plain text in the language of the request.

It says what COPPA's direct notice has to say (16 CFR 312.4(c)(1)): that consent is needed, for what, by a link to
the whole notice, and that the address is deleted where nobody answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from consentkit.core.catalog import Catalog, localized
from consentkit.core.inviting import CONFIRM, INVITE
from consentkit.core.texts import texts
from consentkit.core.times import from_us


def message_of(
    catalog: Catalog,
    kind: str,
    items: Sequence[str],
    *,
    locale: str,
    url: str,
    page: str,
    code: str,
    child: str,
    expires_us: int,
) -> tuple[str, str]:
    """Title and text of a message of this kind. `page`: where the code is typed."""
    words = texts(locale)
    names = {"site": site_of(catalog), "page": page, "code": code, "date": day(expires_us), "child": child}

    def say(key: str) -> str:
        text = words[f"guardian.{key}"]
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    asked = "\n".join(f"- {title_of(catalog, key, locale)}" for key in items)
    parts = [say(f"mail_{kind}"), say("mail_child") if child else "", f"{say('mail_asked')}\n{asked}"]
    parts += [f"{say('mail_open')}\n{url}", say("mail_code"), say("mail_until")]
    parts += [say("mail_unknown")] if kind in (INVITE, CONFIRM) else []
    contact = ", ".join(filter(None, (catalog.controller.name, catalog.controller.contact)))
    return say(f"mail_{kind}_title"), "\n\n".join(filter(None, (*parts, contact))) + "\n"


def site_of(catalog: Catalog) -> str:
    """What the site is called."""
    return catalog.site.name or catalog.controller.name


def title_of(catalog: Catalog, item: str, locale: str) -> str:
    """The title of a purpose or policy."""
    found = catalog.purposes.get(item) or catalog.policies[item]
    return localized(found.title, locale, catalog.site.default_locale) or item


def day(us: int) -> str:
    """An instant as people of every language read it."""
    return from_us(us).strftime("%Y-%m-%d %H:%M UTC")
