"""Bring the toolchain's locks to the same versions of what they share, so that Go compiles it once.

Go's build cache knows a package by its module's version. Tools that each ask for another version of
grpc or client-go compile it anew; with equal versions there is little more than half to compile.

Run it after changing a tool's version, until it changes nothing: `python k8s/toolchain/align.py`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

TOOLCHAIN = Path(__file__).parent
# Compiles only with the Kubernetes libraries of its own time.
APART = {"calico", "runc"}
Lock: TypeAlias = dict[str, Any]


def main() -> None:
    """Raise every shared requirement to the highest that any lock asks for, and tidy the locks."""
    folders = sorted(path.parent for path in TOOLCHAIN.glob("*/go.mod"))
    locks = {folder: read(folder) for folder in folders if folder.name not in APART}
    wanted = highest(locks.values()) | pinned(locks.values())
    for folder, lock in locks.items():
        raised = [
            f"-require={path}@{wanted[path]}"
            for path, version in requirements(lock)
            if version != wanted[path]
        ]
        print(f"{folder.name}: {len(raised)} raised")
        if raised:
            go(folder, "mod", "edit", *raised)
            go(folder, "mod", "tidy")


def go(folder: Path, *arguments: str) -> str:
    """Run the go command in a lock's folder and return what it printed."""
    done = subprocess.run(
        ["go", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def read(folder: Path) -> Lock:
    """Return a go.mod as `go mod edit -json` tells it."""
    lock: Lock = json.loads(go(folder, "mod", "edit", "-json"))
    return lock


def requirements(lock: Lock) -> list[tuple[str, str]]:
    """Return the lock's modules with their versions."""
    return [(module["Path"], module["Version"]) for module in lock["Require"]]


def pinned(locks: Iterable[Lock]) -> dict[str, str]:
    """Return the modules that some lock replaces by a fixed version of themselves."""
    replaced = [replacement for lock in locks for replacement in lock["Replace"] or []]
    return {each["Old"]["Path"]: each["New"]["Version"] for each in replaced}


def highest(locks: Iterable[Lock]) -> dict[str, str]:
    """Return the highest version of each module over all locks."""
    found: dict[str, str] = {}
    for lock in locks:
        for path, version in requirements(lock):
            found[path] = max(found.get(path, version), version, key=precedence)
    return found


def precedence(version: str) -> tuple[Any, ...]:
    """Return a key that sorts versions as semver does: numbers first, releases after previews.

    >>> sorted(["v1.10.0", "v1.9.1", "v1.10.0-rc.1"], key=precedence)
    ['v1.9.1', 'v1.10.0-rc.1', 'v1.10.0']
    """
    numbers, _, preview = version.removeprefix("v").split("+")[0].partition("-")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in preview.split(".")]
    return tuple(int(number) for number in numbers.split(".")), not preview, parts


if __name__ == "__main__":
    main()
