"""`python -m example_app.profiles.chat_sdk`"""

from __future__ import annotations

from example_app.profiles.chat_sdk import create_app
from example_app.profiles.service import serve

GUIDE = """
  Lantern Chat     {url}/

  1. The cookie of statistics leaves only after a yes: curl -si {url}/ | grep -i cookie
  2. curl -X POST -d account=u-1 -c jar -b jar {url}/sign-in; the chat wants the policy first:
     curl -i -b jar {url}/chat
  3. End the purpose "Your account" by
     flask --app example_app.profiles.chat_sdk consent withdraw u-1 account
     and every view of the chat answers 403, also after signing in again.
"""

if __name__ == "__main__":
    serve(create_app, GUIDE)
