"""Plain text that fits 80 columns, and failures with an exit status."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from typing import IO, Any

import click

WIDTH = 80
STEP = 10_000
_NARROW = 8


class Failure(click.ClickException):
    """Something has to be mended: a message on stderr and exit status 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, each line of it wrapped."""
        for line in self.message.splitlines():
            if line.strip():
                click.echo(
                    wrapped(f"Error: {printable(line.expandtabs(1).strip())}"), file=file or sys.stderr
                )


class NotKnown(Failure):
    """What is named is not known: a subject, an event, a purpose, an invitation, a recipient, an API key."""

    exit_code = 1


class Unusable(Failure):
    """The ledger could not be used."""

    exit_code = 3


def note(text: str) -> None:
    """A remark beside the answer, on stderr."""
    click.echo(wrapped(text), err=True)


def progress(number: int) -> None:
    """How far a long list has come, every ten thousand lines, on stderr."""
    if number % STEP == 0:
        note(f"{number:,} …")


def wrapped(text: str, indent: str = "") -> str:
    """Text in lines of 80 columns. Paths, keys and addresses are never cut."""
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def printable(value: object) -> str:
    """Text without control characters: what people wrote must not steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of 80 columns; a cell that is too long goes on in the next line, nothing is cut off.

    The first column is for what is copied, and stays whole.
    """
    cells = [list(headers), *([printable(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths[1:], default=0) > _NARROW:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    lines = []
    for row in cells:
        parts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*parts, fillvalue=""):
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, one: str, many: str = "") -> str:
    """`1 purpose`, `2 purposes`, `1,204 subjects`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
