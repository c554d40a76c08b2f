#!/usr/bin/env python3
"""Make values.schema.json, files/keys.txt and docs/values.md from values.yaml and its comments.

    charts/generate.py         write the files
    charts/generate.py --check   exit 1 and name the file that is not what values.yaml says

Every key of values.yaml has a comment above it; a comment line `# @schema {...}` is JSON that
narrows the key. Objects are closed: a key that is not in values.yaml is refused at install,
unless its @schema says otherwise.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
VALUES = ROOT / "charts/slipway/values.yaml"
SCHEMA = ROOT / "charts/slipway/values.schema.json"
KEYS = ROOT / "charts/slipway/files/keys.txt"
TABLE = ROOT / "docs/values.md"
KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][\w.-]*):(?P<rest>.*)$")

Json = dict[str, Any]

_STRINGS: Json = {
    "type": "object",
    "additionalProperties": {"type": "string"},
}
_QUANTITY: Json = {"type": ["string", "number"], "pattern": "^[0-9.]+(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
_AMOUNTS: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"cpu": _QUANTITY, "memory": _QUANTITY, "ephemeral-storage": _QUANTITY},
}
DEFINITIONS: Json = {
    "strings": _STRINGS,
    "quantity": _QUANTITY,
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "required": ["requests", "limits"],
        "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    },
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "ports": {"type": "array", "items": {"$ref": "#/definitions/port"}, "minItems": 1},
    "cidrs": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]+$"},
    },
    "peers": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                "ipBlock": {"type": "object"},
                "namespaceSelector": {"type": "object"},
                "podSelector": {"type": "object"},
            },
        },
    },
    "egress": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "to": {"$ref": "#/definitions/peers"},
                "ports": {"type": "array", "items": {"type": "object"}},
            },
        },
    },
    "pod": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "nodeSelector": _STRINGS,
            "tolerations": {"type": "array", "items": {"type": "object"}},
            "affinity": {"type": "object"},
            "topologySpreadConstraints": {"type": "array", "items": {"type": "object"}},
            "priorityClassName": {"type": "string"},
        },
    },
    "projects": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "required": ["model.py", "project.yaml"],
            "properties": {
                name: {"type": "string"} for name in ("model.py", "project.yaml", "source.py")
            },
        },
    },
}


@dataclass(frozen=True)
class Entry:
    """One key of values.yaml: where it is, what it means, what it may be."""

    path: tuple[str, ...]
    default: object
    meaning: str
    narrowing: Json

    @property
    def is_leaf(self) -> bool:
        """Whether the schema treats the key as one value rather than as a group of keys."""
        return not isinstance(self.default, dict) or not self.default or "$ref" in self.narrowing

    @property
    def may_be_empty(self) -> bool:
        """Whether the key without a value means what its empty default does, or has a meaning."""
        empty = self.default in ("", {}, [])
        return empty or "null" in self.narrowing.get("type", ())


class ValuesError(Exception):
    """Something in values.yaml that nothing can be made from; its text is one sentence."""


def entries(text: str) -> list[Entry]:
    """Every key of values.yaml in order; ValuesError when one has no comment."""
    values = yaml.safe_load(text)
    found: list[Entry] = []
    comments: list[str] = []
    stack: list[tuple[int, str]] = []
    closed_below: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            comments.append(stripped[1:].strip())
            continue
        match = KEY.match(line)
        if match is None:
            comments = []
            continue
        indent = len(match["indent"])
        if closed_below is not None and indent > closed_below:
            continue
        closed_below = None
        stack = [(i, key) for i, key in stack if i < indent] + [(indent, match["key"])]
        path = tuple(key for _, key in stack)
        entry = _entry(path, _look_up(values, path), comments, number)
        found.append(entry)
        comments = []
        if entry.is_leaf:
            closed_below = indent
    return found


def _look_up(values: Json, path: tuple[str, ...]) -> object:
    found: Any = values
    for key in path:
        found = found[key]
    return found


def _entry(path: tuple[str, ...], default: object, comments: list[str], line: int) -> Entry:
    narrowing: Json = {}
    prose: list[str] = []
    for comment in comments:
        if comment.startswith("@schema"):
            narrowing |= json.loads(comment.removeprefix("@schema"))
        elif comment:
            prose.append(comment)
    if not prose:
        raise ValuesError(
            f"values.yaml:{line}: {'.'.join(path)} has no comment: say what it is for."
        )
    return Entry(path, default, " ".join(prose), narrowing)


def schema(found: list[Entry]) -> Json:
    """The JSON schema of the values, closed against unknown keys."""
    root: Json = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Slipway chart",
        "definitions": DEFINITIONS,
        "type": "object",
        "additionalProperties": False,
        # Helm adds this one when the chart is a dependency of another.
        "properties": {"global": {"type": "object"}},
    }
    for entry in found:
        parent = root
        for key in entry.path[:-1]:
            parent = parent["properties"][key]
        parent["properties"][entry.path[-1]] = _node(entry)
    return root


def _node(entry: Entry) -> Json:
    if "$ref" in entry.narrowing:
        # A draft-07 reader ignores what stands beside $ref, so the meaning goes around it.
        return {"description": entry.meaning, "allOf": [{"$ref": entry.narrowing["$ref"]}]}
    node: Json = {"description": entry.meaning, **_type(entry), **entry.narrowing}
    if node["type"] == "object" and "additionalProperties" not in node:
        if not entry.default:
            raise ValuesError(
                f"{'.'.join(entry.path)} is an empty map: say with @schema what it holds."
            )
        node |= {"additionalProperties": False, "properties": {}}
    if node["type"] == "array" and "items" not in node:
        raise ValuesError(f"{'.'.join(entry.path)} is a list: say with @schema what it holds.")
    return node


def _type(entry: Entry) -> Json:
    names = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    try:
        return {"type": names[type(entry.default)]}
    except KeyError:
        raise ValuesError(
            f"{'.'.join(entry.path)} has no type: say with @schema what it is."
        ) from None


def table(found: list[Entry]) -> str:
    """Markdown: a heading and a table of keys for each top-level key."""
    lines = [
        "# Values of the chart",
        "",
        "Made by `charts/generate.py` from the comments of `charts/slipway/values.yaml`.",
    ]
    heading = ""
    for entry in found:
        section = entry.path[0] if len(entry.path) > 1 or not entry.is_leaf else "General"
        if section != heading:
            heading = section
            intro = f"{entry.meaning}\n" if not entry.is_leaf else None
            lines += ["", f"## {section}", ""]
            lines += [intro] if intro else []
            lines += ["| key | default | meaning |", "|---|---|---|"]
        if entry.is_leaf:
            default = json.dumps(entry.default).replace("|", "\\|")
            meaning = entry.meaning.replace("|", "\\|")
            lines.append(f"| `{'.'.join(entry.path)}` | `{default}` | {meaning} |")
    return "\n".join(lines) + "\n"


def keys(found: list[Entry]) -> str:
    """The paths of all keys that must have a value, one a line: Helm takes an empty one away."""
    return "".join(f"{'.'.join(entry.path)}\n" for entry in found if not entry.may_be_empty)


def outputs() -> dict[Path, str]:
    """What each generated file must contain."""
    found = entries(VALUES.read_text())
    return {
        SCHEMA: json.dumps(schema(found), indent=1) + "\n",
        KEYS: keys(found),
        TABLE: table(found),
    }


def main() -> int:
    """Write the files, or with --check say which is stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check = parser.parse_args().check
    try:
        wanted = outputs()
    except ValuesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(
                f"error: {name} is not what values.yaml says: run charts/generate.py",
                file=sys.stderr,
            )
        else:
            path.write_text(wanted[path])
            print(f"wrote {name}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
