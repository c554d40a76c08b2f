"""`make rollback`: give a project's users the previous version back."""

from __future__ import annotations

import sys

from k8s.access import AccessError
from k8s.stage_pod import create, ending_of, manifest

TIMEOUT_S = 300


def roll_back(project: str) -> str:
    """Switch the project's users to the previous version; returns what the pod said.

    Raises AccessError when there is none, or when it does not answer as it should; users then
    stay where they are.
    """
    name = create(manifest("roll_out", project, ["roll-back", "--project", project]))
    print(f"rolling {project} back (pod {name})", flush=True)
    ending = ending_of(name, TIMEOUT_S)
    if ending.phase != "Succeeded":
        raise AccessError(ending.last_line.removeprefix("error: "))
    return ending.last_line


def main(arguments: list[str]) -> int:
    """Roll one project back; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m k8s.rollback PROJECT", file=sys.stderr)
        return 2
    try:
        print(roll_back(arguments[0]))
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
