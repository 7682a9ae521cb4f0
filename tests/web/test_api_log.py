"""The log over HTTP: a client that trusts nothing but the public key rebuilds the tree and checks proofs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from flask import Flask

from consentkit import ConsentKit
from consentkit.core.merkle import root_at, verify_inclusion
from consentkit.kit_ledger import Ledger
from consentkit.proof import Checkpoint, ProofInvalid, TlogProof, VerifierKey, verify_checkpoint
from consentkit.verify import verify
from tests.web.api_caller import Caller

NEWS = "/subjects/u-1/consents/newsletter"
HASH = 32
GROWN = (255, 300, 600)


@pytest.fixture
def api(app: Flask, kit: ConsentKit) -> Caller:
    return Caller(app, kit)


def signed(api: Caller) -> Checkpoint:
    """The checkpoint, its signature checked with the served key."""
    note = api.get("/checkpoint").text
    key = VerifierKey.parse(api.get("/log-key").text.strip())
    return verify_checkpoint(note, key, note.split("\n", 1)[0])


def tiles(api: Caller, level: int, width: int) -> list[bytes]:
    """The first `width` hashes of a level, as a client asks for them that knows the specification only."""
    found = []
    for number in range(-(-width // 256)):
        part = min(256, width - 256 * number)
        answer = api.get(f"/tile/{level}/{number:03}" + ("" if part == 256 else f".p/{part}"))
        assert (answer.status_code, answer.content_type) == (200, "application/octet-stream")
        assert len(answer.data) == HASH * part
        found += [answer.data[at : at + HASH] for at in range(0, len(answer.data), HASH)]
    return found


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 over leaf hashes, written as the RFC defines it."""
    if len(leaves) == 1:
        return leaves[0]
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_hash(leaves[:cut]) + tree_hash(leaves[cut:])).digest()


def refuse_until(app: Flask, kit: ConsentKit, size: int) -> None:
    """Seal so many events altogether."""
    with app.app_context():
        for n in range(kit.ledger.seal().size, size):
            kit.refuse(f"s-{n}", "newsletter")
        assert kit.ledger.seal().size == size


# ---------------------------------------------------------------- the tree


def test_a_client_rebuilds_the_root_from_the_tiles(app: Flask, kit: ConsentKit, api: Caller) -> None:
    before: list[bytes] = []
    for size in GROWN:
        refuse_until(app, kit, size)
        head = signed(api)
        leaves = tiles(api, 0, size)
        assert head.size == size
        assert tree_hash(leaves) == head.root
        assert leaves[: len(before)] == before
        before = leaves
    above = tiles(api, 1, 2)
    assert above == [tree_hash(leaves[:256]), tree_hash(leaves[256:512])]

    def read(level: int, first: int, count: int) -> Sequence[bytes]:
        end = f".p/{count}" if count < 256 else ""
        data = api.get(f"/tile/{level}/{first // 256:03}{end}").data
        return [data[at : at + HASH] for at in range(0, len(data), HASH)]

    assert root_at(read, size) == head.root
    earlier = api.get("/tile/0/001.p/44")  # of the size 300, now that the tile is full
    assert earlier.data == b"".join(leaves[256:300])
    for path in ("/tile/0/002", "/tile/0/002.p/89", "/tile/0/003.p/1", "/tile/1/000", "/tile/1/000.p/3"):
        assert api.get(path).status_code == 404, path
    assert api.get("/tile/2/000.p/1").status_code == 404


BEYOND = ["0/000", "0/000.p/2", "0/001", "1/000.p/1", "63/000.p/1", "0/x999/x999/x999/x999/x999/999"]
MALFORMED = [
    "0/0",
    "0/00",
    "0/0000",
    "0/x000",
    "0/x000/001",
    "0/000/001",
    "0/001/x001",
    "0/x001",
    "0/X001/000",
]
MALFORMED += [
    "00/000.p/1",
    "-1/000.p/1",
    "+0/000.p/1",
    "x/000.p/1",
    "64/000.p/1",
    "%D9%A0/000.p/1",
    "0/%0A000",
]
MALFORMED += ["0/000.p", "0/000.p/", "0/000.p/0", "0/000.p/01", "0/000.p/256", "0/000.p/999", "0/000.p/-1"]
MALFORMED += ["0/000.p/1/", "0/000.p/1%0A", "0//000.p/1", "0/%D9%A0%D9%A0%D9%A0.p/1", "entries/000.p/1"]
MALFORMED += ["0/x001/x001/x001/x001/x001/x001/001", "0/" + "x001/" * 2000 + "001", "9" * 5000 + "/000"]


