"""An agent from outside, DuckDuckGo's autoconsent, finds the refusal, in every language, by itself or by our rule."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import duckduckgo_autoconsent
import pytest
from banner_site import LOCALES, becomes, until
from flask import Flask
from playwright.sync_api import Page, expect

RULE = json.loads(files("consentkit").joinpath("static", "autoconsent.json").read_text("utf-8"))
UNREAD = ("ar", "zh")  # languages of which the agent knows no words
CONFIG = {
    "enabled": True,
    "autoAction": "optOut",
    "enablePrehide": False,
    "enableCosmeticRules": False,
    "enableHeuristicDetection": True,
    "heuristicMode": "reject",
    "detectRetries": 5,
    "isMainWorld": True,
    "logs": {"errors": True},
}
RELAY = """(() => { const config = %s, rules = %s; window.heard = [];
window.autoconsentSendMessage = async (message) => {
  window.heard.push(message);
  const reply = (answer) => setTimeout(() => window.autoconsentReceiveMessage(answer), 0);
  if (message.type === "init") reply({ type: "initResp", config, rules: { autoconsent: rules } });
  else if (message.type === "eval") reply({ type: "evalResp", id: message.id, result: false });
}; })();"""


def send_agent(page: Page, url: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Let the agent loose on a page, and look at it again once the page has answered. Its messages by type."""
    config = CONFIG | {"enableHeuristicDetection": not rules}
    page.add_init_script(RELAY % (json.dumps(config), json.dumps(rules)) + duckduckgo_autoconsent.bundle())
    page.goto(url)
    until(page, "heard.some(m => m.type === 'optOutResult')", seconds=15)
    expect(page.locator("[data-consent-banner]")).to_be_hidden()
    page.evaluate("autoconsentReceiveMessage({ type: 'selfTest' })")
    until(page, "heard.some(m => m.type === 'selfTestResult')", seconds=15)
    return {message["type"]: message for message in page.evaluate("heard")}


def actions(app: Flask) -> set[str]:
    return {str(event.action) for event in app.config["RECORDED"]}


@pytest.mark.parametrize("locale", [locale for locale in LOCALES if locale not in UNREAD])
def test_the_agent_refuses_by_its_own_wits(page: Page, url: str, app: Flask, locale: str) -> None:
    heard = send_agent(page, f"{url}/?locale={locale}", [])
    assert heard["cmpDetected"]["cmp"] == "HEURISTIC-REJECT"
    assert heard["optOutResult"]["result"] is True
    assert heard["selfTestResult"]["result"] is True
    becomes(page, lambda: actions(app), {"refused"})


@pytest.mark.parametrize("locale", ["en", *UNREAD])
def test_the_agent_refuses_by_our_rule(page: Page, url: str, app: Flask, locale: str) -> None:
    heard = send_agent(page, f"{url}/?locale={locale}", [RULE])
    assert heard["cmpDetected"]["cmp"] == "consentkit"
    assert heard["optOutResult"]["result"] is True
    assert heard["selfTestResult"]["result"] is True
    becomes(page, lambda: actions(app), {"refused"})


def test_a_banner_that_hides_the_refusal_would_be_found_out(page: Page, url: str, app: Flask) -> None:
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => "
        "document.querySelector('[data-consent-banner] [data-consent-action=reject-all]').remove())"
    )
    page.add_init_script(RELAY % (json.dumps(CONFIG), "[]") + duckduckgo_autoconsent.bundle())
    page.goto(url)
    page.wait_for_timeout(3000)
    assert "HEURISTIC-REJECT" not in {message.get("cmp") for message in page.evaluate("heard")}
    assert actions(app) == set()
