"""`python -m example_app.profiles.phone_tools_shop`"""

from __future__ import annotations

from example_app.profiles.phone_tools_shop import create_app
from example_app.profiles.service import serve

GUIDE = """
  Screwdriver & Sons     {url}/

  1. Every vendor has a script of its own; without a yes it stays a text: curl -s {url}/ | grep -i script
  2. curl -X POST -d account=u-1 -c jar -b jar {url}/sign-in, then {url}/my-data is what the ledger holds.
  3. Tell those whom a breach concerns:
     echo u-1 | flask --app example_app.profiles.phone_tools_shop consent announce breach --to -
"""

if __name__ == "__main__":
    serve(create_app, GUIDE)
