"""A small registry of one project's models, that keeps the rules of MLflow's, and can break."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml.registry.aliases import Alias, MlflowAliases
from ml.registry.model_registry import RestModel, RestVersion

PROJECT = "parcels"


@dataclass
class MemoryRegistry:
    """Models, versions, their tags and aliases; runs only swallow what they are told."""

    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def search_registered_models(self, filter_string: str) -> Sequence[RestModel]:
        assert filter_string == f"name = '{PROJECT}'"
        return [self.get_registered_model(PROJECT)] if self.tags else []

    def get_registered_model(self, name: str) -> RestModel:
        assert name == PROJECT
        return RestModel(dict(self.aliases))

    def create_registered_model(self, name: str) -> None:
        assert name == PROJECT

    def search_model_versions(self, filter_string: str) -> Sequence[RestVersion]:
        asked = re.fullmatch(r"name = 'parcels'(?: AND tag\.`(.*)` = '(.*)')?", filter_string)
        assert asked, filter_string
        key, value = asked.groups()
        found = [version for version, tags in self.tags.items() if not key or tags[key] == value]
        # MLflow gives the newest first.
        return [self.get_model_version(PROJECT, version) for version in reversed(found)]

    def get_model_version(self, name: str, version: str) -> RestVersion:
        assert name == PROJECT
        return RestVersion(version, dict(self.tags[version]))

    def create_model_version(
        self,
        name: str,
        source: str,  # noqa: ARG002
        run_id: str | None = None,  # noqa: ARG002
        tags: Mapping[str, Any] | None = None,
        *,
        description: str | None = None,  # noqa: ARG002
        model_id: str | None = None,  # noqa: ARG002
    ) -> RestVersion:
        version = str(len(self.tags) + 1)
        self.tags[version] = dict(tags or {})
        return self.get_model_version(name, version)

    def delete_model_version(self, name: str, version: str) -> None:
        raise NotImplementedError(name, version)

    def set_model_version_tag(self, name: str, version: str, key: str, value: object) -> None:
        assert name == PROJECT
        self.tags[version][key] = str(value)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        assert name == PROJECT
        del self.tags[version][key]

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        assert name == PROJECT
        assert version in self.tags
        self.aliases[alias] = version

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        assert name == PROJECT
        self.aliases.pop(alias, None)

    def set_tag(self, run_id: str, key: str, value: object) -> None:
        """Nobody asks a run here."""

    def log_metric(self, run_id: str, key: str, value: float) -> None:
        """Nobody asks a run here."""

    def log_dict(self, run_id: str, dictionary: dict[str, Any], artifact_file: str) -> None:
        self.files[f"{run_id}/{artifact_file}"] = dictionary


class MemoryAliases(MlflowAliases):
    """Our names and remarks in such a registry; `broken` says what fails, and when.

    What fails is `point <alias> <version>`, `remark <version>` or `erase <version>`, `before` its
    effect or `after` it.
    """

    def __init__(self, models: MemoryRegistry | None = None) -> None:
        self.models = models or MemoryRegistry()
        self.broken: dict[str, str] = {}
        super().__init__(self.models)

    @property
    def names(self) -> dict[Alias, str]:
        """Which version has which name."""
        return {Alias(alias): version for alias, version in self.models.aliases.items()}

    @property
    def remarks(self) -> dict[str, dict[str, str]]:
        """The tags of each version."""
        return self.models.tags

    def register(self, version: str, sha256: str) -> None:
        """Make a version known, and the ones before it."""
        while version not in self.models.tags:
            self.models.create_model_version(PROJECT, "", tags={})
        self.models.tags[version].setdefault("slipway.sha256", sha256)

    def point(self, project: str, alias: Alias, version: str | None) -> None:
        self._fail(f"point {alias} {version}", "before")
        super().point(project, alias, version)
        self._fail(f"point {alias} {version}", "after")

    def remark(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        self._fail(f"remark {version}", "before")
        super().remark(project, version, tags)
        self._fail(f"remark {version}", "after")

    def erase(self, project: str, version: str, tag: str) -> None:
        self._fail(f"erase {version}", "before")
        super().erase(project, version, tag)
        self._fail(f"erase {version}", "after")

    def _fail(self, what: str, when: str) -> None:
        if self.broken.get(what) == when:
            raise ConnectionError(f"no registry for {what}")
