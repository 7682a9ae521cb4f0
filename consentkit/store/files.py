"""Files that are kept outside the database: whether they can be written."""

from __future__ import annotations

import os
from pathlib import Path


def unwritable(path: Path) -> str:
    """Why nothing could be added to a file, or an empty text. Nothing is written."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    if not path.exists():
        return "" if os.access(path.parent, os.W_OK | os.X_OK) else f"nothing can be written in {path.parent}"
    return "" if path.is_file() and os.access(path, os.W_OK) else f"{path} cannot be written"
