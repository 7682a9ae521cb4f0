"""Inviting guardians, and what they answer: everything behind the verbs of `kit_guardian` and behind the page."""
