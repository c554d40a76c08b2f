"""What a roll-out asks of the place it deploys to, in words that fit any such place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from ml.core.errors import StageError
from ml.serving.manifest import Row


class Side(StrEnum):
    """One of the two places a project's model can run in; users reach one of them."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Side:
        """The side that this one takes turns with."""
        return Side.GREEN if self is Side.BLUE else Side.BLUE


class TargetError(StageError):
    """The place could not do what it was asked; one sentence, worth another try."""


class BusyError(TargetError):
    """Another roll-out of the same project is under way."""


class ReplacedError(TargetError):
    """Another roll-out has taken this one's place: from now on this one may change nothing."""


class UnansweredError(TargetError):
    """A prediction that was asked for did not come back; says from where and why."""


@dataclass(frozen=True)
class Release:
    """One registered version, pinned to its bytes, with predictions it must repeat.

    `rival` is the sha256 of the champion that the gate compared it with, "" when there was none,
    and None when no gate is asked.
    """

    project: str
    version: str
    model_uri: str
    sha256: str
    sample: Sequence[Row]
    expected: Sequence[float]
    rival: str | None = None


@dataclass(frozen=True)
class Deployed:
    """What a side is told to run, and how much of it runs."""

    version: str | None = None
    model_uri: str | None = None
    sha256: str | None = None
    wanted: int = 0
    ready: int = 0

    def runs(self, release: Release) -> bool:
        """Whether this side is pinned to exactly that release."""
        return (self.version, self.sha256) == (release.version, release.sha256)

    @property
    def healthy(self) -> bool:
        """Whether every instance that is wanted is ready, and there is at least one."""
        return 0 < self.wanted <= self.ready


@dataclass(frozen=True)
class View:
    """Both sides of a project and the one that users reach (None before the first)."""

    live: Side | None
    sides: Mapping[Side, Deployed]


@dataclass(frozen=True)
class Progress:
    """How far a side has come; `problem` is a sentence once it can no longer succeed."""

    wanted: int
    ready: int
    note: str = ""
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all the new instances, and only they, are ready."""
        return self.problem is None and 0 < self.wanted <= self.ready


@dataclass(frozen=True)
class Answer:
    """What one instance replied, and which version it says it is."""

    source: str
    version: str
    predictions: Sequence[float]


Insist: TypeAlias = Callable[[], None]
"""Asks whether the project is still held by whoever asks; ReplacedError when it is not."""


class ServingTarget(Protocol):
    """A place that serves models. Every method may raise TargetError."""

    def hold(self, project: str) -> AbstractContextManager[Insist]:
        """Be the only roll-out of this project; raises BusyError when another one stays.

        What the block is given is to be asked before each change.
        """

    def view(self, project: str) -> View:
        """What is deployed now."""

    def deploy(self, release: Release, side: Side) -> None:
        """Make the side run the release; asking twice changes nothing."""

    def progress(self, release: Release, side: Side) -> Iterator[Progress]:
        """Yield now, at every change, and at least every few seconds, without end."""

    def ask_side(self, project: str, side: Side, rows: Sequence[Row]) -> Sequence[Answer]:
        """Have every ready instance of the side predict, whether users reach it or not."""

    def ask_users_way(self, project: str, rows: Sequence[Row]) -> Answer:
        """Predict once over the path that users take."""

    def select(self, project: str, side: Side | None) -> None:
        """Send users to that side (None: nowhere, there is nothing good to send them to)."""

    def stop(self, project: str, side: Side) -> None:
        """Let nothing run on the side."""

    def endpoint(self, project: str) -> str:
        """Where users send their requests."""
