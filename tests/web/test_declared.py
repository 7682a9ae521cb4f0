"""What views, jobs and adapters say that they need, and what is found out about it."""

from __future__ import annotations

import functools
import gc
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView, View
from werkzeug.routing import Rule

from consentkit import ConsentKit, ConsentKitError, gated, requires_acceptance, requires_consent, ungated
from consentkit.core.errors import UnknownPolicy, UnknownPurpose
from consentkit.kit_declared import ADAPTER, JOB, declarations, declare
from consentkit.web import declared
from consentkit.web.checks import check_decorators, foreign_declarations
from tests.web.conftest import make_kit


def bare_app(folder: Path, kit: ConsentKit | None = None) -> Flask:
    """An app with consentkit and one static folder, and no view."""
    app = Flask("bare", instance_path=str(folder / "instance"))
    app.config.update(SECRET_KEY="s", TESTING=True)
    (kit or make_kit()).init_app(app)
    return app


def listed(app: Flask) -> list[tuple[str, str, tuple[str, ...], str | None]]:
    return [(v.path, " ".join(v.methods), v.items, v.ungated) for v in declared.views(app)]


def test_static_files_and_our_own_pages_are_left_out(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    app.register_blueprint(Blueprint("shop", __name__, static_folder="static", url_prefix="/shop"))
    assert listed(app) == []
    assert len(list(app.url_map.iter_rules())) > 10


def test_functions(tmp_path: Path) -> None:
    app = bare_app(tmp_path)

    @app.route("/one", methods=["GET", "POST"])
    @requires_consent("newsletter", "analytics")
    @requires_acceptance("terms")
    def one() -> str:
        return ""

    @app.get("/two")
    @ungated("  health check ")
    async def two() -> str:
        return ""

    @app.get("/three")
    def three() -> str:
        return ""

    app.add_url_rule("/four/<int:n>", "one")
    assert listed(app) == [
        ("/four/<int:n>", "GET", ("terms", "newsletter", "analytics"), None),
        ("/one", "GET POST", ("terms", "newsletter", "analytics"), None),
        ("/three", "GET", (), None),
        ("/two", "GET", (), "health check"),
    ]
    assert [v.path for v in declared.views(app) if v.undeclared] == ["/three"]
    assert app.test_client().get("/two").status_code == 200


def test_class_based_views_method_by_method(tmp_path: Path) -> None:
    class Letters(MethodView):
        @requires_consent("newsletter")
        def get(self) -> str:
            return ""

        @ungated("stops a letter")
        def delete(self) -> str:
            return ""

        def post(self) -> str:
            return ""

    class Members(MethodView):
        decorators = (requires_acceptance("terms"),)

        @requires_consent("newsletter")
        def get(self) -> str:
            return ""

        def put(self) -> str:
            return ""

    class Page(View):
        methods = ("GET", "POST")

        @requires_consent("ads")
        def dispatch_request(self) -> str:
            return ""

    app = bare_app(tmp_path)
    for view in (Letters, Members, Page):
        app.add_url_rule(f"/{view.__name__.lower()}", view_func=view.as_view(view.__name__))
    assert listed(app) == [
        ("/letters", "DELETE", (), "stops a letter"),
        ("/letters", "GET", ("newsletter",), None),
        ("/letters", "POST", (), None),
        ("/members", "GET", ("terms", "newsletter"), None),
        ("/members", "PUT", ("terms",), None),
        ("/page", "GET POST", ("ads",), None),
    ]
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/letters", "/members", "/page")] == [403] * 3
    assert client.put("/members").status_code == 403
    assert client.post("/letters").status_code == 200


def test_hooks_of_blueprints_speak_for_all_of_their_views(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    outer, inner, admin = (Blueprint(name, __name__, url_prefix=f"/{name}") for name in ("o", "i", "admin"))
    outer.before_request(requires_consent("newsletter")(lambda: None))
    admin.before_request(ungated("staff only")(lambda: None))
    for blueprint in (outer, inner, admin):
        blueprint.add_url_rule("/page", "page", lambda: "page")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_blueprint(admin)
    app.add_url_rule("/page", "page", lambda: "page")
    assert listed(app) == [
        ("/admin/page", "GET", (), "staff only"),
        ("/o/i/page", "GET", ("newsletter",), None),
        ("/o/page", "GET", ("newsletter",), None),
        ("/page", "GET", (), None),
    ]
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/admin/page", "/o/i/page", "/o/page", "/page")] == [
        *(200, 403, 403, 200)
    ]


def test_what_is_only_called_static_is_a_view(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    geo = Blueprint("geo", __name__, url_prefix="/geo")

    @geo.get("/map")
    def static() -> str:
        return "processed"

    app.register_blueprint(geo)
    app.add_url_rule("/files/<filename>", "files.static", lambda filename: filename)
    assert listed(app) == [("/files/<filename>", "GET", (), None), ("/geo/map", "GET", (), None)]


def test_a_rule_of_werkzeug_s_own_is_for_every_method(tmp_path: Path) -> None:
    class Page(MethodView):
        @requires_consent("newsletter")
        def get(self) -> str:
            return ""

        def put(self) -> str:
            return ""

    app = bare_app(tmp_path)
    for name in ("raw", "page"):
        app.url_map.add(Rule(f"/{name}", endpoint=name))
    app.endpoint("raw")(lambda: "processed")
    app.endpoint("page")(Page.as_view("page"))
    assert listed(app) == [
        ("/page", "GET", ("newsletter",), None),
        ("/page", "PUT", (), None),
        ("/raw", "*", (), None),
    ]
    assert app.test_client().post("/raw").text == "processed"


def test_rules_that_run_no_view(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    app.add_url_rule("/cdn/<name>", "cdn", lambda name: name, build_only=True)
    app.add_url_rule("/gone", "gone", lambda: "", redirect_to="/new")
    assert listed(app) == []


def test_views_of_every_kind(tmp_path: Path) -> None:
    class Around(MethodView):
        @requires_consent("newsletter")
        def dispatch_request(self, **values: Any) -> Any:
            return super().dispatch_request(**values)

        def get(self) -> str:
            return ""

    @ungated("says nothing")
    class Health(MethodView):
        def get(self) -> str:
            return ""

    class Inherits(Health):
        def post(self) -> str:
            return ""

    class Head(MethodView):
        @requires_consent("newsletter")
        def get(self) -> str:
            return ""

        def head(self) -> str:
            return ""

        def options(self) -> str:
            return ""

    app = bare_app(tmp_path)
    for view in (Around, Health, Inherits, Head):
        app.add_url_rule(f"/{view.__name__.lower()}", view_func=view.as_view(view.__name__))
    page = functools.partial(requires_consent("newsletter")(lambda text: text), text="page")
    app.add_url_rule("/partial", "partial", page)
    assert listed(app) == [
        ("/around", "GET", ("newsletter",), None),
        ("/head", "GET", ("newsletter",), None),
        ("/head", "HEAD OPTIONS", (), None),
        ("/health", "GET", (), "says nothing"),
        ("/inherits", "GET POST", (), None),
        ("/partial", "GET", ("newsletter",), None),
    ]
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/around", "/partial", "/health")] == [403, 403, 200]
    with pytest.raises(ConsentKitError, match=r"put it into `decorators` of .*Head, not on the class"):
        requires_consent("newsletter")(Head)  # type: ignore[type-var]


def job(user: str = "u-1") -> str:
    return user


@pytest.mark.parametrize(
    "gate", [requires_consent("newsletter"), gated("newsletter", subject="user")], ids=["view", "job"]
)
def test_a_gate_above_its_route_is_an_error_at_the_first_request(tmp_path: Path, gate: Any) -> None:
    app = bare_app(tmp_path)
    outer = gate(functools.wraps(job)(app.get("/job")(lambda user="u-1": job(user))))
    with pytest.raises(ConsentKitError, match="the view '<lambda>' runs without the gate"):
        app.test_client().get("/job")
    assert callable(outer)


def test_a_function_may_have_a_view_with_a_gate_and_one_without(tmp_path: Path) -> None:
    app = bare_app(tmp_path)
    inside = lambda: "asked inside"  # noqa: E731
    app.add_url_rule("/open", "open", inside)
    app.add_url_rule("/closed", "closed", requires_consent("newsletter")(inside))
    app.add_url_rule("/job", "job", ungated("by hand")(job))
    assert gated("newsletter", subject="user")(job) is not job
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/open", "/closed", "/job")] == [200, 403, 200]
    del job.__consentkit_ungated__  # type: ignore[attr-defined]


def test_ungated_needs_a_reason_and_no_gate() -> None:
    for reason in ("", "  ", None, lambda: None):
        with pytest.raises(ConsentKitError, match="needs the reason"):
            ungated(reason)  # type: ignore[arg-type]
    with pytest.raises(ConsentKitError, match="leave one of them out"):
        ungated("why")(requires_consent("newsletter")(lambda: None))
    with pytest.raises(ConsentKitError, match="leave one of them out"):
        requires_consent("newsletter")(ungated("why")(lambda: None))


class Unknown(MethodView):
    @requires_consent("newslettr")
    def get(self) -> str:
        return ""


def hooked(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)
    blueprint.before_request(requires_acceptance("newslettr")(lambda: None))
    blueprint.add_url_rule("/x", "x", lambda: "")
    app.register_blueprint(blueprint)


@pytest.mark.parametrize(
    "add", [hooked, lambda app: app.add_url_rule("/x", view_func=Unknown.as_view("x"))], ids=["hook", "class"]
)
def test_unknown_keys_are_found_on_methods_and_hooks_too(tmp_path: Path, add: Any) -> None:
    app = bare_app(tmp_path)
    add(app)
    with pytest.raises((UnknownPurpose, UnknownPolicy), match="requires 'newslettr'"):
        check_decorators(app)
    with pytest.raises((UnknownPurpose, UnknownPolicy)):
        app.test_client().get("/x")


# ---------------------------------------------------------------- jobs and adapters


def mine(kit: ConsentKit) -> list[tuple[str, str, tuple[str, ...]]]:
    """What was declared for this kit and no other."""
    return [(d.kind, d.where.rpartition(".")[2], d.items) for d in declarations(kit, shared=False)]


def test_jobs_are_listed_while_they_live(kit: ConsentKit) -> None:
    @kit.gated("newsletter", subject="user")
    @kit.gated("analytics", subject="user", skip=True)
    async def send(user: str) -> None: ...

    assert mine(kit) == [(JOB, "send", ("analytics", "newsletter"))]
    assert mine(make_kit()) == []
    del send
    gc.collect()
    assert mine(kit) == []


def test_where_a_job_is(kit: ConsentKit) -> None:
    gate = kit.gated("newsletter", subject="user")
    jobs = [
        gate(functools.partial(job, user="u-1")),
        gate(lambda user: user),
        kit.gated("analytics", subject="user")(lambda user: user + user),
    ]
    line = jobs[1].__wrapped__.__code__.co_firstlineno
    name = "test_where_a_job_is.<locals>.<lambda>"
    found = [(d.where.removeprefix(f"{__name__}."), d.items) for d in declarations(kit, shared=False)]
    assert found == [
        ("job", ("newsletter",)),
        (f"{name}:{line}", ("newsletter",)),
        (f"{name}:{line + 1}", ("analytics",)),
    ]


def test_jobs_of_one_name_are_not_one_job(kit: ConsentKit) -> None:
    def make(key: str) -> Any:
        @kit.gated(key, subject="user")
        def send(user: str) -> None: ...

        return send

    jobs = [make("newsletter"), make("analytics"), make("analytics")]
    assert [items for _, _, items in mine(kit)] == [("analytics",), ("newsletter",)]
    assert len(jobs) == 3


def test_plain_gated_is_of_whichever_kit_there_is(kit: ConsentKit) -> None:
    @gated("newsletter", subject="user")
    def send(user: str) -> None: ...

    assert mine(kit) == []
    assert send.__qualname__ in [d.where.partition(f"{__name__}.")[2] for d in declarations(kit)]


def test_adapters(kit: ConsentKit) -> None:
    class Session: ...

    session = Session()
    declare(session, ADAPTER, "shop.tracker", ("analytics",), kit=kit)
    kit.gated("newsletter", subject="user")(lambda user: None)
    job = kit.gated("newsletter", subject="user")(lambda user: None)
    assert [kind for kind, _, _ in mine(kit)] == [JOB, ADAPTER]
    del session, job
    gc.collect()
    assert mine(kit) == []


def test_a_job_with_an_unknown_key(kit: ConsentKit, app: Flask) -> None:
    with pytest.raises(UnknownPurpose, match="no purpose 'newslettr'"):
        kit.gated("newsletter", "newslettr", subject="user")
    job = gated("newslettr", subject="user")(lambda user: None)
    place = job.__qualname__
    assert [said for said in foreign_declarations(app) if place in said and "'newslettr'" in said]
