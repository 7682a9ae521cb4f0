"""`python -m example_app`: serve the site on this machine and say what to try."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path

from werkzeug.serving import make_server

from example_app import create_app

HOST = "127.0.0.1"


def main() -> None:
    """Serve until Ctrl-C. `PORT` chooses the port, `EXAMPLE_TERMS=2` publishes new terms."""
    logging.getLogger("consentkit").setLevel(logging.ERROR)  # the demo is meant to use the embedded ledger
    try:
        port = int(os.environ.get("PORT", "8000"))
        app = create_app()
        server = make_server(HOST, port, app, threaded=True)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"example_app: {error}")
    print(guide(f"http://{HOST}:{server.server_port}", app.instance_path), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nStopped.")
    finally:
        server.server_close()


def guide(url: str, instance: str) -> str:
    """The address and five things to try."""
    flask = f"{shlex.quote(_short(sys.executable))} -m flask --app example_app"
    return f"""
  Low Water, a magazine with consentkit:   {url}/
  (in German: {url}/de/   data: {_short(instance)}   stop: Ctrl-C)

  Five things to try

  1. Say no, then yes. Open {url}/ and press "Reject all": {url}/metrics/hits
     stays where it is, and there is no cookie _tally. Then "Privacy choices" at the foot of the page,
     "Accept all": from now on it counts. Withdraw, and it stops and the cookie is gone.

  2. A film behind a gate. {url}/articles/lighthouse shows a notice in place of the player until
     you allow it. The server asks too:
     curl -i {url}/player/waves

  3. A job behind a gate. Create an account at {url}/sign-up and press "Send me a test letter" on
     the account page: it is blocked, and the page says why. Subscribe at {url}/letter, send again.

  4. New terms. Stop this with Ctrl-C and start it again with
     EXAMPLE_TERMS=2 ./run demo
     Your account page is closed until you accept version 2; decline, and it stays closed.

  5. The evidence, with the number from your account page in place of u-...
     KEY=$({flask} consent keys create --label demo)
     curl -H "Authorization: Bearer $KEY" "{url}/consent/v1/events?subject=u-..."
"""


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


if __name__ == "__main__":
    main()
