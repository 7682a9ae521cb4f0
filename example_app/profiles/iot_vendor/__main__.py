"""`python -m example_app.profiles.iot_vendor`"""

from __future__ import annotations

from example_app.profiles.iot_vendor import create_app
from example_app.profiles.service import serve

GUIDE = """
  Beacon Boards     {url}/

  1. {url}/manual sets a cookie of statistics; it leaves the server only after a yes.
  2. curl -X POST -d account=u-1 -c jar -b jar {url}/sign-in; the portal wants the policy first:
     curl -i -b jar {url}/portal
  3. {url}/map asks for the position where it is collected.
  4. {url}/consent/policies/privacy keeps every version, with what changed.
"""

if __name__ == "__main__":
    serve(create_app, GUIDE)
