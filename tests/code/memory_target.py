"""A small place to deploy to, that keeps every rule of the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ml.rollout.target import (
    Answer,
    BusyError,
    Deployed,
    Insist,
    Progress,
    Release,
    ReplacedError,
    Side,
    TargetError,
    UnansweredError,
    View,
)
from ml.serving.manifest import Row


def release(version: str) -> Release:
    """A version whose model scores a row as its `x` plus the version's number."""
    sample = [{"x": 0.25}, {"x": 0.5}]
    expected = [_score(version, row) for row in sample]
    return Release("parcels", version, f"s3://models/{version}", version * 64, sample, expected)


def _score(version: str, row: Mapping[str, object]) -> float:
    x = row["x"]
    assert isinstance(x, float)
    return x + int(version)


@dataclass
class Flaw:
    """What is wrong with a version, or with the place, for one test."""

    calls: set[str] = field(default_factory=set)  # methods that raise TargetError
    dies: set[str] = field(default_factory=set)  # versions whose instances end at start
    sleeps: set[str] = field(default_factory=set)  # versions that never become ready
    lies: set[str] = field(default_factory=set)  # versions that score wrongly
    not_a_number: set[str] = field(default_factory=set)  # versions that score NaN
    silent: set[str] = field(default_factory=set)  # versions that do not answer at all
    users_way_stuck: bool = False  # the users' way goes on to the old side


@dataclass
class MemoryTarget:
    """Two sides and a switch."""

    flaw: Flaw = field(default_factory=Flaw)
    replicas: int = 2
    live: Side | None = None
    sides: dict[Side, Deployed] = field(default_factory=lambda: {s: Deployed() for s in Side})
    deploys: list[tuple[str, Side]] = field(default_factory=list)
    selections: list[Side | None] = field(default_factory=list)
    replaced: bool = False  # another has taken the hold
    _held: bool = False
    _reached: Side | None = None

    @contextmanager
    def hold(self, project: str) -> Iterator[Insist]:
        if self._held:
            raise BusyError(f"another roll-out of {project} is under way")
        self._held = True
        try:
            yield self._insist
        finally:
            self._held = False

    def _insist(self) -> None:
        if self.replaced:
            raise ReplacedError("the hold was lost")

    def view(self, project: str) -> View:
        self._call("view", project)
        return View(self.live, dict(self.sides))

    def deploy(self, release: Release, side: Side) -> None:
        self._call("deploy", release.project)
        if not (self.sides[side].runs(release) and self.sides[side].wanted):
            self.sides[side] = Deployed(
                release.version, release.model_uri, release.sha256, self.replicas, 0
            )
            self.deploys.append((release.version, side))

    def progress(self, release: Release, side: Side) -> Iterator[Progress]:
        self._call("progress", release.project)
        while True:
            state = self.sides[side]
            if release.version in self.flaw.dies:
                yield Progress(state.wanted, state.ready, problem="pod x ended: no such model")
                return
            yield Progress(state.wanted, state.ready)
            if release.version not in self.flaw.sleeps and state.ready < state.wanted:
                self.sides[side] = replace(state, ready=state.ready + 1)

    def ask_side(self, project: str, side: Side, rows: Sequence[Row]) -> Sequence[Answer]:
        self._call("ask_side", project)
        return [self._answer(side, rows) for _ in range(self.sides[side].ready)]

    def ask_users_way(self, project: str, rows: Sequence[Row]) -> Answer:
        self._call("ask_users_way", project)
        # As on a cluster, the first request after a switch may still go the old way.
        side, self._reached = (
            self._reached,
            self._reached if self.flaw.users_way_stuck else self.live,
        )
        if side is None or not self.sides[side].ready:
            raise UnansweredError("nothing answers")
        return self._answer(side, rows)

    def select(self, project: str, side: Side | None) -> None:
        self._call("select", project)
        self.live = side
        self.selections.append(side)

    def stop(self, project: str, side: Side) -> None:
        self._call("stop", project)
        self.sides[side] = replace(self.sides[side], wanted=0, ready=0)

    def endpoint(self, project: str) -> str:
        return f"memory://{project}"

    def users_get(self) -> str | None:
        """The version that users reach once a switch has settled."""
        ready = self.live is not None and self.sides[self.live].ready
        return self.sides[self.live].version if self.live and ready else None

    def _call(self, name: str, project: str) -> None:
        assert project == "parcels"
        assert self._held, f"{name} without holding the project"
        if name in self.flaw.calls:
            raise TargetError(f"no connection for {name}")

    def _answer(self, side: Side, rows: Sequence[Row]) -> Answer:
        version = self.sides[side].version
        assert version is not None
        if version in self.flaw.silent:
            raise UnansweredError("pod x did not answer")
        off = 0.01 if version in self.flaw.lies else 0.0
        off = float("nan") if version in self.flaw.not_a_number else off
        return Answer(f"pod {side}", version, [_score(version, row) + off for row in rows])
