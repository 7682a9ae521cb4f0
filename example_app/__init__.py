"""Low Water, a small magazine: what a site with consentkit looks like. `./run demo` serves it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request
from werkzeug.exceptions import NotFound

from consentkit import ConsentKit
from consentkit.integrations.verifiers import HttpVerifier
from example_app import accounts, guardians, letters, metrics, pages
from example_app.site import EDITIONS, Site, edition, render, template_values

FOLDER = Path(__file__).parent


def create_app(
    config: Mapping[str, Any] | None = None,
    *,
    instance_path: str | os.PathLike[str] | None = None,
    terms: str | None = None,
) -> Flask:
    """The site. `config` goes over everything else; `terms` is the newest version that is published."""
    folder = instance_path or os.environ.get("EXAMPLE_INSTANCE")
    app = Flask(__name__, instance_path=str(Path(folder).resolve()) if folder else None)
    Path(app.instance_path).mkdir(parents=True, exist_ok=True)
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True)
    app.config.update(config or {})
    if not app.secret_key:
        app.secret_key = _secret(Path(app.instance_path) / "secret.key")

    consent = _consent(terms or os.environ.get("EXAMPLE_TERMS", "1"))
    consent.subject_loader(accounts.current_account)
    consent.locale_loader(edition)
    consent.guardian_mailer(guardians.send)
    _add_verifier(consent, app.config)
    consent.init_app(app)

    app.extensions["example_app"] = Site.open(consent, app.instance_path)
    for locale in EDITIONS:
        prefix = None if locale == "en" else f"/{locale}"
        for blueprint in (pages.blueprint, letters.blueprint, accounts.blueprint, guardians.blueprint):
            app.register_blueprint(blueprint, name=f"{locale}_{blueprint.name}", url_prefix=prefix)
    app.register_blueprint(metrics.blueprint)
    app.context_processor(template_values)
    app.before_request(_only_from_here)
    app.after_request(_headers)
    app.register_error_handler(404, _not_found)
    return app


def _consent(terms: str) -> ConsentKit:
    """The kit. So that one can see the terms change, versions newer than `terms` are held back."""
    consent = ConsentKit.from_file(FOLDER / "consent.toml")
    catalog = consent.catalog
    policy = catalog.policies["terms"]
    names = [version.version for version in policy.versions]
    if terms not in names:
        raise ValueError(f"EXAMPLE_TERMS is one of {', '.join(names)}, not {terms!r}")
    if terms == names[-1]:
        return consent
    known = replace(policy, versions=tuple(policy.versions)[: names.index(terms) + 1])
    return ConsentKit(catalog=replace(catalog, policies={**catalog.policies, "terms": known}))


def _add_verifier(consent: ConsentKit, config: Mapping[str, Any]) -> None:
    """Harbour ID checks guardians, where it is at work: `python -m example_app` starts it beside the site."""
    if "VERIFIER_URL" in config:
        url, secret = f"{config['VERIFIER_URL']}/checks", config["VERIFIER_SECRET"]
        consent.add_verifier(HttpVerifier("harbour-id", url, secret, ["gov_id"], title="Harbour ID"))


def _secret(path: Path) -> str:
    """The secret of this instance; made once, so that nobody is signed out by a restart."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text()


def _only_from_here() -> None:
    """A form of ours comes from a page of ours; without the header the Lax session cookie stays away."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        abort(403)


def _headers(response: Response) -> Response:
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'; object-src 'none'",
    )
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


def _not_found(error: NotFound) -> tuple[str, int]:
    reason = None if error.description == NotFound.description else error.description
    return render("not_found.html", reason=reason), 404
