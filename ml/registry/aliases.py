"""The names that registered versions go by: challenger, champion, previous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from ml.registry.model_registry import ModelRegistry, RegisteredVersion

TAG = "slipway."
"""How the names of our tags on MLflow's versions and runs begin."""


class Alias(StrEnum):
    """What a version can be known as; one version per name."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    PREVIOUS = "previous"


class Aliases(Protocol):
    """Where a project's versions have their names and remarks."""

    def get(self, project: str, alias: Alias) -> str | None:
        """Which version has this name, or None."""

    def point(self, project: str, alias: Alias, version: str | None) -> None:
        """Give the name to a version, or to none."""

    def versions(self, project: str) -> Sequence[RegisteredVersion]:
        """All the project's versions with their tags, in no order."""

    def remark(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""

    def erase(self, project: str, version: str, tag: str) -> None:
        """Take a tag that is there off a version."""


class MlflowAliases:
    """The aliases and tags of MLflow's model registry."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def get(self, project: str, alias: Alias) -> str | None:
        """Which version has this name, or None; MlflowException when MLflow can't tell."""
        aliases = self._models.get_registered_model(project).aliases
        version = aliases.get(alias)
        return None if version is None else str(version)

    def point(self, project: str, alias: Alias, version: str | None) -> None:
        """Give the name to a version, or to none."""
        if version is None:
            self._models.delete_registered_model_alias(project, alias)
        else:
            self._models.set_registered_model_alias(project, alias, version)

    def versions(self, project: str) -> Sequence[RegisteredVersion]:
        """All the project's versions with their tags, in no order."""
        return self._models.search_model_versions(f"name = '{project}'")

    def remark(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""
        for key, value in tags.items():
            self._models.set_model_version_tag(project, version, key, value)

    def erase(self, project: str, version: str, tag: str) -> None:
        """Take a tag that is there off a version."""
        self._models.delete_model_version_tag(project, version, tag)
