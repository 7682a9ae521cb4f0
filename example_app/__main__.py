"""`python -m example_app`: serve the site on this machine and say what to try."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path

from werkzeug.serving import make_server

from example_app import create_app, verifier

HOST = "127.0.0.1"


def main() -> None:
    """Serve until Ctrl-C. `PORT` chooses the port, `EXAMPLE_TERMS=2` publishes new terms."""
    logging.getLogger("consentkit").setLevel(logging.ERROR)  # the demo is meant to use the embedded ledger
    port = os.environ.get("PORT") or "8000"
    if not port.isdecimal() or int(port) > 65535:
        sys.exit(f"example_app: PORT is a number up to 65535, not {port!r}")
    secret = verifier.new_secret()
    try:
        app = create_app({"VERIFIER_URL": verifier.serve(secret), "VERIFIER_SECRET": secret})
    except ValueError as error:
        sys.exit(f"example_app: {error}")
    server = make_server(HOST, int(port), app, threaded=True)
    print(
        guide(f"http://{HOST}:{server.server_port}", app.instance_path, app.config["VERIFIER_URL"]),
        flush=True,
    )
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nStopped.")
    finally:
        server.server_close()


def guide(url: str, instance: str, verifier_url: str = "") -> str:
    """The address and six things to try."""
    python = shlex.quote(_short(sys.executable))
    port = "" if url.endswith(":8000") else f"PORT={url.rpartition(':')[2]} "
    return f"""
  Low Water, a magazine with consentkit

     {url}/        in German: {url}/de/
     data: {_short(instance)}        stop: Ctrl-C

  Six things to try

  1. Say no, then yes. Press "Reject all" on {url}/
     and walk around: {url}/metrics/hits stays at 0, and there is no cookie _tally.
     Then "Privacy choices" at the foot of the page, "Accept all": now it counts.
     "Reject all" there again: it stops, and the cookie is gone.

  2. A film behind a gate. {url}/articles/lighthouse
     shows a notice in place of the player until you allow it. The server asks too:
     curl -i {url}/player/waves

  3. A job behind a gate. Create an account on {url}/sign-up
     and press "Send me a test letter": it is blocked, and the page says why.
     Subscribe on {url}/letter and press again.

  4. New terms. Stop this with Ctrl-C and start it again with
     EXAMPLE_TERMS=2 {port}./run demo
     Your account page is closed until you accept version 2; decline, and it stays closed.

  5. A child asks. Create an account with age 11 and ask a parent on {url}/letter
     Its message lies in {url}/outbox
     Open the link there in another browser or a private window, as the parent would:
     the browser that asked may not answer.
     With Harbour ID the parent is led to {verifier_url or "a second server"} to be checked.

  6. The evidence, with the number from your account page in place of u-...
     KEY=$({python} -m flask --app example_app consent keys create --label demo)
     curl -H "Authorization: Bearer $KEY" "{url}/consent/v1/events?subject=u-..."
"""


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


if __name__ == "__main__":
    main()
