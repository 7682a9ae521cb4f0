"""From what marshmallow found to one clear sentence: the key as in the file, the fault, and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from marshmallow import Schema, fields

from consentkit.core.errors import CatalogError
from consentkit.kit_schema import FileSchema

Path = tuple[str, ...]

_PRE_TICKED = {"default", "preselected", "checked", "enabled", "on", "pre_ticked"}
_NO_REFUSAL = {"required", "mandatory", "refusable", "reject", "locked"}
_MENDS = {
    "Not a valid list": "Write a list, such as {name} = [...]",
    "Not a valid integer": "Write a whole number without quotes",
    "Not a valid boolean": "Write true or false, without quotes",
    "Not a valid string": "Write a text in quotes",
    "Not a valid mapping type": "Write a table, such as [{path}]",
    "Invalid input type": "Write a table, such as [{path}]",
    "Must be": "Write a number within these bounds",
    "Shorter than minimum length": "Write at least one",
    "is missing": "Add {name} to {table}",
}


def fault(messages: Any, data: Mapping[str, Any]) -> CatalogError:
    """The first fault of a file, without the file's name."""
    faults = list(_faults(messages, data))
    for path, message in faults:
        if message.startswith("Unknown field") and len(path) > 2 and isinstance(_at(data, path), dict):
            quoted = f'[{path[0]}."{".".join(path[1:])}"]'
            return CatalogError(
                "is a table in a table", key=_dotted(path), mend=f"Quote a key with dots: {quoted}"
            )
    # A misspelt key is also missing under its right name: the misspelling says more.
    path, message = next((f for f in faults if f[1].startswith("Unknown field")), faults[0])
    message = message.replace("Missing data for required field.", "is missing")
    if message.startswith("Unknown field"):
        return CatalogError("is not known", key=_dotted(path), mend=_unknown(path))
    said, _, mend = message.partition(". Write ")
    if mend:
        return CatalogError(said, key=_dotted(path), mend=f"Write {mend}")
    table = f"[{_dotted(path[:-1])}]" if path[:-1] else "the file"
    for begin, how in _MENDS.items():
        if message.startswith(begin):
            mend = how.format(name=path[-1], path=_dotted(path), table=table)
    return CatalogError(message, key=_dotted(path), mend=mend)


def _faults(messages: Any, data: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            # marshmallow names the two halves of a table's entry
            half = key in ("value", "key") and not (isinstance(data, Mapping) and key in data)
            yield from _faults(
                inner, data if half else _at(data, (str(key),)), path if half else (*path, str(key))
            )
    elif isinstance(messages, Sequence) and not isinstance(messages, str):
        for inner in messages:
            yield from _faults(inner, data, path)
    else:
        yield path, str(messages)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal():
            data = data[int(step)]
        else:
            return None
    return data


def _dotted(path: Path) -> str:
    return ".".join(f'"{step}"' if "." in step else step for step in path if step != "_schema")


def _unknown(path: Path) -> str:
    name = path[-1]
    if path[0] == "purposes" and name in _PRE_TICKED:
        return "Remove it: a purpose is off until the person says yes (GDPR 4(11), recital 32)"
    if path[0] == "purposes" and name in _NO_REFUSAL:
        return (
            'Remove it: consent can be refused; what the service needs has another basis, such as "contract"'
        )
    known = _known(path[:-1])
    close = get_close_matches(name, known, 1)
    return f"Write {close[0]}" if close else f"Known here: {', '.join(known)}"


def _known(path: Path) -> list[str]:
    """The keys that a table of the file may have."""
    found: Any = FileSchema()
    for step in path:
        if isinstance(found, Schema):
            found = found.fields.get(step)
        if isinstance(found, fields.Dict) and found is not None:
            found = found.value_field if step not in FileSchema().fields else found
        if isinstance(found, fields.List):
            found = found.inner
        if isinstance(found, fields.Nested):
            found = found.schema
    return sorted(found.fields) if isinstance(found, Schema) else []
