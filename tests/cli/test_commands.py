"""The commands in this process, on SQLite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from consentkit import ConsentKit, MinorRules, Party, Policy, PolicyVersion, Purpose, requires_consent
from consentkit.cli import consent as group
from consentkit.core.terms import Kind
from consentkit.proof import SigningKey
from consentkit.store import schema
from consentkit.store.counting import asked_again
from consentkit.testing import given, prepare, temporary_database
from consentkit.web.state import current_state

Consent = Callable[..., Result]

PURPOSES = (
    Purpose("newsletter", title="Letter"),
    Purpose("analytics", title="Statistics", category="analytics"),
    Purpose("replies", title="Replies", scoped=True),
    Purpose("orders", title="Orders", basis="contract"),
)
TERMS = Policy("terms", title="Terms", versions=[PolicyVersion("1", texts={"en": "# One"})])


def make_app(
    folder: Path,
    *,
    purposes: tuple[Purpose, ...] = PURPOSES,
    policies: tuple[Policy, ...] = (TERMS,),
    **config: object,
) -> Flask:
    app = Flask("shop", instance_path=str(folder / "instance"))
    app.config.update({"SECRET_KEY": "s", **temporary_database(folder), **config})
    ConsentKit(app, purposes=purposes, policies=policies)
    return app


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = make_app(tmp_path)
    prepare(app)
    return app


def run(app: Flask, *arguments: str) -> Result:
    done = app.test_cli_runner().invoke(args=["consent", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if not done.stdout.startswith("{"):
        long = [line for line in done.output.splitlines() if len(line) > 80 and not re.search("/|ck_", line)]
        assert long == []
    return done


@pytest.fixture
def consent(app: Flask) -> Consent:
    return lambda *arguments: run(app, *arguments)


def errors(done: Result) -> str:
    return " ".join(done.stderr.split())


# ---------------------------------------------------------------- check, upgrade, publish


def test_check_names_a_gate_whose_key_is_not_in_the_catalogue(app: Flask) -> None:
    @app.get("/wrong")
    @requires_consent("newslettr")
    def wrong() -> str:
        return ""

    done = run(app, "check")
    assert done.exit_code == 2
    assert "the view 'wrong' requires 'newslettr'" in errors(done)
    assert "published  ok" in done.stdout


def test_check_misses_the_secret_key(app: Flask) -> None:
    app.config["SECRET_KEY"] = None
    done = run(app, "check")
    assert done.exit_code == 2
    assert "SECRET_KEY is not set" in errors(done)


def test_check_says_every_fault_of_webhooks(tmp_path: Path) -> None:
    app = Flask("shop", instance_path=str(tmp_path / "instance"))
    secrets = {"crmm": "whsec_" + "a" * 43 + "="}
    app.config.update(SECRET_KEY="s", CONSENTKIT_WEBHOOK_SECRETS=secrets, **temporary_database(tmp_path))
    parties = [Party("crm", name="CRM", webhook="http://10.0.0.7/hook")]
    ConsentKit(app, purposes=[Purpose("news", title="N", recipients=["crm"])], parties=parties)
    prepare(app)
    done = run(app, "check")
    assert done.exit_code == 2
    for fault in ("no secret for crm", "names crmm", "the webhook of crm is http://"):
        assert fault in errors(done)
    assert errors(done).count("Error: ") == 3


def test_check_looks_at_the_files_outside_the_database(tmp_path: Path) -> None:
    gone, folder = tmp_path / "gone" / "anchor", tmp_path / "a-folder"
    folder.mkdir()
    app = make_app(tmp_path, CONSENTKIT_LOG_ANCHOR=str(gone), CONSENTKIT_ERASURE_JOURNAL=str(folder))
    prepare(app)
    done = run(app, "check")
    assert done.exit_code == 2
    assert f"CONSENTKIT_LOG_ANCHOR: the folder {gone.parent} does not exist" in errors(done)
    assert f"CONSENTKIT_ERASURE_JOURNAL: {folder} cannot be written" in errors(done)
    looked = run(app, "doctor").stdout
    assert "anchor                 LOOK" in looked
    assert "erasure journal        LOOK" in looked


def test_check_remarks_on_what_may_be_meant(tmp_path: Path) -> None:
    app = Flask("shop", instance_path=str(tmp_path / "instance"))
    app.config.update(SECRET_KEY="s", **temporary_database(tmp_path))
    purposes = [
        Purpose("news", title="N", retention="13 months"),
        Purpose("films", title="F", retention="P13M"),
    ]
    kit = ConsentKit(app, purposes=purposes, minors=MinorRules())
    prepare(app)
    done = run(app, "check")
    assert done.exit_code == 0
    assert "Note: the retention of 'news' is words" in errors(done)
    assert "films" not in errors(done)
    assert "nobody sends messages to guardians" in errors(done)
    kit.guardian_mailer(lambda invitation: None)
    assert "guardians" not in errors(run(app, "check"))


def test_check_says_what_a_process_on_postgresql_cannot_do(pg_url: str, tmp_path: Path) -> None:
    settings = {"CONSENTKIT_DATABASE_URL": pg_url, "CONSENTKIT_KEY": "k" * 64}
    app = make_app(tmp_path, **settings)
    for command in ("upgrade", "publish"):
        assert run(app, command).exit_code == 0
    said = " ".join(run(app, "check").stdout.split())
    assert "CONSENTKIT_LOG_KEY is not set: this process cannot seal or verify" in said
    assert "anchor not set, erasure journal not set" in said
    key = SigningKey.generate("consentkit-log").private_text()
    sealing = make_app(tmp_path, **settings, CONSENTKIT_LOG_KEY=key)
    looked = " ".join(run(sealing, "doctor").stdout.split())
    assert "erasure journal LOOK none: a restore would bring erased people back" in looked
    for each in (app, sealing):
        with each.app_context():
            current_state().kit.runtime.dispose()


def test_check_writes_nothing(tmp_path: Path) -> None:
    done = run(make_app(tmp_path), "check")
    assert done.exit_code == 2
    assert "run `flask consent upgrade`" in errors(done)
    assert list(tmp_path.iterdir()) == []


def test_check_misses_a_lost_key_file_and_does_not_make_another(app: Flask, tmp_path: Path) -> None:
    run(app, "upgrade")
    assert run(app, "check").exit_code == 0
    (tmp_path / "consentkit.key").unlink()
    done = run(make_app(tmp_path), "check")
    assert done.exit_code == 2
    assert "put it back from the backup" in errors(done)
    assert not (tmp_path / "consentkit.key").exists()


def test_check_says_every_fault(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "consentkit.key").write_text("short")
    changed = make_app(tmp_path, purposes=(Purpose("another", title="Another"), *PURPOSES))
    done = run(changed, "check")
    assert done.exit_code == 2
    assert errors(done).count("Error: ") == 2
    assert "consentkit.key is too short" in errors(done)
    assert "not published (1 new version)" in errors(done)


def test_a_fault_outweighs_a_database_that_is_down(tmp_path: Path) -> None:
    app = make_app(tmp_path, CONSENTKIT_DATABASE_URL="postgresql://n@127.0.0.1:1/n", CONSENTKIT_KEY="k" * 32)
    assert run(app, "check").exit_code == 3
    app.add_url_rule("/wrong", "wrong", requires_consent("newslettr")(lambda: ""))
    done = run(app, "check")
    assert done.exit_code == 2
    assert errors(done).count("Error:") == 2


def test_upgrade_may_be_run_again(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    assert run(app, "upgrade").stdout == "".join(f"Applied schema step {n}.\n" for n in schema.STEPS)
    assert run(app, "upgrade").stdout == f"The tables are up to date (schema {schema.VERSION}).\n"
    done = run(app, "show", "u-1")
    assert done.exit_code == 3
    assert "run `flask consent publish`" in errors(done)


def test_publish_without_tables_names_the_command(tmp_path: Path) -> None:
    done = run(make_app(tmp_path), "publish")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "run `flask consent upgrade`" in errors(done)


def test_upgrade_names_a_folder_that_is_missing(tmp_path: Path) -> None:
    done = run(make_app(tmp_path / "nowhere"), "upgrade")
    assert done.exit_code == 3
    assert "make it first" in errors(done)


def test_a_changed_text_under_a_published_version_is_refused(app: Flask, tmp_path: Path) -> None:
    changed = Policy("terms", title="Terms", versions=[PolicyVersion("1", texts={"en": "# Another"})])
    for command in ("publish", "check"):
        done = run(make_app(tmp_path, policies=(changed,)), command)
        assert done.exit_code == 2
        assert "policies.terms.versions.1.files.en: version '1' (en) is published with digest" in errors(done)


def test_a_material_change_without_a_new_version_is_refused(app: Flask, tmp_path: Path) -> None:
    changed = (Purpose("newsletter", title="Letter", data=("address",)), *PURPOSES[1:])
    done = run(make_app(tmp_path, purposes=changed), "publish", "--dry-run")
    assert done.exit_code == 2
    assert "Write version = 2" in errors(done)


def test_texts_alone_ask_nobody(app: Flask, tmp_path: Path) -> None:
    changed = make_app(tmp_path, purposes=(Purpose("newsletter", title="Our letter"), *PURPOSES[1:]))
    assert run(changed, "check").exit_code == 2
    assert run(changed, "publish").stdout == "Only texts change; nobody is asked again.\nPublished.\n"
    assert run(changed, "publish").stdout == "Nothing to publish.\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("editorial", ["policy terms, version 2 (editorial)", "policy terms, version 3 (editorial)"]),
        ("material", ["version 2 (editorial)", "version 3 (material)", "asks 1 known subject again"]),
        ("reduces_rights", ["version 2 (editorial)", "(reduces_rights)", "asks 1 known subject again"]),
    ],
)
def test_only_a_change_of_substance_asks_again(
    app: Flask, tmp_path: Path, change: str, says: list[str]
) -> None:
    given(app, "u-1", "terms", "newsletter")
    given(app, "u-2", "terms", "newsletter")
    with app.app_context():
        app.extensions["consentkit"].kit.erase("u-2")
    more = [
        PolicyVersion("2", change="editorial", texts={"en": "# Two"}),
        PolicyVersion("3", change=change, texts={"en": "# Three"}),
    ]
    terms = Policy("terms", title="Terms", versions=[*TERMS.versions, *more])
    lines = run(make_app(tmp_path, policies=(terms,)), "publish", "--dry-run").stdout.splitlines()[:-1]
    assert len(lines) == len(says)
    for line, part in zip(lines, says, strict=True):
        assert part in line


def test_a_dry_run_writes_nothing(app: Flask, tmp_path: Path) -> None:
    changed = make_app(tmp_path, purposes=(Purpose("newsletter", title="L", version=2), *PURPOSES[1:]))
    for _ in range(2):
        done = run(changed, "publish", "--dry-run").stdout.splitlines()
        assert done[0] == "new version   purpose newsletter, version 2 (material)"
        assert done[-1] == "Nothing was written (--dry-run)."
    assert run(changed, "check").exit_code == 2


def test_who_is_asked_again_by_a_version(app: Flask) -> None:
    given(app, "u-1", "newsletter")
    given(app, "u-2", "newsletter", tenant="acme")
    given(app, "u-2", "analytics")
    database = app.extensions["consentkit"].kit.runtime.database
    asked = [database.read(lambda tx, n=n: asked_again(tx, Kind.PURPOSE, "newsletter", n)) for n in (1, 2, 3)]
    assert asked == [0, 2, 2]


def test_a_version_of_the_future_says_from_when(app: Flask, tmp_path: Path) -> None:
    later = PolicyVersion("2", effective=datetime(2099, 5, 1, tzinfo=UTC), texts={"en": "# Two"})
    terms = Policy("terms", title="Terms", versions=[*TERMS.versions, later])
    done = run(make_app(tmp_path, policies=(terms,)), "publish")
    assert "version 2 (material), in force from 2099-05-01" in done.stdout


def test_a_new_version_of_a_purpose_on_another_basis_asks_nobody(app: Flask, tmp_path: Path) -> None:
    orders = Purpose("orders", title="Orders", basis="contract", version=2)
    done = run(make_app(tmp_path, purposes=(*PURPOSES[:-1], orders)), "publish")
    assert done.stdout.splitlines() == ["new version   purpose orders, version 2 (material)", "Published."]


# ---------------------------------------------------------------- subjects


def test_show(app: Flask, consent: Consent) -> None:
    given(app, "u-1", "newsletter", "terms", method="form")
    given(app, "u-1", "replies", scope="comment:42")
    lines = [" ".join(line.split()) for line in consent("show", "u-1").stdout.splitlines()]
    assert lines[0] == "u-1: band unknown"
    assert "purpose newsletter given allowed GIVEN" in lines
    assert "purpose replies [comment:42] given allowed GIVEN" in lines
    assert "purpose analytics unknown blocked NO_ANSWER" in lines
    assert "purpose orders unknown allowed NOT_REQUIRED" in lines
    assert "policy terms accepted allowed ACCEPTED" in lines
    assert sum("subject form" in line for line in lines) == 2


def test_show_of_a_tenants_subject(app: Flask, consent: Consent) -> None:
    given(app, "u-1", "newsletter", tenant="acme")
    assert consent("show", "u-1").exit_code == 1
    assert "u-1, tenant acme:" in consent("show", "u-1", "--tenant", "acme").stdout


@pytest.mark.parametrize("command", ["show", "erase", "withdraw"])
@pytest.mark.parametrize("subject", ["", "x" * 1025])
def test_what_is_no_id_is_a_wrong_call(consent: Consent, command: str, subject: str) -> None:
    done = consent(command, subject, *(["--all"] if command == "withdraw" else []))
    assert done.exit_code == 2
    assert "Error: subject: " in errors(done)


@pytest.mark.parametrize("command", ["show", "export", "erase"])
def test_an_unknown_subject_is_said_and_made_known_by_nothing(consent: Consent, command: str) -> None:
    for _ in range(2):
        done = consent(command, "u-404")
        assert (done.exit_code, done.stdout) == (1, "")
        assert errors(done) == "Error: the ledger does not know the subject 'u-404'"


def test_withdraw_all_ends_all_consent_and_no_contract(app: Flask, consent: Consent) -> None:
    given(app, "u-1", "newsletter", "terms")
    given(app, "u-1", "replies", scope="comment:42")
    done = consent("withdraw", "u-1", "--all", "--method", "paper")
    assert done.exit_code == 0
    said = [line.split(", event")[0] for line in done.stdout.splitlines()]
    assert said == ["withdrawn newsletter", "withdrawn analytics", "withdrawn replies [comment:42]"]
    shown = consent("show", "u-1").stdout
    assert "policy terms" in shown
    assert "ACCEPTED" in shown
    assert shown.count("paper") == 3
    assert " GIVEN" not in shown


def test_the_operator_revokes(consent: Consent) -> None:
    assert consent("withdraw", "u-1", "newsletter", "--actor", "operator").stdout.startswith("revoked ")
    assert "REVOKED" in consent("show", "u-1").stdout


def test_withdrawing_for_somebody_unknown_is_recorded_and_said(consent: Consent) -> None:
    done = consent("withdraw", "u-1", "newsletter")
    assert done.exit_code == 0
    assert "did not know the subject 'u-1'" in errors(done)
    assert consent("show", "u-1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("u-1",), "name what is withdrawn, or write --all"),
        (("u-1", "newsletter", "--all"), "not both"),
    ],
)
def test_withdraw_refuses(consent: Consent, arguments: tuple[str, ...], says: str) -> None:
    done = consent("withdraw", *arguments)
    assert done.exit_code == 2
    assert says in errors(done)


def test_withdraw_names_all_that_could_be_meant(consent: Consent) -> None:
    done = consent("withdraw", "u-1", "newslettr")
    assert done.exit_code == 1
    assert "there is no purpose 'newslettr'. Known purposes: analytics, newsletter, orders" in errors(done)
    assert "categories: analytics, marketing, necessary, preferences; policies: terms" in errors(done)
    assert consent("show", "u-1").exit_code == 1


def test_withdraw_of_nothing_makes_nobody_known(consent: Consent) -> None:
    done = consent("withdraw", "u-1", "preferences")
    assert done.stdout == "Nothing to withdraw: what is named has no purpose that rests on consent.\n"
    assert (done.exit_code, done.stderr) == (0, "")
    assert consent("show", "u-1").exit_code == 1


def test_erase(app: Flask, consent: Consent) -> None:
    given(app, "u-1", "newsletter")
    done = consent("erase", "u-1", "--reason", "art17")
    assert done.stdout.startswith("Erased, ")
    assert "blocked  ERASED" in consent("show", "u-1").stdout
    assert consent("erase", "u-1").stdout == "Nothing is left to erase.\n"


def test_erasing_may_destroy_the_events(app: Flask, consent: Consent) -> None:
    given(app, "u-1", "newsletter")
    assert consent("erase", "u-1", "--mode", "destroy").exit_code == 0
    exported = json.loads(consent("export", "u-1").stdout)
    assert "newsletter" not in [event["item"] for event in exported["events"]]


def test_the_reason_of_an_erasure_is_no_sentence(app: Flask, consent: Consent) -> None:
    given(app, "u-1", "newsletter")
    done = consent("erase", "u-1", "--reason", "Ann Smith asked by phone")
    assert done.exit_code == 2
    assert "short word such as art17" in errors(done)
    assert "ERASED" not in consent("show", "u-1").stdout


def test_export_and_json_are_json(consent: Consent) -> None:
    consent("withdraw", "u-1", "newsletter", "terms")
    exported = json.loads(consent("export", "u-1").stdout)
    assert [event["item"] for event in exported["events"]] == ["newsletter", "terms"]
    shown = json.loads(consent("show", "u-1", "--json").stdout)
    assert {item["item"]: item["status"] for item in shown["items"]}["newsletter"] == "withdrawn"
    unknown = consent("show", "u-404", "--json")
    assert unknown.exit_code == 1
    assert json.loads(unknown.stdout)["known"] is False


def test_purge_enters_in_the_journal_what_it_lacks(app: Flask, consent: Consent, tmp_path: Path) -> None:
    given(app, "u-1", "newsletter")
    consent("erase", "u-1")
    (journal,) = tmp_path.rglob("consentkit-erasure.journal")
    journal.unlink()
    looked = consent("doctor")
    assert looked.exit_code == 2
    assert "1 on record are not in" in " ".join(looked.stdout.split())
    assert consent("purge").stdout.endswith("Entered 1 erasure that the journal lacked.\n")
    assert "Entered" not in consent("purge").stdout
    assert "erasure journal        ok" in consent("doctor").stdout


# ---------------------------------------------------------------- keys


def test_the_secret_is_printed_once_and_alone(consent: Consent) -> None:
    made = consent(
        "keys", "create", "--label", "mailer", "--tenant", "acme", "--scope", "read", "--scope", "write"
    )
    assert made.exit_code == 0
    assert len(made.stdout.split()) == 1
    assert "cannot be shown again" in errors(made)
    row = consent("keys", "list").stdout.splitlines()[1]
    assert row.split()[1:5] == ["mailer", "acme", "read", "write"]
    assert made.stdout.strip() not in row


def test_keys_refuse(consent: Consent) -> None:
    assert consent("keys", "revoke", "none").exit_code == 1
    assert consent("keys", "create", "--label", " ").exit_code == 2
    assert "There are no keys" in errors(consent("keys", "list"))


# ---------------------------------------------------------------- help


COMMANDS = ["check", "upgrade", "publish", "sql", "show", "withdraw", "export", "erase", "keys"]


@pytest.mark.parametrize("command", ["", *COMMANDS, "keys create", "keys list", "keys revoke"])
def test_every_command_has_help(consent: Consent, command: str) -> None:
    done = consent(*command.split(), "--help")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 5
    assert "..." not in done.stdout.replace("]...", "").replace("[ARGS]...", "")


def test_the_group_is_the_one_that_flask_finds() -> None:
    from importlib.metadata import entry_points

    (found,) = entry_points(group="flask.commands", name="consent")
    assert found.load() is group


def test_an_export_is_read_back(app: Flask, tmp_path: Path) -> None:
    kit = app.extensions["consentkit"].kit
    with app.app_context():
        kit.give("u-1", "newsletter")
        key = "newsletter"
    file = tmp_path / "u-1.json"
    runner = app.test_cli_runner()
    file.write_text(runner.invoke(args=["consent", "export", "u-1"]).stdout)
    done = runner.invoke(args=["consent", "import", str(file), "--subject", "u-2"])
    assert (done.exit_code, done.stderr) == (0, "1 answer recorded.\n")
    with app.app_context():
        assert kit.of("u-2").allows(key)
    again = runner.invoke(args=["consent", "import", str(file)])
    assert again.stderr == "0 answers recorded, 1 here already.\n"
    good = file.read_text()
    file.write_text("\ufeff" + good, "utf-8")  # as an editor on Windows writes it
    assert runner.invoke(args=["consent", "import", str(file), "--tenant", "t"]).exit_code == 0
    wrong = {
        "[]": "this is no export",
        "{": "is no export",
        "[" * 100_000: "is no export",
        "9" * 5000: "is no export",
        good.replace("newsletter", "nothing"): "not published here",
    }
    for text, said in wrong.items():
        file.write_text(text)
        done = runner.invoke(args=["consent", "import", str(file)])
        assert done.exit_code == 2
        assert said in " ".join(done.stderr.split())
    file.write_bytes(b"\xff\xfe")
    assert "no export" in runner.invoke(args=["consent", "import", str(file)]).stderr


def test_an_import_says_what_was_left_out_for_an_erasure(app: Flask, tmp_path: Path) -> None:
    kit = app.extensions["consentkit"].kit
    with app.app_context():
        kit.give("u-1", "newsletter")
    file = tmp_path / "u-1.json"
    runner = app.test_cli_runner()
    file.write_text(runner.invoke(args=["consent", "export", "u-1"]).stdout)
    with app.app_context():
        kit.erase("u-1")
    done = runner.invoke(args=["consent", "import", str(file)])
    assert done.stderr.splitlines()[-1] == "0 answers recorded, 1 from before an erasure."
