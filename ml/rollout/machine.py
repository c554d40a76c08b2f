"""Serve a registered version beside the old one, check it, and only then let users reach it.

The state machine knows no cluster and no MLflow: it drives a ServingTarget and moves Aliases.
Every step may be repeated, and what has been done is read from the target itself, so a roll-out
that was killed is finished, or undone, by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ml.core.errors import BadInputError, RolloutRefusedError, StageError
from ml.core.job import log
from ml.core.record import Status
from ml.registry.aliases import TAG, Alias, Aliases
from ml.rollout.fence import FencedAliases, FencedTarget
from ml.rollout.history import DONE, FAILED, LONGEST, NUMBER, OUTCOME, REASON, REFUSED, History
from ml.rollout.target import (
    Answer,
    Release,
    ReplacedError,
    ServingTarget,
    Side,
    UnansweredError,
    View,
)

# Scores come back as decimal text, from float32 arithmetic on another processor.
TOLERANCE = 1e-4
GIVE_BACK = (
    "`make rollback PROJECT={project} GIVE_BACK={version}` "
    "(on a laptop: `python -m ml give-back --project {project} --version {version}`)"
)


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds."""

    ready: float = 300
    users_way: float = 60
    pause: float = 0.1
    # Answers in a row over the users' way that must come from the new version.
    steady: int = 5


@dataclass(frozen=True)
class Ended:
    """How an attempt ended; where nothing was tried, `reason` says why."""

    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """Which side gets the release, where users go if that fails, and what is there already."""

    side: Side
    back_to: Side | None
    resumed: bool = False


def make_plan(view: View, release: Release, *, confirmed: bool) -> Plan:
    """Use the side that users do not reach, unless they reach this release, not yet confirmed.

    A confirmed release, the champion, that has to be rolled out again is started afresh.
    """
    if view.live is None:
        running = [side for side in Side if view.sides[side].runs(release)]
        return Plan(running[0] if running else Side.BLUE, None)
    other = view.live.other
    live = view.sides[view.live]
    if live.runs(release) and live.healthy and not confirmed:
        return Plan(view.live, other if view.sides[other].healthy else None, resumed=True)
    return Plan(other, view.live)


