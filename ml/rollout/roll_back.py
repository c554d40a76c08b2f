"""Give users the version before back: from the other side in seconds, or from the registry.

What is taken from users is marked with who did it and why, and stays back: it is neither rolled
out nor gone back to until a person gives it back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ml.core.errors import BadInputError, RolloutRefusedError, StageError
from ml.core.job import Job
from ml.registry.aliases import TAG, Alias
from ml.rollout.history import DONE, TAKEN_BACK, History, Past, Word
from ml.rollout.machine import RollOut
from ml.rollout.places import open_aliases, open_target, read_release
from ml.rollout.target import Release, ReplacedError, Side, View


@dataclass(frozen=True)
class Way:
    """The version that users are to leave, the one that they get, and where that one runs."""

    leaving: str
    release: Release
    side: Side
    view: View

    @property
    def runs_there(self) -> bool:
        """Whether nothing has to start."""
        state = self.view.sides[self.side]
        return state.runs(self.release) and state.healthy


def roll_back(
    machine: RollOut, project: str, release_of: Callable[[Past], Release], word: Word
) -> Release:
    """Give users the version before, name it champion, and mark the present one as taken back.

    Raises BadInputError when there is none, RolloutRefusedError when it answers wrongly or can't
    be started; then users stay where they are. One that was cut short is finished by the next.
    """
    with machine.held(project) as held:
        view = held.target.view(project)
        champion = held.aliases.get(project, Alias.CHAMPION)
        history = held.history(project)
        leaving, back = _versions(project, view, champion, history)
        release = _release(held, project, release_of, back)
        if leaving == champion:
            history = held.confirm(project, leaving, history)
        way = Way(leaving, release, _side_for(release, view), view)
        _make_ready(held, way)
        _switch(held, way, history, word)
        after = history.with_tags(leaving, {TAKEN_BACK: str(word)})
        held.name_champion(project, release.version, after)
        held.remark(project, release.version, DONE, f"users went back to it from version {leaving}")
        return release


def _versions(project: str, view: View, champion: str | None, history: History) -> tuple[str, Past]:
    """The version to leave and the one to go back to."""
    if champion is None or champion not in history.pasts:
        raise BadInputError(f"no version of {project} is champion: there is nothing to go back to")
    live = view.sides[view.live].version if view.live else None
    # Users may reach what was never confirmed, unless a roll-back from the champion was cut short.
    if live in history.pasts and live != champion and not history.taken_back(champion):
        return str(live), history.pasts[champion]
    back = history.way_back(champion)
    if back is None:
        taken = sorted((p.version for p in history.pasts.values() if p.taken_back), key=int)
        apart_from = f" but what was taken back ({', '.join(taken)})" if taken else ""
        raise BadInputError(
            f"version {champion} of {project} stays: there is no version before it to go back to"
            f"{apart_from}"
        )
    return champion, back


def _side_for(release: Release, view: View) -> Side:
    """Where the release runs, or may be started without taking anything from users."""
    order = [view.live, view.live.other] if view.live else [*Side]
    running = [
        side for side in order if view.sides[side].runs(release) and view.sides[side].healthy
    ]
    return running[0] if running else order[-1]


def _release(
    held: RollOut, project: str, release_of: Callable[[Past], Release], back: Past
) -> Release:
    try:
        return release_of(back)
    except BadInputError as error:
        raise _stays(held, project, back.version, error) from error


def _make_ready(held: RollOut, way: Way) -> None:
    """Have the side run the release and repeat its known predictions, users away from it."""
    release, side = way.release, way.side
    try:
        if not way.runs_there:
            held.say(f"version {release.version} no longer runs: deploying it to the {side} side")
            held.target.deploy(release, side)
            held.await_ready(release, side)
        held.check_side(release, side)
    except ReplacedError:
        raise
    except StageError as error:
        if side is not way.view.live:
            with suppress(StageError):
                held.target.stop(release.project, side)
        raise _stays(held, release.project, release.version, error) from error


def _switch(held: RollOut, way: Way, history: History, word: Word) -> None:
    """Mark the one version, and send users to the other; if they do not get there, undo both."""
    project, live = way.release.project, way.view.live
    marked = history.taken_back(way.leaving)
    if not marked:
        # First, so that whoever finds this half done knows that users are not to return.
        held.aliases.remark(project, way.leaving, {TAKEN_BACK: str(word)})
    held.say(f"sending users back to version {way.release.version} on the {way.side} side")
    try:
        if live is not way.side:
            held.target.select(project, way.side)
        held.check_users_way(way.release)
    except ReplacedError:
        raise
    except StageError as error:
        if live is not way.side:
            held.target.select(project, live)
        if not marked:
            held.aliases.erase(project, way.leaving, TAKEN_BACK)
        raise _stays(held, project, way.release.version, error) from error


def _stays(held: RollOut, project: str, version: str, error: StageError) -> StageError:
    """Note that the version failed, so that the next try takes another, if there is one."""
    held.note_failure(project, version, error, f"it could not be gone back to: {error}")
    kinds = (RolloutRefusedError, BadInputError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), StageError)
    return kind(
        f"users stay where they are, as version {version} of {project} can't be gone back to: "
        f"{error}"
    )


def run(job: Job, word: Word) -> Release:
    """Roll the job's project back at the place that the settings name."""

    def release_of(past: Past) -> Release:
        uri, digest = past.tags.get(f"{TAG}artifact"), past.tags.get(f"{TAG}sha256")
        if not uri or not digest:
            raise BadInputError(
                f"its tags {TAG}artifact and {TAG}sha256 in MLflow do not say what it is"
            )
        return read_release(job.project, past.version, uri, digest)

    machine = RollOut(open_target(job.settings.target), open_aliases(job))
    return roll_back(machine, job.project, release_of, word)