@pytest.mark.parametrize("path", [*BEYOND, *MALFORMED], ids=lambda path: path[:40])
def test_what_is_no_tile_is_not_found(
    app: Flask, kit: ConsentKit, api: Caller, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    refuse_until(app, kit, 1)
    assert api.get("/tile/0/000.p/1").status_code == 200
    if path in MALFORMED:  # refused by how it is written, whatever the log has
        monkeypatch.setattr(Ledger, "tile", lambda *_: b"hashes")
    assert api.get(f"/tile/{path}").status_code == 404


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("0/000", (0, 0, 256)),
        ("0/999.p/255", (0, 999, 255)),
        ("7/x001/000", (7, 1000, 256)),
        ("63/x001/x234/067.p/9", (63, 1_234_067, 9)),
        ("10/x072/x057/x594/x037/x927/935", (10, 72_057_594_037_927_935, 256)),
        ("0/x001%2Fx234%2F067.p%2F10", (0, 1_234_067, 10)),
    ],
)
def test_numbers_of_tiles(
    api: Caller, monkeypatch: pytest.MonkeyPatch, path: str, tile: tuple[int, int, int]
) -> None:
    asked: list[tuple[int, int, int]] = []

    def record(_self: Ledger, *what: int) -> bytes:
        asked.append(what)  # type: ignore[arg-type]
        return b"hashes"

    monkeypatch.setattr(Ledger, "tile", record)
    assert api.get(f"/tile/{path}").data == b"hashes"
    assert asked == [tile]


def test_tiles_end_where_the_checkpoint_does(api: Caller) -> None:
    api.put(NEWS, {"action": "given"})
    assert api.get("/tile/0/000.p/1").status_code == 404
    assert signed(api).size == 1
    api.put(NEWS, {"action": "withdrawn"})
    assert api.get("/tile/0/000.p/2").json["type"] == "urn:consentkit:problem:unknown-tile"
    assert signed(api).size == 2
    assert len(api.get("/tile/0/000.p/2").data) == 2 * HASH
    assert len(api.get("/tile/0/000.p/1").data) == HASH


def test_a_hole_in_the_tree_is_not_served(app: Flask, kit: ConsentKit, api: Caller) -> None:
    refuse_until(app, kit, 3)
    with app.app_context():
        kit.runtime.database.write(lambda tx: tx.count("DROP TRIGGER consentkit_leaf_no_delete"))
        kit.runtime.database.write(lambda tx: tx.count("DELETE FROM consentkit_leaf WHERE leaf_index = 1"))
    assert api.get("/tile/0/000.p/1").status_code == 200
    answer = api.get("/tile/0/000.p/3")
    assert (answer.status_code, answer.json["type"]) == (500, "urn:consentkit:problem:ledger-failure")


# ---------------------------------------------------------------- proofs


def test_a_proof_over_http_holds(api: Caller) -> None:
    event = api.put(NEWS, {"action": "given"}).json["event"]
    api.put(NEWS, {"action": "withdrawn"})
    answer = api.get(f"/events/{event['event_id'].upper()}/proof")
    assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
    key = api.get("/log-key")
    assert key.content_type == "text/plain; charset=utf-8"
    shown = verify(answer.text, key.text)
    assert (shown.leaf_index, shown.checkpoint) == (0, signed(api))
    assert (shown.body["event_id"], shown.body["action"]) == (event["event_id"], "given")
    assert answer.text.endswith(api.get("/checkpoint").text)
    parsed = TlogProof.parse(answer.text)
    forged = replace(parsed, extra=parsed.extra.replace(b"given", b"asked"))
    with pytest.raises(ProofInvalid, match="another root"):
        verify(str(forged), key.text)


