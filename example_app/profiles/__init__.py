"""Five services, each one `consent.toml`, its texts, and a few lines of Python.

`python -m example_app.profiles.<name>` serves one. They are sketches of services, not sites: a view answers with a
sentence, and what counts is whether it answers.
"""
