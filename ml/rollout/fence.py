"""Let a roll-out that has lost its hold change nothing any more, whatever step it is at.

Whoever drives a roll-out is given the place and the registry through here, so that no change of
traffic, of what runs, or of a name is made without asking first whether the project is still held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ml.registry.aliases import Alias, Aliases
from ml.registry.model_registry import RegisteredVersion
from ml.rollout.target import Answer, Insist, Progress, Release, ServingTarget, Side, View
from ml.serving.manifest import Row


@dataclass(frozen=True)
class FencedTarget:
    """A place whose every change may raise ReplacedError, and then was not made."""

    target: ServingTarget
    insist: Insist

    def hold(self, project: str) -> AbstractContextManager[Insist]:
        """As the place does."""
        return self.target.hold(project)

    def view(self, project: str) -> View:
        """As the place does."""
        return self.target.view(project)

    def deploy(self, release: Release, side: Side) -> None:
        """Make the side run the release, if the project is still held."""
        self.insist()
        self.target.deploy(release, side)

    def progress(self, release: Release, side: Side) -> Iterator[Progress]:
        """As the place does."""
        return self.target.progress(release, side)

    def ask_side(self, project: str, side: Side, rows: Sequence[Row]) -> Sequence[Answer]:
        """As the place does."""
        return self.target.ask_side(project, side, rows)

    def ask_users_way(self, project: str, rows: Sequence[Row]) -> Answer:
        """As the place does."""
        return self.target.ask_users_way(project, rows)

    def select(self, project: str, side: Side | None) -> None:
        """Send users to that side, if the project is still held."""
        self.insist()
        self.target.select(project, side)

    def stop(self, project: str, side: Side) -> None:
        """Let nothing run on the side, if the project is still held."""
        self.insist()
        self.target.stop(project, side)

    def endpoint(self, project: str) -> str:
        """As the place does."""
        return self.target.endpoint(project)


@dataclass(frozen=True)
class FencedAliases:
    """Names and remarks of versions, whose every change may raise ReplacedError."""

    aliases: Aliases
    insist: Insist

    def get(self, project: str, alias: Alias) -> str | None:
        """As the registry does."""
        return self.aliases.get(project, alias)

    def point(self, project: str, alias: Alias, version: str | None) -> None:
        """Give the name to a version, or to none, if the project is still held."""
        self.insist()
        self.aliases.point(project, alias, version)

    def versions(self, project: str) -> Sequence[RegisteredVersion]:
        """As the registry does."""
        return self.aliases.versions(project)

    def remark(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version, if the project is still held."""
        self.insist()
        self.aliases.remark(project, version, tags)

    def erase(self, project: str, version: str, tag: str) -> None:
        """Take a tag off a version, if the project is still held."""
        self.insist()
        self.aliases.erase(project, version, tag)
