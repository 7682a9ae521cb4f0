"""The documentation is complete and true: every name is in it, every console example prints what it shows.

The `python` blocks run as Sybil examples (conftest.py at the root). Here: what has to be documented, links,
and pages with `console` blocks: their Python and their commands are run one after the other, as a reader would.
A Python block that needs what a command did is left out there with `<!-- skip: next -->` and run here.
`sh`, `py` and `text` blocks are not run.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import click
import pytest

import consentkit
from consentkit import kit_declared, testing, verify
from consentkit.cli import consent as commands
from consentkit.config import PREFIX, Settings
from consentkit.core import errors
from consentkit.core.catalog_rules import build
from consentkit.core.terms import Action, Basis, Change, Method, Reason, Status
from consentkit.kit import Kit
from consentkit.kit_ledger import Ledger
from consentkit.kit_read import Consents
from consentkit.kit_schema import FileSchema
from consentkit.store.tables import metadata
from consentkit.web.api_request import kind_of
from consentkit.web.markup import functions
from consentkit.web.problems import TYPE

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "consentkit"
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def undocumented(names: Iterator[str] | list[str], where: str, form: str = "`{}`") -> list[str]:
    """The names that a page does not show as code."""
    text = page(where)
    return [name for name in names if form.format(name) not in text]


# ---------------------------------------------------------------- every name is there


def test_every_setting() -> None:
    keys = [PREFIX + field.name.upper() for field in fields(Settings)]
    assert undocumented(keys, "configuration.md", "| `{}`") == []


def test_no_setting_that_is_none() -> None:
    elsewhere = {"CONSENTKIT_SKIP", "CONSENTKIT_URL"}  # of ./run; the typo of an example
    known = {PREFIX + field.name.upper() for field in fields(Settings)} | elsewhere
    said = {name for path in PAGES for name in re.findall(r"CONSENTKIT_[A-Z_]+", path.read_text("utf-8"))}
    assert said - known == set()


def commands_of(group: click.Group, before: str = "flask consent") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{before} {name}"
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{before} {name}")


def options_of(group: click.Group) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from options_of(command)
        yield from (o for p in command.params if isinstance(p, click.Option) for o in p.opts)


def test_every_command() -> None:
    assert undocumented(commands_of(commands), "cli.md", "## {}") == []


def test_every_option() -> None:
    assert undocumented(options_of(commands), "cli.md", "{}") == []


def error_classes() -> list[type[Exception]]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [error for error in found if issubclass(error, Exception) and error.__module__ == errors.__name__]


def test_every_error() -> None:
    assert undocumented([error.__name__ for error in error_classes()], "python.md", "| `{}`") == []


def test_every_public_name() -> None:
    assert undocumented(consentkit.__all__, "python.md") == []


@pytest.mark.parametrize("kind", [Kit, Consents, Ledger])
def test_every_verb_and_question(kind: type[Any]) -> None:
    text = page("python.md")
    public = [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))]
    assert [name for name in public if not re.search(rf"`(\w+\.)?{name}\(", text)] == []


@pytest.mark.parametrize("terms", [Action, Basis, Change, Method, Status])
def test_every_term(terms: type[Any]) -> None:
    assert undocumented(list(terms), "python.md") == []


def test_every_reason_and_rule() -> None:
    assert undocumented(list(Reason), "gates.md") == []
    assert [n for n in range(1, 18) if not re.search(rf"^\| {n} \|", page("gates.md"), re.M)] == []


def keys_of(schema: Any, before: str = "") -> Iterator[str]:
    for name, field in schema.fields.items():
        inner = getattr(field, "value_field", None) or getattr(field, "inner", None) or field
        nested = getattr(inner, "schema", None)
        yield name
        if nested is not None:
            yield from keys_of(nested, f"{before}{name}.")


def test_every_key_of_the_catalogue() -> None:
    assert undocumented(sorted(set(keys_of(FileSchema()))), "catalogue.md") == []


def test_every_argument_of_a_catalogue_in_code() -> None:
    assert undocumented(list(build.__kwdefaults__ or ()), "catalogue.md") == []


def problem_kinds() -> set[str]:
    """The last parts of all problem types: literal arguments of what makes problems, and errors by name."""
    makers = {"problem", "Refused", "_known"}
    found = {kind_of(e()) for e in error_classes() if issubclass(e, errors.ChoiceRejected)}  # type: ignore[arg-type]
    for path in (PACKAGE / "web").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in makers:
                said = [c.value for a in node.args for c in ast.walk(a) if isinstance(c, ast.Constant)]
                found |= {s for s in said if isinstance(s, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", s)}
    return found | {"consent-missing", "acceptance-missing"}


def test_every_problem_type() -> None:
    kinds = problem_kinds()
    assert len(kinds) > 20
    assert undocumented(sorted(kinds), "api.md", "| `{}`") == []
    assert TYPE in page("api.md")


def test_no_problem_type_that_is_none() -> None:
    said = set(re.findall(r"^\| `([a-z]+(?:-[a-z]+)+)` \| \d", page("api.md"), re.M))
    assert said - problem_kinds() == set()


def test_every_resource_of_the_api() -> None:
    described = json.loads((PACKAGE / "static" / "openapi.json").read_text("utf-8"))["paths"]
    wanted = [
        f"`{method.upper()} {path}`"
        for path, item in described.items()
        for method in item
        if method.islower()
    ]
    text = re.sub(r"\{(\w+)\}", r"<\1>", page("api.md"))
    assert [w for w in (re.sub(r"\{(\w+)\}", r"<\1>", w) for w in wanted) if w not in text] == []


def test_every_template_function_template_and_property() -> None:
    assert undocumented(list(functions), "banner.md", "`{}(") == []
    templates = [path.name for path in (PACKAGE / "templates" / "consentkit").glob("*.html")]
    assert undocumented(templates, "banner.md") == []
    style = "".join(
        path.read_text("utf-8") for path in (PACKAGE / "static").glob("*.css") if ".min." not in path.name
    )
    assert undocumented(sorted(set(re.findall(r"var\((--ck-[a-z-]+)", style))), "banner.md") == []


def test_every_table() -> None:
    assert undocumented(list(metadata.tables), "storage.md") == []


def test_every_test_helper() -> None:
    assert undocumented([*testing.__all__], "testing.md", "| `{}") == []


def test_every_page_is_linked() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [path.name for path in DOCS.glob("*.md") if f"(docs/{path.name})" not in readme] == []


# ---------------------------------------------------------------- links, words


def anchors(text: str) -> set[str]:
    """The anchors that a code host gives to headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_command_that_is_none(path: Path) -> None:
    """Also in blocks that are not run: a Procfile, a unit, a line of cron."""
    said = set(re.findall(r"flask consent ([a-z][a-z-]*)", path.read_text("utf-8")))
    assert said - {command.split()[2] for command in commands_of(commands)} == set()


