"""Give users the previous version back: it still runs on the other side, so this takes seconds."""

from __future__ import annotations

from collections.abc import Callable

from ml.core.errors import BadInputError, RolloutRefusedError, StageError
from ml.core.job import Job
from ml.registry.aliases import Alias
from ml.rollout.machine import RollOut
from ml.rollout.places import open_aliases, open_target, read_release
from ml.rollout.target import Deployed, Release, Side, View


def roll_back(machine: RollOut, project: str, release_of: Callable[[Deployed], Release]) -> Release:
    """Switch to the other side, make its version champion and the present one previous.

    Raises BadInputError when nothing runs there, RolloutRefusedError when it answers wrongly;
    then users stay where they are.
    """
    with machine.target.hold(project):
        view = machine.target.view(project)
        champion = machine.aliases.get(project, Alias.CHAMPION)
        now, back = _sides(project, view, champion)
        release = release_of(view.sides[back])
        machine.check_side(release, back)
        machine.say(f"sending users back to version {release.version} on the {back} side")
        _switch(machine, release, now, back)
        machine.name_champion(release, champion)
        machine.remark(release, "done", f"rolled back from version {view.sides[now].version}")
        return release


def _sides(project: str, view: View, champion: str | None) -> tuple[Side, Side]:
    """The side to leave, which runs the champion, and the other one.

    Not simply the live side: a second try, after MLflow failed the first, must not swap again.
    """
    if view.live is None:
        raise BadInputError(f"no version of {project} is deployed")
    order = (view.live, view.live.other)
    now = next((side for side in order if view.sides[side].version == champion), view.live)
    if not view.sides[now.other].healthy:
        raise BadInputError(f"the {now.other} side of {project} runs no version to go back to")
    return now, now.other


def _switch(machine: RollOut, release: Release, now: Side, back: Side) -> None:
    machine.target.select(release.project, back)
    try:
        machine.check_users_way(release)
    except StageError as error:
        machine.target.select(release.project, now)
        raise RolloutRefusedError(f"users stay on the {now} side: {error}") from error


def run(job: Job) -> Release:
    """Roll the job's project back at the place that the settings name."""

    def release_of(deployed: Deployed) -> Release:
        version, uri, digest = deployed.version, deployed.model_uri, deployed.sha256
        if version is None or uri is None or digest is None:
            raise BadInputError(f"the other side of {job.project} does not say what it runs")
        return read_release(job.project, version, uri, digest)

    machine = RollOut(open_target(job.settings.target), open_aliases(job))
    return roll_back(machine, job.project, release_of)