def test_proof_and_tiles_are_of_one_tree(api: Caller) -> None:
    for n in range(5):
        said = api.put(f"/subjects/u-{n}/consents/newsletter", {"action": "refused"}).json["event"]
    proof = TlogProof.parse(api.get(f"/events/{said['event_id']}/proof").text)
    head = signed(api)
    verify_inclusion(proof.index, 5, tiles(api, 0, 5)[proof.index], proof.hashes, head.root)


def test_the_proof_of_a_destroyed_event_is_gone(
    app: Flask, kit: ConsentKit, api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = api.put(NEWS, {"action": "given"}).json["event"]["event_id"]
    with app.app_context():
        found = kit.ledger.event(event)
    api.call("DELETE", "/subjects/u-1?mode=destroy")
    missing = api.get(f"/events/{event}/proof")
    assert (missing.status_code, missing.json["type"]) == (404, "urn:consentkit:problem:unknown-event")
    monkeypatch.setattr(Ledger, "event", lambda *_, **__: found)  # destroyed right after it was found
    assert api.get(f"/events/{event}/proof").json == missing.json
    assert tree_hash(tiles(api, 0, signed(api).size)) == signed(api).root


@pytest.mark.parametrize("event_id", ["x", "%00", "0" * 36, "01a2031d-8937-7000-9c3a-f77ce141a9c0", "a%2Fb"])
def test_there_is_no_such_event(api: Caller, event_id: str) -> None:
    assert api.get(f"/events/{event_id}/proof").status_code == 404


# ---------------------------------------------------------------- who may


def test_another_tenants_event_has_no_proof(app: Flask, kit: ConsentKit, api: Caller) -> None:
    acme = Caller(app, kit, tenant="acme")
    ours = api.put(NEWS, {"action": "refused"}).json["event"]["event_id"]
    theirs = acme.put(NEWS, {"action": "refused"}).json["event"]["event_id"]
    for mine, other, event in ((api, acme, ours), (acme, api, theirs)):
        assert mine.get(f"/events/{event}/proof").status_code == 200
        hidden = other.get(f"/events/{event}/proof")
        missing = other.get("/events/01a2031d-8937-7000-9c3a-f77ce141a9c0/proof")
        assert (hidden.status_code, hidden.json) == (404, missing.json)


def test_a_tenant_can_check_the_whole_log(app: Flask, kit: ConsentKit, api: Caller) -> None:
    acme = Caller(app, kit, tenant="acme", scopes=["read"])
    refuse_until(app, kit, 7)
    assert tree_hash(tiles(acme, 0, 7)) == signed(acme).root
    assert acme.get("/log-key").text == api.get("/log-key").text


PATHS = ["/checkpoint", "/log-key", "/tile/0/000.p/1", "/tile/0/000", "/events/{}/proof"]


@pytest.mark.parametrize("path", PATHS)
def test_the_scope_read_is_needed(app: Flask, kit: ConsentKit, api: Caller, path: str) -> None:
    path = path.format(api.put(NEWS, {"action": "given"}).json["event"]["event_id"])
    writer = Caller(app, kit, scopes=["write", "erase"])
    assert writer.get(path).json["type"] == "urn:consentkit:problem:scope-missing"
    assert app.test_client().get("/consent/v1" + path).status_code == 401
    wrong: Any = api.call("DELETE", path)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert api.get(path + "?tenant=acme").status_code == 400


@pytest.mark.parametrize("path", PATHS[:3])
def test_head_says_what_get_does(app: Flask, kit: ConsentKit, api: Caller, path: str) -> None:
    refuse_until(app, kit, 1)
    whole, head = api.get(path), api.call("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.data))


def test_a_process_without_the_key_says_so(app_of: Callable[..., Flask], kit: ConsentKit) -> None:
    api = Caller(app_of(kit, CONSENTKIT_LOG_KEY="no key at all"), kit)
    assert api.get("/log-key").json["type"] == "urn:consentkit:problem:no-log-key"