@dataclass(frozen=True)
class RollOut:
    """One attempt to make a release the one that users reach."""

    target: ServingTarget
    aliases: Aliases
    patience: Patience = field(default_factory=Patience)
    say: Callable[[str], None] = log.info
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def carry_out(self, release: Release) -> Ended:
        """Roll the release out, or find that it is already; RolloutRefusedError if it is bad.

        One that was taken back, or was compared with a champion of before, is not tried: that is
        an end with a reason, and no error.

        After any error users reach what they reached before, and the aliases are as they were;
        but ReplacedError says that another roll-out has taken over, and then that one sees to it.
        """
        with self.held(release.project) as machine:
            return machine._carry_out(release)

    @contextmanager
    def held(self, project: str) -> Iterator[RollOut]:
        """Hold the project, and give the machine that changes something only while it is held."""
        with self.target.hold(project) as insist:
            yield replace(
                self,
                target=FencedTarget(self.target, insist),
                aliases=FencedAliases(self.aliases, insist),
            )

    def history(self, project: str) -> History:
        """Read what the project's versions have been through."""
        return History.of(self.aliases.versions(project))

    def _carry_out(self, release: Release) -> Ended:
        champion = self.aliases.get(release.project, Alias.CHAMPION)
        history = self.history(release.project)
        objection = _objection(release, champion, history)
        view = self._settle(release, champion, history, wanted=not objection)
        if objection:
            return self._refused(release, history, objection)
        if champion == release.version and self._is_served(release, view):
            self.say(f"version {release.version} is champion and healthy: nothing to do")
            return Ended(Status.SKIPPED)
        plan = make_plan(view, release, confirmed=champion == release.version)
        try:
            self._go(release, plan, champion)
        except Exception as error:
            raise self._undone(release, plan, error) from error
        return Ended(Status.DONE)

    def _settle(
        self, release: Release, champion: str | None, history: History, *, wanted: bool
    ) -> View:
        """Undo what a killed roll-out left in front of users, unless it is to be finished now."""
        view = self.target.view(release.project)
        # From a champion that was taken back users are on their way elsewhere, or there already.
        if view.live is None or champion is None or history.taken_back(champion):
            return view
        live, other = view.sides[view.live], view.sides[view.live.other]
        stranded = live.version != champion and not (wanted and live.version == release.version)
        if stranded and other.version == champion and other.healthy:
            self.say(f"version {live.version} was never confirmed: back to {champion} first")
            self.target.select(release.project, view.live.other)
            return self.target.view(release.project)
        return view

    def _refused(self, release: Release, history: History, reason: str) -> Ended:
        """End without having tried, and say so on the version too."""
        self.say(f"version {release.version} of {release.project} is not rolled out: {reason}")
        # What it did before counts on: it may have been checked, and have answered users.
        outcome = history.tags(release.version).get(OUTCOME, REFUSED)
        self.remark(release.project, release.version, outcome, f"not rolled out: {reason}")
        return Ended(Status.REFUSED, reason)

    def _is_served(self, release: Release, view: View) -> bool:
        if view.live is None:
            return False
        live = view.sides[view.live]
        if not (live.runs(release) and live.healthy):
            return False
        try:
            self.check_side(release, view.live)
            self._check(release, self.target.ask_users_way(release.project, release.sample))
        except (RolloutRefusedError, UnansweredError) as error:
            self.say(f"version {release.version} is champion but not healthy: {error}")
            return False
        return True

    def _go(self, release: Release, plan: Plan, champion: str | None) -> None:
        if plan.resumed:
            self.say(f"version {release.version} is on the {plan.side} side: finishing its checks")
        else:
            self.say(f"deploying version {release.version} to the {plan.side} side")
            self.target.deploy(release, plan.side)
            self.await_ready(release, plan.side)
        self.check_side(release, plan.side)
        self.say(f"sending users to the {plan.side} side")
        self.target.select(release.project, plan.side)
        self.check_users_way(release)
        self._crown(release, plan, champion)

    def await_ready(self, release: Release, side: Side) -> None:
        """Wait until the whole side runs the release; RolloutRefusedError when it will not."""
        began, said = self.clock(), ""
        for progress in self.target.progress(release, side):
            line = f"{progress.ready} of {progress.wanted} instances are ready"
            line += f" ({progress.note})" if progress.note else ""
            if line != said:
                self.say(line)
                said = line
            if progress.problem:
                raise RolloutRefusedError(progress.problem)
            if progress.complete:
                return
            if self.clock() - began > self.patience.ready:
                raise RolloutRefusedError(f"after {self.patience.ready:.0f} s {line}")

    def check_side(self, release: Release, side: Side) -> None:
        """Insist that every instance of the side repeats the release's known predictions."""
        try:
            answers = self.target.ask_side(release.project, side, release.sample)
        except UnansweredError as error:
            raise RolloutRefusedError(str(error)) from error
        if not answers:
            raise RolloutRefusedError(f"no instance on the {side} side was there to be asked")
        for answer in answers:
            self._check(release, answer)
        self.say(f"{len(answers)} instances repeat {len(release.expected)} known predictions each")

    def _check(self, release: Release, answer: Answer) -> None:
        if answer.version != release.version:
            raise RolloutRefusedError(
                f"{answer.source} answers as version {answer.version}, not {release.version}"
            )
        if len(answer.predictions) != len(release.expected):
            raise RolloutRefusedError(
                f"{answer.source} gave {len(answer.predictions)} predictions "
                f"for {len(release.expected)} rows"
            )
        for index, (got, known) in enumerate(
            zip(answer.predictions, release.expected, strict=True)
        ):
            if not abs(got - known) <= TOLERANCE:  # also refuses NaN
                raise RolloutRefusedError(
                    f"{answer.source} scores known row {index} as {got:.6g} instead of {known:.6g}"
                )

    def check_users_way(self, release: Release) -> None:
        """Insist on answers in a row: a switch takes a moment to reach every node."""
        began, in_a_row = self.clock(), 0
        while in_a_row < self.patience.steady:
            try:
                answer = self.target.ask_users_way(release.project, release.sample)
                trouble = f"{answer.source} still answers as version {answer.version}"
                switched = answer.version == release.version
            except UnansweredError as error:
                trouble, switched = str(error), False
            if switched:
                self._check(release, answer)
            in_a_row = in_a_row + 1 if switched else 0
            if not switched and self.clock() - began > self.patience.users_way:
                raise RolloutRefusedError(f"users do not reach the new version: {trouble}")
            self.sleep(self.patience.pause)

    def _crown(self, release: Release, plan: Plan, champion: str | None) -> None:
        """Give the version the name, and note its number among the champions."""
        project, version = release.project, release.version
        history = self.history(project)
        if champion and champion != version:
            history = self.confirm(project, champion, history)
        passed = {OUTCOME: DONE, REASON: f"serves on the {plan.side} side"}
        if champion != version or NUMBER not in history.tags(version):
            passed[NUMBER] = str(history.next_number())
        self.name_champion(project, version, history.with_tags(version, passed))
        self.note(project, version, passed)

    def confirm(self, project: str, champion: str, history: History) -> History:
        """Make up for what could not be noted when this champion was named: it may be gone back to.

        What else is written on it is from before.
        """
        past = history.pasts.get(champion)
        if past is None or past.taken_back or past.number:
            return history
        made_up = {NUMBER: str(history.next_number()), OUTCOME: DONE}
        self.aliases.remark(project, champion, made_up)
        return history.with_tags(champion, made_up)

    def name_champion(self, project: str, version: str, history: History) -> None:
        """Move the aliases, `champion` last; a failure leaves both as they were.

        `previous` is where the way back leads to from the new champion.
        """
        back = history.way_back(version)
        before = self.aliases.get(project, Alias.PREVIOUS)
        try:
            self._point(project, Alias.PREVIOUS, back.version if back else None)
            self._point(project, Alias.CHAMPION, version)
        except Exception:
            if self.aliases.get(project, Alias.CHAMPION) == version:
                return  # it was done, only the reply got lost
            self.aliases.point(project, Alias.PREVIOUS, before)
            raise
        self.say(
            f"version {version} is champion, {back.version if back else 'nothing'} is previous"
        )

    def name_previous(self, project: str) -> None:
        """Let `previous` be where the way back leads to now; that it could not be is only told."""
        try:
            champion = self.aliases.get(project, Alias.CHAMPION)
            back = self.history(project).way_back(champion) if champion else None
            self._point(project, Alias.PREVIOUS, back.version if back else None)
        except Exception as error:  # a roll-back looks for itself
            self.say(f"the alias previous could not be brought up to date: {error}")

    def _point(self, project: str, alias: Alias, version: str | None) -> None:
        if self.aliases.get(project, alias) != version:
            self.aliases.point(project, alias, version)

    def _undone(self, release: Release, plan: Plan, error: Exception) -> Exception:
        """Put everything back and return the error to raise."""
        what = f"version {release.version} of {release.project} was not rolled out"
        if isinstance(error, ReplacedError):
            return ReplacedError(f"{what} here: {error}")
        reason = str(error) if isinstance(error, StageError) else f"{type(error).__name__}: {error}"
        undone, left = self._undo(release.project, plan)
        self.note_failure(release.project, release.version, error, reason)
        sentence = f"{what}: {reason}; {left}"
        # A refusal is final; what is still to be taken back needs another try.
        if undone and isinstance(error, RolloutRefusedError):
            return RolloutRefusedError(sentence)
        return StageError(sentence)

    def _undo(self, project: str, plan: Plan) -> tuple[bool, str]:
        """Return whether users have what they had before, and a clause about what that is."""
        try:
            if self.target.view(project).live is not plan.back_to:
                self.target.select(project, plan.back_to)
            # Only now: a side that users may still reach must not be emptied.
            self.target.stop(project, plan.side)
            view = self.target.view(project)
        except Exception as error:
            return False, f"it could not be taken back ({error}), the next roll-out will do that"
        if view.live is None:
            return True, "no version answers"
        return True, f"version {view.sides[view.live].version} keeps answering"

    def note_failure(self, project: str, version: str, error: Exception, reason: str) -> None:
        """Write on the version that it failed; a trouble of the place is no failure of its own."""
        try:
            served = self.history(project).tags(version).get(OUTCOME) == DONE
        except Exception as trouble:
            self.say(f"what version {version} did before is not known: {trouble}")
            return
        if served and not isinstance(error, RolloutRefusedError | BadInputError):
            return
        self.remark(project, version, FAILED, reason)
        self.name_previous(project)

    def remark(self, project: str, version: str, outcome: str, reason: str) -> None:
        """Write on the version how its roll-out ended."""
        self.note(project, version, {OUTCOME: outcome, REASON: reason[:LONGEST]})

    def note(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on the version; that they could not be written is only told."""
        try:
            self.aliases.remark(project, version, tags)
        except Exception as error:
            self.say(f"the outcome could not be noted on version {version}: {error}")


def _objection(release: Release, champion: str | None, history: History) -> str:
    """Say why the release is not even to be tried; "" when nothing speaks against that."""
    if taken := history.taken_back(release.version):
        how = GIVE_BACK.format(project=release.project, version=release.version)
        return f"it was taken back ({taken}); {how} lets it serve again"
    if release.rival is None or champion in (None, release.version):
        return ""
    # What was compared with a champion of before says nothing of the present one.
    if history.tags(champion).get(f"{TAG}sha256", "") == release.rival:
        return ""
    return (
        f"version {champion} has become champion since it was compared: "
        "run its day again, and it is compared with that"
    )