def test_the_deployment_shows_every_setting() -> None:
    keys = [f"FLASK_{PREFIX}{field.name.upper()}=" for field in fields(Settings)]
    assert [key for key in keys if key not in page("deployment.md")] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", path.read_text("utf-8"), flags=re.M | re.S)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        found = (path.parent / file).resolve() if file else path
        known = anchors(found.read_text("utf-8")) if anchor and found.is_file() else {anchor}
        if not found.exists() or anchor not in known:
            dead.append(target)
    assert dead == []


# ---------------------------------------------------------------- console examples

_BLOCK = re.compile(
    r"<!-- invisible-code-block: python\n(?P<hidden>.*?)-->"
    r"|^```(?P<kind>\w+)\n(?P<code>.*?)^```",
    re.M | re.S,
)


def blocks(path: Path) -> Iterator[tuple[str, str, int]]:
    """Kind, text and line of what a page has to run."""
    text = path.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield found["kind"] or "python", found["code"] or found["hidden"], line


class Shell:
    """The commands of console blocks, on the page's `app`: flask, curl, python -m consentkit.verify, echo $?."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names, self.variables, self.status = names, dict[str, str](), 0

    def run(self, line: str) -> str:
        """What a line prints."""
        kept = re.fullmatch(r"(\w+)=\$\((.*)\)", line)
        if kept:
            self.variables[kept[1]] = self.run(kept[2]).strip().splitlines()[-1]
            return ""
        words = shlex.split(re.sub(r"\$(\w+)", lambda m: self.variables.get(m[1], m[0]), line))
        if words[0] == "echo":
            return f"{self.status}\n"
        output: str = getattr(self, f"_{words[0]}")(words[1:])
        return output

    def _flask(self, words: list[str]) -> str:
        result = self.names["app"].test_cli_runner().invoke(args=words)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.status = result.exit_code
        return str(result.output)

    def _python(self, words: list[str]) -> str:
        assert words[:2] == ["-m", "consentkit.verify"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.status = verify.main(words[2:])
        return said.getvalue()

    def _curl(self, words: list[str]) -> str:
        method, headers, data, shown, url = None, [("User-Agent", "curl")], None, False, ""
        todo = iter(words)
        for word in todo:
            if word in ("-s", "-si"):
                shown = word == "-si"
            elif word == "-sI":
                shown, method = True, "HEAD"
            elif word == "-X":
                method = next(todo)
            elif word == "-H":
                name, _, value = next(todo).partition(": ")
                headers.append((name, value))
            elif word == "-d":
                data = "&".join(filter(None, (data, next(todo))))
            else:
                url = word
        if data is not None and not any(name == "Content-Type" for name, _ in headers):
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        _, _, path = url.partition("localhost:5000")
        assert path, url
        client = self.names["app"].test_client()
        made = method or ("GET" if data is None else "POST")
        response = client.open(
            path, base_url="http://localhost:5000", method=made, headers=headers, data=data
        )
        head = (
            [f"HTTP/1.1 {response.status}", *(f"{k}: {v}" for k, v in response.headers), ""] if shown else []
        )
        return "\n".join([*head, response.text])


def pattern(expected: str, squeeze: bool) -> str:
    """`…` is anything in a line, a line `...` any number of lines; `squeeze`: whitespace does not count."""
    if squeeze:
        parts = re.sub(r"\s+", "", expected).split("...")
        return "[\\s\\S]*?".join(".*?".join(map(re.escape, part.split("…"))) for part in parts)
    lines = [r"(?:.*\n)*?" if line == "..." else _line(line) + r"\n" for line in expected.splitlines()]
    return "".join(lines)


def _line(line: str) -> str:
    return ".*?".join(map(re.escape, line.split("…")))


def commands_in(code: str) -> Iterator[tuple[str, str]]:
    """Command and expected output."""
    for part in re.split(r"^\$ ", code, flags=re.M)[1:]:
        command = re.match(r"(?:.*\\\n)*.*", part)
        assert command is not None
        yield re.sub(r"\\\n\s*", "", command[0]), part[command.end() :].strip("\n")


def with_console() -> list[Path]:
    return [path for path in PAGES if "\n```console\n" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", with_console(), ids=lambda path: path.name)
def test_console_examples_print_what_they_show(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A process of its own would not know the jobs of other tests.
    monkeypatch.setattr(kit_declared, "_declared", WeakKeyDictionary())
    names: dict[str, Any] = {"__name__": "__main__"}
    shell = Shell(names)
    for kind, code, line in blocks(path):
        if kind == "python":
            exec(compile("\n" * line + code, str(path), "exec"), names)  # noqa: S102
        elif kind == "console":
            for command, expected in commands_in(code):
                seen = "".join(text.rstrip() + "\n" for text in shell.run(command).rstrip().splitlines())
                squeeze = command.startswith("curl")
                printed = re.sub(r"\s+", "", seen) if squeeze else seen
                assert re.fullmatch(pattern(expected, squeeze), printed), (
                    f"{path.name}:{line} $ {command}\n{seen}"
                )
