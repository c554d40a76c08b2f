"""What the stages ask of MLflow's registry, and a twin of its client that asks over REST alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ml.registry.mlflow_rest import MlflowServer

PAGE = 1000
PROXIED = "mlflow-artifacts:/"


class RegisteredVersion(Protocol):
    """A registered version, as MLflow describes it."""

    @property
    def version(self) -> Any:  # noqa: ANN401 - a string, or in MLflow's client sometimes a number
        """Its number."""

    @property
    def tags(self) -> Any:  # noqa: ANN401 - a mapping of text to text
        """What is written on it."""


class ModelRegistry(Protocol):
    """The part of `mlflow.MlflowClient` that the stages use for models and their versions."""

    def search_registered_models(self, filter_string: str) -> Sequence[Any]:
        """Find models, each with `aliases`, alias to number."""

    def get_registered_model(self, name: str) -> Any:  # noqa: ANN401 - a model with `aliases`
        """Find a model; an error when there is none."""

    def create_registered_model(self, name: str) -> object:
        """Make a model; an error when it is there."""

    def search_model_versions(self, filter_string: str) -> Sequence[RegisteredVersion]:
        """Find versions."""

    def get_model_version(self, name: str, version: str) -> RegisteredVersion:
        """Find a version; an error when there is none."""

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None,
        tags: dict[str, Any] | None,
        *,
        description: str | None,
        model_id: str | None,
    ) -> RegisteredVersion:
        """Make a version."""

    def delete_model_version(self, name: str, version: str) -> None:
        """Remove a version."""

    def set_model_version_tag(self, name: str, version: str, key: str, value: Any) -> None:  # noqa: ANN401
        """Write a tag on a version."""

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Take a tag off a version; an error when it is not there."""

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Give a name to a version."""

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take a name away."""

    def set_tag(self, run_id: str, key: str, value: Any) -> object:  # noqa: ANN401
        """Write a tag on a run."""

    def log_metric(self, run_id: str, key: str, value: float) -> object:
        """Add a number to a run."""

    def log_dict(self, run_id: str, dictionary: dict[str, Any], artifact_file: str) -> None:
        """Keep a JSON file with a run."""


@dataclass(frozen=True)
class RestVersion:
    """A registered version."""

    version: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> RestVersion:
        """Read what the server told of it."""
        tags = {tag["key"]: tag.get("value", "") for tag in told.get("tags", [])}
        return cls(str(told["version"]), tags)


@dataclass(frozen=True)
class RestModel:
    """A registered model."""

    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> RestModel:
        """Read what the server told of it."""
        return cls({one["alias"]: str(one["version"]) for one in told.get("aliases", [])})


@dataclass(frozen=True)
class RestRegistry:
    """A server's registry; every method may raise RestError."""

    server: MlflowServer

    def search_registered_models(self, filter_string: str) -> Sequence[RestModel]:
        """Find models."""
        return [RestModel.of(one) for one in self._all("registered_models", filter_string)]

    def get_registered_model(self, name: str) -> RestModel:
        """Find a model."""
        return RestModel.of(self.server.get("registered-models/get", name=name)["registered_model"])

    def create_registered_model(self, name: str) -> None:
        """Make a model."""
        self.server.post("registered-models/create", name=name)

    def search_model_versions(self, filter_string: str) -> Sequence[RestVersion]:
        """Find versions."""
        return [RestVersion.of(one) for one in self._all("model_versions", filter_string)]

    def get_model_version(self, name: str, version: str) -> RestVersion:
        """Find a version."""
        found = self.server.get("model-versions/get", name=name, version=version)
        return RestVersion.of(found["model_version"])

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None,
        tags: dict[str, Any] | None,
        *,
        description: str | None,
        model_id: str | None,
    ) -> RestVersion:
        """Make a version."""
        made = self.server.post(
            "model-versions/create",
            name=name,
            source=source,
            run_id=run_id,
            tags=[{"key": key, "value": str(value)} for key, value in (tags or {}).items()],
            description=description,
            model_id=model_id,
        )
        return RestVersion.of(made["model_version"])

    def delete_model_version(self, name: str, version: str) -> None:
        """Remove a version."""
        self.server.delete("model-versions/delete", name=name, version=version)

    def set_model_version_tag(self, name: str, version: str, key: str, value: object) -> None:
        """Write a tag on a version."""
        said = {"name": name, "version": version, "key": key, "value": str(value)}
        self.server.post("model-versions/set-tag", **said)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Take a tag off a version."""
        self.server.delete("model-versions/delete-tag", name=name, version=version, key=key)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Give a name to a version."""
        self.server.post("registered-models/alias", name=name, alias=alias, version=version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take a name away."""
        self.server.delete("registered-models/alias", name=name, alias=alias)

    def set_tag(self, run_id: str, key: str, value: object) -> None:
        """Write a tag on a run."""
        self.server.post("runs/set-tag", run_id=run_id, key=key, value=str(value))

    def log_metric(self, run_id: str, key: str, value: float) -> None:
        """Add a number to a run."""
        now = int(time.time() * 1000)
        self.server.post("runs/log-metric", run_id=run_id, key=key, value=value, timestamp=now)

    def log_dict(self, run_id: str, dictionary: dict[str, Any], artifact_file: str) -> None:
        """Keep a JSON file with a run."""
        place = str(self.server.get("runs/get", run_id=run_id)["run"]["info"]["artifact_uri"])
        if not place.startswith(PROXIED):
            # The store behind is asked directly, and MLflow's client knows all of them.
            self._client().log_dict(run_id, dictionary, artifact_file)
            return
        path = f"{place.removeprefix(PROXIED).lstrip('/')}/{artifact_file}"
        self.server.put_artifact(path, json.dumps(dictionary, indent=2).encode())

    def _client(self) -> ModelRegistry:
        from mlflow import MlflowClient

        return MlflowClient(self.server.uri)

    def _all(self, kind: str, filter_string: str) -> Iterator[dict[str, Any]]:
        """Read every page of a search."""
        question = {"filter": filter_string, "max_results": str(PAGE)}
        while True:
            found = self.server.get(f"{kind.replace('_', '-')}/search", **question)
            yield from found.get(kind, [])
            token = found.get("next_page_token")
            if not token:
                return
            question["page_token"] = token
