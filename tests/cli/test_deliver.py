"""`flask consent deliver`: told, waiting, gone; what check and doctor say; a watcher that is stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from ledgers import ShiftedClock
from receiving import LOOPBACK, Receiver, in_turn, receiving, status

from consentkit import ConsentKit, Party, Purpose
from consentkit.cli import consent as commands
from consentkit.core.catalog_rules import build
from consentkit.core.webhooks import new_secret, secret_bytes
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.testing import prepare, temporary_database
from tests.cli.conftest import Shop

DAY_US = 24 * 3600 * 1_000_000
PURPOSES = (Purpose("news", title="News", recipients=["mailer", "crm"]), Purpose("plain", title="Plain"))


@pytest.fixture
def mailer() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class Host:
    """An app, and its commands in this process."""

    def __init__(self, folder: Path, parties: list[Party], **config: Any) -> None:
        self.app = Flask("host", instance_path=str(folder / "instance"))
        self.app.config.update({"SECRET_KEY": "s", **temporary_database(folder), **config})
        self.consent = ConsentKit(self.app, purposes=PURPOSES, parties=parties)
        self.clock = self.consent.runtime.clock = ShiftedClock()
        prepare(self.app)

    def run(self, *arguments: str) -> Result:
        done = self.app.test_cli_runner().invoke(args=["consent", *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert [line for line in done.output.splitlines() if len(line) > 80 and "/" not in line] == []
        return done


@pytest.fixture
def host(tmp_path: Path, mailer: Receiver, crm: Receiver) -> Host:
    return Host(
        tmp_path,
        [Party("mailer", name="Mailer", webhook=mailer.url), Party("crm", name="CRM", webhook=crm.url)],
        CONSENTKIT_WEBHOOK_SECRETS={"mailer": mailer.secret, "crm": [crm.secret]},
        CONSENTKIT_WEBHOOK_NETWORKS=LOOPBACK,
    )


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_everybody_is_told(host: Host, mailer: Receiver, crm: Receiver) -> None:
    host.consent.give("u-1", ["news", "plain"])
    done = host.run("deliver")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "Delivered 2 messages.\n", "")
    assert mailer.said == crm.said == ["consent.given u-1"]
    assert host.run("deliver").stdout == "Delivered 0 messages.\n"
    lines = host.run("deliver", "--status").stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["crm", "all", "told", "0"],
        ["mailer", "all", "told", "0"],
    ]


def test_what_waits_is_said_with_exit_status_2(host: Host, crm: Receiver) -> None:
    crm.answering = status(503)
    host.consent.give("u-1", "news")
    host.consent.withdraw("u-1", "news")
    done = host.run("deliver")
    assert (done.exit_code, done.stdout) == (2, "Delivered 2 messages.\n")
    assert "crm HTTP 503" in squeezed(done.stderr)
    assert "2 messages not delivered yet" in squeezed(done.stderr)
    shown = squeezed(host.run("deliver", "--status").stdout)
    assert re.search(r"crm waiting 2 [\d-]+ [\d:]+ [\d-]+ [\d:]+ HTTP 503 mailer all told 0", shown)


def test_what_is_not_queued_yet_is_said(host: Host) -> None:
    host.consent.give("u-1", "news")
    host.consent.ledger.seal()
    shown = squeezed(host.run("deliver", "--status").stdout)
    assert "crm waiting 0" in shown
    assert "Not queued yet: 1 sealed event." in shown


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_one_that_does_not_know_the_published_catalogue_ends(
    host: Host, tmp_path: Path, crm: Receiver, watch: list[str]
) -> None:
    host.consent.give("u-1", "news")
    host.run("deliver")
    runtime = host.consent.runtime
    newer = build(
        purposes=[*PURPOSES, Purpose("more", title="More")], parties=runtime.catalog.parties.values()
    )
    other = Runtime(newer, runtime.database, key="k" * 64, log_key=None)
    other.publish()
    Kit(other).give("u-2", "news")
    other.seal()
    done = host.run("deliver", *watch)
    assert (done.exit_code, crm.said) == (2, ["consent.given u-1"])
    assert "start it again" in squeezed(done.stderr)


def test_delivered_to_one_at_t_pending_at_another_since_t(host: Host, crm: Receiver) -> None:
    crm.answering = status(503)
    host.consent.give("u-1", "news")
    host.run("deliver")
    done = host.run("deliver", "--status", "--subject", "u-1")
    rows = [squeezed(line) for line in done.stdout.splitlines()[1:]]
    assert re.fullmatch(r"crm consent\.given news pending since [\d-]+ [\d:]+", rows[0])
    assert re.fullmatch(r"mailer consent\.given news delivered [\d-]+ [\d:]+", rows[1])
    host.consent.give("u-2", "plain")
    assert host.run("deliver", "--status", "--subject", "u-2").stdout == "Nobody has to be told.\n"
    done = host.run("deliver", "--status", "--subject", "nobody")
    assert (done.exit_code, "does not know the subject 'nobody'" in done.stderr) == (1, True)


def test_gone_until_enabled(host: Host, mailer: Receiver) -> None:
    mailer.answering = in_turn(status(410), status(200))
    host.consent.give("u-1", "news")
    assert host.run("deliver").exit_code == 2
    assert "mailer gone 1" in squeezed(host.run("deliver", "--status").stdout)
    done = host.run("deliver", "--enable", "mailer")
    assert (done.exit_code, done.stdout) == (0, "Delivered 1 message.\n")
    done = host.run("deliver", "--enable", "nobody")
    assert (done.exit_code, "there is no recipient 'nobody'" in done.stderr) == (1, True)


def test_sent_once_more(host: Host, mailer: Receiver, crm: Receiver) -> None:
    (given,) = host.consent.give("u-1", "news")
    host.run("deliver")
    done = host.run("deliver", "--redeliver", given.event_id, "--to", "crm")
    assert done.stdout == "To be sent once more, to crm.\nDelivered 1 message.\n"
    assert (len(mailer.messages), len(crm.messages)) == (1, 2)
    done = host.run("deliver", "--redeliver", "nonsense")
    assert (done.exit_code, "there is no event" in done.stderr) == (1, True)
    (plain,) = host.consent.give("u-1", "plain")
    host.run("deliver")
    done = host.run("deliver", "--redeliver", plain.event_id)
    assert (done.exit_code, "does not concern anybody" in done.stderr) == (2, True)


def test_options_that_do_not_go_together(host: Host) -> None:
    for options in (["--subject", "u-1"], ["--to", "crm"]):
        assert host.run("deliver", *options).exit_code == 2


def test_what_is_open_for_a_party_is_dropped_only_when_it_is_told_no_more(host: Host, crm: Receiver) -> None:
    crm.answering = status(503)
    host.consent.give("u-1", "news")
    host.run("deliver")
    assert host.run("deliver", "--drop", "crm").exit_code == 2
    done = host.run("deliver", "--drop", "crm", "--reason", "dissolved")
    assert (done.exit_code, "'crm' is told" in squeezed(done.stderr)) == (2, True)
    assert host.run("deliver", "--drop", "nobody", "--reason", "dissolved").exit_code == 1
    host.consent.runtime.database.write(
        lambda tx: tx.run("UPDATE consentkit_recipient SET since_leaf = -1 WHERE recipient = 'crm'")
    )
    assert host.run("deliver", "--drop", "crm", "--reason", "dissolved").stdout == "Dropped 1 message.\n"
    shown = squeezed(host.run("deliver", "--status", "--subject", "u-1").stdout)
    assert re.search(r"crm consent\.given news dropped [\d-]+ [\d:]+", shown)


def test_nobody_is_told(tmp_path: Path) -> None:
    host = Host(tmp_path, [Party("mailer", name="M"), Party("crm", name="C")])
    host.consent.give("u-1", "news")
    assert host.run("deliver").stdout == "Delivered 0 messages.\n"
    assert "no party of the catalogue has a webhook" in host.run("deliver", "--status").stdout
    assert "webhooks" not in host.run("check").stdout
    assert "deliveries" not in host.run("doctor").stdout


def test_a_secret_is_made() -> None:
    done = CliRunner().invoke(commands, ["webhook-secret"])
    assert len(secret_bytes(done.stdout.strip())) == 32


# ---------------------------------------------------------------- check, doctor


class TestCheck:
    mailer = Party("mailer", name="M", webhook="https://mailer.example/hook")
    crm = Party("crm", name="C")

    def said(self, folder: Path, *more: Party, **config: Any) -> Result:
        host = Host(folder, [self.mailer, self.crm, *more], **config)
        host.run("upgrade")
        return host.run("check")

    def test_all_is_well(self, tmp_path: Path) -> None:
        done = self.said(tmp_path, CONSENTKIT_WEBHOOK_SECRETS={"mailer": new_secret()})
        assert (done.exit_code, "webhooks   ok     1 recipient\n" in done.stdout) == (0, True)

    def test_a_missing_secret(self, tmp_path: Path) -> None:
        done = self.said(tmp_path)
        assert done.exit_code == 2
        assert "there is no secret for mailer in CONSENTKIT_WEBHOOK_SECRETS" in squeezed(done.stderr)

    def test_a_secret_for_nobody(self, tmp_path: Path) -> None:
        secrets = {"mailer": new_secret(), "mailr": new_secret()}
        done = self.said(tmp_path, CONSENTKIT_WEBHOOK_SECRETS=secrets)
        assert (done.exit_code, "names mailr: no party" in squeezed(done.stderr)) == (2, True)

    def test_without_tls(self, tmp_path: Path) -> None:
        plain = Party("maps", name="Maps", webhook="http://maps.example/")
        secrets = {"mailer": new_secret(), "maps": new_secret()}
        done = self.said(tmp_path, plain, CONSENTKIT_WEBHOOK_SECRETS=secrets)
        assert (done.exit_code, "the webhook of maps is http://" in squeezed(done.stderr)) == (2, True)

    def test_a_webhook_of_a_party_that_receives_nothing(self, tmp_path: Path) -> None:
        idle = Party("maps", name="Maps", webhook="https://maps.example/")
        secrets = {"mailer": new_secret(), "maps": new_secret()}
        done = self.said(tmp_path, idle, CONSENTKIT_WEBHOOK_SECRETS=secrets)
        assert done.exit_code == 0
        assert "2 recipients; maps is told nothing: no purpose names it" in squeezed(done.stdout)


class TestDoctor:
    def said(self, host: Host) -> tuple[int, str]:
        done = host.run("doctor")
        return done.exit_code, squeezed(done.stdout)

    def test_all_is_well(self, host: Host) -> None:
        host.consent.give("u-1", "news")
        host.run("deliver")
        code, said = self.said(host)
        assert (code, "deliveries ok 0 open, 2 told by webhook" in said) == (0, True)

    def test_nobody_delivers(self, host: Host) -> None:
        host.consent.give("u-1", "news")
        host.consent.ledger.seal()
        assert self.said(host)[0] == 0
        host.clock.shift_us += DAY_US
        code, said = self.said(host)
        assert (code, "LOOK sealed events are not queued" in said) == (2, True)

    def test_a_message_that_is_a_day_old(self, host: Host, crm: Receiver) -> None:
        crm.answering = status(500)
        host.consent.give("u-1", "news")
        host.run("deliver")
        assert self.said(host)[0] == 0
        host.clock.shift_us += DAY_US + 1
        code, said = self.said(host)
        assert (code, "crm has not confirmed 1 for over a day: HTTP 500" in said) == (2, True)

    def test_one_that_wants_no_more(self, host: Host, crm: Receiver) -> None:
        crm.answering = status(410)
        host.consent.give("u-1", "news")
        host.run("deliver")
        code, said = self.said(host)
        assert (code, "crm answered 410, 1 open" in said) == (2, True)


# ---------------------------------------------------------------- a process


@pytest.fixture
def watched(shop: Shop, mailer: Receiver) -> Shop:
    """The shop with a recipient that it tells from its settings."""
    shop.change("[purposes.newsletter]\n", '[purposes.newsletter]\nrecipients = ["mailer"]\n')
    shop.add(f'[parties.mailer]\nname = "Mailer"\nwebhook = "{mailer.url}"\n')
    shop.environment |= {
        "FLASK_CONSENTKIT_WEBHOOK_SECRETS": json.dumps({"mailer": mailer.secret}),
        "FLASK_CONSENTKIT_WEBHOOK_NETWORKS": json.dumps(LOOPBACK),
    }
    return shop


def test_settings_from_the_environment(watched: Shop, mailer: Receiver) -> None:
    assert "webhooks   ok     1 recipient" in watched.consent("check").stdout
    watched.consent("withdraw", "u-1", "newsletter")
    done = watched.consent("deliver")
    assert (done.returncode, done.stdout) == (0, "Delivered 1 message.\n")
    mailer.verify(mailer.messages[0])


def test_a_watcher_goes_on_until_it_is_stopped(watched: Shop, mailer: Receiver) -> None:
    mailer.answering = in_turn(status(500), status(204))
    watched.consent("withdraw", "u-1", "newsletter")
    settings = {"PATH": os.environ["PATH"], "FLASK_SECRET_KEY": "s", **watched.environment}
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        "shop_app",
        "consent",
        "deliver",
        "--watch",
        "--every",
        "0.2",
    ]
    with subprocess.Popen(
        command, cwd=watched.folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watcher:
        mailer.wait_for(2)
        watched.consent("withdraw", "u-2", "newsletter")
        mailer.wait_for(3)
        watcher.send_signal(signal.SIGTERM)
        out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, err
    assert out == "Delivered 1 message.\n" * 2
    assert "mailer: HTTP 500" in err
    assert "Traceback" not in err
    assert mailer.distinct == ["consent.withdrawn u-1", "consent.withdrawn u-2"]
