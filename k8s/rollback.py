"""`make rollback`: give a project's users the version before, or let one that was taken return."""

from __future__ import annotations

import argparse
import getpass
import sys

from k8s.access import AccessError
from k8s.stage_pod import Ending, create, ending_of, manifest

# As long as a pod takes that waits for another roll-out to end and then has to start a version.
TIMEOUT_S = 600


def roll_back(project: str, reason: str = "") -> str:
    """Give the project's users the version before the champion; returns what the pod said.

    The champion is marked as taken back by this system's user, for the reason. Raises AccessError
    when there is no version before it, or that does not answer as it should; users then stay
    where they are.
    """
    return _told(project, ["roll-back"], reason)


def give_back(project: str, version: str, reason: str = "") -> str:
    """Let a version that was taken back serve again; returns what the pod said.

    Raises AccessError when it was not taken back.
    """
    return _told(project, ["give-back", "--version", version], reason)


def _told(project: str, verb: list[str], reason: str) -> str:
    word = ["--project", project, "--by", getpass.getuser(), "--reason", reason]
    name = create(manifest("roll_out", project, [*verb, *word]))
    print(f"{verb[0]} of {project} (pod {name})", flush=True)
    ending = ending_of(name, TIMEOUT_S)
    if ending.phase != "Succeeded":
        raise AccessError(complaint(ending))
    return ending.last_line


def complaint(ending: Ending) -> str:
    """Return the sentence with which a verb failed, whatever it logged after that."""
    said = [line for line in ending.log.splitlines() if line.startswith("error: ")]
    return (said[-1] if said else ending.last_line).removeprefix("error: ")


def main(arguments: list[str]) -> int:
    """Roll one project back, or give a version of it back; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m k8s.rollback", description=__doc__)
    parser.add_argument("project")
    parser.add_argument("--give-back", metavar="VERSION", help="let this version return instead")
    parser.add_argument("--reason", default="", help="why, for whoever asks later")
    given = parser.parse_args(arguments)
    try:
        if given.give_back is None:
            print(roll_back(given.project, given.reason))
        else:
            print(give_back(given.project, given.give_back, given.reason))
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
