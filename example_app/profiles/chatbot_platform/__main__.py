"""`python -m example_app.profiles.chatbot_platform`"""

from __future__ import annotations

from example_app.profiles.chatbot_platform import create_app
from example_app.profiles.service import serve

GUIDE = """
  Parlour     {url}/consent

  1. One press accepts both policies, in Chinese:
     curl -X POST -d account=u-1 -c jar -b jar "{url}/log-in?lang=zh"; curl -b jar {url}/chat
  2. {url}/consent/policies/terms announces version 2 before it is in force.
  3. {url}/consent/receipt says which text was shown.
"""

if __name__ == "__main__":
    serve(create_app, GUIDE)
