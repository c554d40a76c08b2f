"""Serve a registered version beside the old one, check it, and only then let users reach it.

The state machine knows no cluster and no MLflow: it drives a ServingTarget and moves Aliases.
Every step may be repeated, and what has been done is read from the target itself, so a roll-out
that was killed is finished, or undone, by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ml.core.errors import BadInputError, RolloutRefusedError, StageError
from ml.core.job import log
from ml.core.record import Status
from ml.registry.aliases import TAG, Alias, Aliases
from ml.rollout.target import Answer, Release, ServingTarget, Side, UnansweredError, View

# Scores come back as decimal text, from float32 arithmetic on another processor.
TOLERANCE = 1e-4
TAG_OUTCOME = f"{TAG}rollout"
TAG_REASON = f"{TAG}rollout_reason"


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds."""

    ready: float = 300
    users_way: float = 60
    pause: float = 0.1
    # Answers in a row over the users' way that must come from the new version.
    steady: int = 5


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

    def carry_out(self, release: Release) -> Status:
        """Roll the release out, or find that it is already; RolloutRefusedError if it is bad.

        BadInputError when another version has become champion since it was compared.

        After any error users reach what they reached before, and the aliases are as they were.
        """
        with self.target.hold(release.project):
            champion = self.aliases.get(release.project, Alias.CHAMPION)
            view = self._settle(release, champion)
            if champion == release.version and self._is_served(release, view):
                self.say(f"version {release.version} is champion and healthy: nothing to do")
                return Status.SKIPPED
            self._insist_on_comparison(release, champion)
            plan = make_plan(view, release, confirmed=champion == release.version)
            try:
                self._go(release, plan, champion)
            except Exception as error:
                raise self._taken_back(release, plan, error) from error
            self.remark(release, "done", f"serves on the {plan.side} side")
            return Status.DONE

    def _settle(self, release: Release, champion: str | None) -> View:
        """Undo what a killed roll-out of another version left in front of users."""
        view = self.target.view(release.project)
        if view.live is None or champion is None:
            return view
        live, other = view.sides[view.live], view.sides[view.live.other]
        stranded = live.version not in (champion, release.version)
        if stranded and other.version == champion and other.healthy:
            self.say(f"version {live.version} was never confirmed: back to {champion} first")
            self.target.select(release.project, view.live.other)
            return self.target.view(release.project)
        return view

    def _insist_on_comparison(self, release: Release, champion: str | None) -> None:
        """Refuse what was compared with a champion of before: the present one may be better."""
        if release.rival is None or champion in (None, release.version):
            return
        if self.aliases.digest(release.project, champion) == release.rival:
            return
        reason = (
            f"version {champion} has become champion since it was compared: "
            "run its day again, and it is compared with that"
        )
        self.remark(release, "failed", reason)
        raise BadInputError(
            f"version {release.version} of {release.project} was not rolled out: {reason}"
        )

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
            self._await_ready(release, plan.side)
        self.check_side(release, plan.side)
        self.say(f"sending users to the {plan.side} side")
        self.target.select(release.project, plan.side)
        self.check_users_way(release)
        self.name_champion(release, champion)

    def _await_ready(self, release: Release, side: Side) -> None:
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

    def name_champion(self, release: Release, champion: str | None) -> None:
        """Move the aliases, `champion` last; a failure leaves both as they were."""
        project, version = release.project, release.version
        if champion == version:
            return
        before = self.aliases.get(project, Alias.PREVIOUS)
        try:
            if champion is not None:
                self.aliases.point(project, Alias.PREVIOUS, champion)
            self.aliases.point(project, Alias.CHAMPION, version)
        except Exception:
            if self.aliases.get(project, Alias.CHAMPION) == version:
                return  # it was done, only the reply got lost
            self.aliases.point(project, Alias.PREVIOUS, before)
            raise
        self.say(f"version {version} is champion, {champion or 'nothing'} is previous")

    def _taken_back(self, release: Release, plan: Plan, error: Exception) -> Exception:
        """Put everything back and return the error to raise."""
        reason = str(error) if isinstance(error, StageError) else f"{type(error).__name__}: {error}"
        undone, left = self._undo(release.project, plan)
        self.remark(release, "failed", reason)
        sentence = (
            f"version {release.version} of {release.project} was not rolled out: {reason}; {left}"
        )
        # A refusal is final; what is still to be taken back needs another try.
        final = (kind for kind in (RolloutRefusedError, BadInputError) if isinstance(error, kind))
        return next(final, StageError)(sentence) if undone else StageError(sentence)

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

    def remark(self, release: Release, outcome: str, reason: str) -> None:
        """Write on the version how its roll-out ended."""
        try:
            tags = {TAG_OUTCOME: outcome, TAG_REASON: reason[:1000]}
            self.aliases.remark(release.project, release.version, tags)
        except Exception as error:  # the remark is for readers: nothing depends on it
            self.say(f"the outcome could not be noted on version {release.version}: {error}")
