"""Re-make the minified static files: `python tests/minify.py`; with `--check` only say what is stale."""

from __future__ import annotations

import sys
from pathlib import Path

import rcssmin
import rjsmin

STATIC = Path(__file__).parents[1] / "consentkit" / "static"
SOURCES = (
    "head.js",
    "consentkit.js",
    "notices.js",
    "consentkit.css",
    "pages.css",
    "notices.css",
    "policies.css",
    "guardian.css",
)


def minified(source: Path) -> str:
    """What the minified file has to hold."""
    minify = rjsmin.jsmin if source.suffix == ".js" else rcssmin.cssmin
    return str(minify(source.read_text("utf-8"))).strip() + "\n"


def target(source: Path) -> Path:
    """`head.js`: `head.min.js`."""
    return source.with_name(f"{source.stem}.min{source.suffix}")


def stale() -> list[Path]:
    """Minified files that are missing or do not fit their source."""
    sources = [STATIC / name for name in SOURCES]
    return [
        target(s) for s in sources if not target(s).exists() or target(s).read_text("utf-8") != minified(s)
    ]


def main() -> int:
    """Write what is stale, or only name it."""
    found = stale()
    for path in found:
        print(path.relative_to(STATIC.parents[1]))
        if "--check" not in sys.argv:
            path.write_text(minified(path.with_name(path.name.replace(".min", ""))), "utf-8")
    return int(bool(found) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
