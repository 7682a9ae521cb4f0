"""`python -m example_app.profiles.calling_app`"""

from __future__ import annotations

from example_app.profiles.calling_app import create_app
from example_app.profiles.service import serve

GUIDE = """
  Two Tins     {url}/api/terms

  1. Everything but the terms is closed: curl -i {url}/api/calls
  2. curl -X POST -d account=u-1 -c jar -b jar {url}/sign-in
     curl -X PUT -b jar -H "Content-Type: application/json" -d '{"accept": true, "notice": "…"}' {url}/api/terms
     with the notice that {url}/api/terms gives.
  3. A permission is asked for by itself: curl -b jar {url}/api/permissions/contacts
"""

if __name__ == "__main__":
    serve(create_app, GUIDE)
