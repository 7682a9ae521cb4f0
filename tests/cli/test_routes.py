"""`flask consent routes`: in a process of its own, on the shop of the other command tests."""

from __future__ import annotations

import json

from tests.cli.conftest import Shop

VIEWS = """
    from consentkit import requires_acceptance, ungated

    @app.route("/members", methods=["GET", "POST"])
    @requires_acceptance("terms")
    @requires_consent("newsletter")
    def members():
        return "members"

    @app.get("/health")
    @ungated("health check, reads nothing")
    def health():
        return "fine"
"""

JOBS = '''
from consentkit import gated

@gated("{key}", subject="user")
def remind(user):
    """A job."""

@consent.gated("orders", subject="user")
def ship(user):
    """Another."""
'''


def add_views(shop: Shop, text: str) -> None:
    path = shop.folder / "shop_app.py"
    path.write_text(path.read_text().replace("    return app\n", f"{text}\n    return app\n"))


def add_jobs(shop: Shop, key: str = "replies") -> None:
    path = shop.folder / "shop_app.py"
    path.write_text(path.read_text() + JOBS.format(key=key))


def test_a_table(shop: Shop) -> None:
    add_views(shop, VIEWS)
    add_jobs(shop)
    done = shop.consent("routes")
    assert done.returncode == 0
    assert done.stdout == (
        "VIEW      METHODS   REQUIRES\n"
        "/health   GET       none: health check, reads nothing\n"
        "/letters  GET       newsletter\n"
        "/members  GET POST  newsletter, terms\n"
        "\n"
        "CODE             KIND  REQUIRES\n"
        "shop_app.remind  job   replies\n"
        "shop_app.ship    job   orders\n"
    )
    assert shop.consent("routes", "--fail-undeclared").returncode == 0


def test_json(shop: Shop) -> None:
    add_views(shop, VIEWS)
    add_views(shop, '    app.add_url_rule("/cart", "cart", lambda: "cart")')
    add_jobs(shop, "replis")
    done = shop.consent("routes", "--format", "json", "--fail-undeclared")
    assert done.returncode == 2
    assert "GET /cart" in done.stderr
    found = json.loads(done.stdout)
    assert found["views"][0] == {
        "path": "/cart",
        "endpoint": "cart",
        "methods": ["GET"],
        "purposes": [],
        "policies": [],
        "unknown": [],
        "ungated": None,
        "undeclared": True,
    }
    assert [(v["path"], v["purposes"], v["policies"], v["ungated"]) for v in found["views"][1:]] == [
        ("/health", [], [], "health check, reads nothing"),
        ("/letters", ["newsletter"], [], None),
        ("/members", ["newsletter"], ["terms"], None),
    ]
    assert found["code"] == [
        {"where": "shop_app.remind", "kind": "job", "purposes": [], "policies": [], "unknown": ["replis"]},
        {"where": "shop_app.ship", "kind": "job", "purposes": ["orders"], "policies": [], "unknown": []},
    ]


def test_a_view_that_declares_nothing_fails_a_build(shop: Shop) -> None:
    add_views(shop, '    app.add_url_rule("/cart", "cart", lambda: "cart", methods=["POST"])')
    listed = shop.consent("routes")
    assert listed.returncode == 0
    assert "/cart     POST     NOTHING DECLARED\n" in listed.stdout
    assert "1 view declares nothing." in listed.stderr
    failed = shop.consent("routes", "--fail-undeclared")
    assert failed.returncode == 2
    assert failed.stdout == listed.stdout
    assert 'add a gate or @ungated("why") to: POST /cart' in failed.stderr


def test_a_raw_rule_and_a_view_called_static_fail_a_build_too(shop: Shop) -> None:
    add_views(
        shop,
        """
    from werkzeug.routing import Rule

    app.url_map.add(Rule("/raw", endpoint="raw"))
    app.view_functions["raw"] = lambda: "raw"
    app.add_url_rule("/map", "geo.static", lambda: "map")
""",
    )
    failed = shop.consent("routes", "--fail-undeclared")
    assert failed.returncode == 2
    assert "GET /map, * /raw" in failed.stderr


def test_check_finds_a_gate_above_its_route(shop: Shop) -> None:
    add_views(
        shop,
        """
    @requires_consent("newsletter")
    @app.get("/wrong")
    def wrong():
        return "no gate"
""",
    )
    assert shop.consent("upgrade").returncode == 0
    done = shop.consent("check")
    assert done.returncode == 2
    assert "the view 'wrong' runs without the gate" in " ".join(done.stderr.split())


def test_check_looks_at_jobs_too(shop: Shop) -> None:
    add_jobs(shop, "replis")
    assert shop.consent("upgrade").returncode == 0
    assert shop.consent("publish").returncode == 0
    done = shop.consent("check")
    assert done.returncode == 0, "it may be another app's"
    assert "Note: the job shop_app.remind: there is no purpose 'replis'" in " ".join(done.stderr.split())
    assert "(unknown)" in shop.consent("routes").stdout


def test_a_job_of_this_very_kit_with_an_unknown_key_does_not_start(shop: Shop) -> None:
    add_jobs(shop)
    path = shop.folder / "shop_app.py"
    path.write_text(path.read_text().replace('gated("orders"', 'gated("order"'))
    done = shop.consent("check")
    assert done.returncode == 2
    assert "there is no purpose 'order'" in " ".join(done.stderr.split())
