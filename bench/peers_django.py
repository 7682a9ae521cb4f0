"""Run by `peers.py` in an environment of their own: what django-cookie-consent costs a page."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from plain_site import LAYOUT, PAGE, THINGS
from timing import turns, visit

ROUNDS, CALLS = 200, 20

BANNER = """{% load cookie_consent_tags %}{% if request|cookie_consent_enabled %}
{% not_accepted_or_declined_cookie_groups request as groups %}{% if groups %}<form method="post">
{% for group in groups %}<p>{{ group.name }}</p>{% endfor %}<button>Accept all</button><button>Decline all</button>
</form>{% endif %}{% all_cookie_groups "groups" %}{% endif %}"""


def _django(text: str) -> str:
    """The same page in the other template language."""
    text = text.replace('{% for name in ("home", "about", "shop") %}', "{% for name in names %}")
    text = text.replace("url_for(name)", "URL").replace("{{ URL }}", "{% url name %}")
    text = text.replace("{{ url_for('thing', number=thing.number) }}", "{% url 'thing' thing.number %}")
    return text.replace('"%.2f"|format(thing.price)', "thing.price|floatformat:2")


def set_up_django(folder: str) -> None:
    """A project with `/` and `/banner`; its middleware is there only where `DCC` is set."""
    templates = {
        "layout.html": _django(LAYOUT % ("", BANNER, "")),
        "bare.html": _django(LAYOUT % ("", "", "")),
        "page.html": _django(PAGE),
    }
    mine = ("django.template.loaders.locmem.Loader", templates)
    found = [mine, "django.template.loaders.app_directories.Loader"]
    loaders = [("django.template.loaders.cached.Loader", found)]
    with_dcc = ["cookie_consent.middleware.CleanCookiesMiddleware"] if os.environ.get("DCC") else []
    settings.configure(
        SECRET_KEY="k" * 64,
        ALLOWED_HOSTS=["localhost"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cookie_consent"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", *with_dcc],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/django.db"}},
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": loaders,
                    "context_processors": ["django.template.context_processors.request"],
                },
            }
        ],
    )
    django.setup()
    settings.ROOT_URLCONF = urls()
    call_command("migrate", verbosity=0)


def page(request: HttpRequest, layout: str = "bare.html", **_values: Any) -> HttpResponse:
    """The page of `plain_site`."""
    values = {"title": "Things", "things": THINGS, "layout": layout, "names": ["home", "about", "shop"]}
    return render(request, "page.html", values)


def urls() -> tuple[Any, ...]:
    """Their own come with `include`, which wants a project that is set up."""
    from django.urls import include, path

    return (
        path("", page, name="home"),
        path("about", page, name="about"),
        path("shop", page, name="shop"),
        path("shop/<int:number>", page, name="thing"),
        path("banner", page, {"layout": "layout.html"}),
        path("cookies/", include("cookie_consent.urls")),
    )


def time_django() -> None:
    """With its middleware and tags before and after a choice, and a choice itself; or the project without them."""
    from cookie_consent.models import Cookie, CookieGroup

    for key in ("analytics", "marketing"):
        group = CookieGroup.objects.create(varname=key, name=key.title(), description="What it is for.")
        Cookie.objects.create(cookiegroup=group, name=f"_{key}", domain="localhost")
    app = get_wsgi_application()
    print(json.dumps(_measured(app)))


def _measured(app: Any) -> dict[str, float]:
    if not os.environ.get("DCC"):
        return {"bare": turns(ROUNDS, visit(app, "/"), times=CALLS, clock=time.process_time)[0]}
    form = "application/x-www-form-urlencoded"
    accept = visit(app, "/cookies/accept/", b"all_groups=true", form, x_requested_with="XMLHttpRequest")
    _, cookies, _ = accept()
    said = "; ".join(f"{name}={value}" for name, value in cookies.items())
    before, after = visit(app, "/banner"), visit(app, "/banner", cookie=said)
    for each in (before, after, accept):
        assert each()[0].startswith("200"), each()
    asked = [before()[2].count(b"Accept all"), after()[2].count(b"Accept all")]
    assert asked == [1, 0], asked
    found = turns(ROUNDS, before, after, accept, times=CALLS, clock=time.process_time)
    return dict(zip(("before", "after", "choice"), found, strict=True))


if __name__ == "__main__":
    set_up_django(sys.argv[1])
    time_django()
