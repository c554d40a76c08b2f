"""Let a version that was taken back serve again: a person's word against a person's word."""

from __future__ import annotations

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.rollout.history import GIVEN_BACK, TAKEN_BACK, Word
from ml.rollout.machine import RollOut
from ml.rollout.places import open_aliases, open_target


def give_back(machine: RollOut, project: str, version: str, word: Word) -> None:
    """Take the mark off the version and note who did that; users stay where they are.

    From then on it may be rolled out, when its day is run again, and gone back to. Raises
    BadInputError when there is no such version, or it was not taken back.
    """
    with machine.held(project) as held:
        history = held.history(project)
        if version not in history.pasts:
            raise BadInputError(f"{project} has no version {version}")
        taken = history.taken_back(version)
        if not taken:
            raise BadInputError(f"version {version} of {project} was not taken back")
        note = f"{word} (it was taken back {taken})"
        held.aliases.remark(project, version, {GIVEN_BACK: note})
        held.aliases.erase(project, version, TAKEN_BACK)
        held.name_previous(project)


def run(job: Job, version: str, word: Word) -> None:
    """Give a version of the job's project back, at the place that the settings name."""
    machine = RollOut(open_target(job.settings.target), open_aliases(job))
    give_back(machine, job.project, version, word)
