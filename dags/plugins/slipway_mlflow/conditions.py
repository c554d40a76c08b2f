"""What can be waited for in MLflow: each condition is one look, and says what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from waiting.deferral import Sight

from slipway_mlflow.api import (
    FAILED,
    READY,
    ModelVersion,
    Question,
    find_alias,
    find_metrics,
    find_newest,
    find_version,
)


@dataclass(frozen=True)
class VersionReady:
    """A version of a model exists and is READY; without `version`, the newest one."""

    model: str
    version: str | None = None

    def look(self) -> Question[Sight]:
        """Look at the version's status; AirflowFailException when it will never be ready."""
        if self.version is None:
            found = yield from find_newest(self.model)
        else:
            found = yield from find_version(self.model, self.version)
        if found is None:
            wanted = f"version {self.version}" if self.version else "version"
            return Sight(f"there is no {wanted} of {self.model} yet")
        state = f"version {found.version} of {self.model} is {found.status}"
        if found.status == FAILED:
            raise AirflowFailException(f"{state}: register it again")
        return Sight(state, _result(found) if found.status == READY else None)


@dataclass(frozen=True)
class AliasSet:
    """An alias names a version: any, or `version`, or one that is not `other_than`."""

    model: str
    alias: str
    version: str | None = None
    other_than: str | None = None

    def look(self) -> Question[Sight]:
        """Look at which version the alias names."""
        named = yield from find_alias(self.model, self.alias)
        if named is None:
            return Sight(f"no version of {self.model} is {self.alias} yet")
        state = f"version {named} of {self.model} is {self.alias}"
        if self.version not in (None, named) or self.other_than == named:
            return Sight(state)
        found = yield from find_version(self.model, named)
        return Sight(state, {**_result(found), "alias": self.alias} if found else None)


@dataclass(frozen=True)
class MetricReached:
    """The newest value of a metric is `at_least` and `at_most` so much.

    The run is `run_id`, or that of a model's `version`, or of the version that `alias` names.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    run_id: str | None = None
    model: str | None = None
    version: str | None = None
    alias: str | None = None

    def look(self) -> Question[Sight]:
        """Look at the metric's newest value."""
        run_id, version = self.run_id, self.version
        if run_id is None:
            found = yield from self._version()
            if found is None:
                return Sight(f"{self.model} has no version {self.version or self.alias} yet")
            run_id, version = found.run_id, found.version
        value = (yield from find_metrics(run_id)).get(self.metric)
        if value is None:
            return Sight(f"run {run_id} has no metric {self.metric} yet")
        state = f"{self.metric} of run {run_id} is {value:g}"
        result = {"run_id": run_id, "metric": self.metric, "value": value}
        result |= {"model": self.model, "version": version} if self.model else {}
        return Sight(state, result if self._reached(value) else None)

    def _version(self) -> Question[ModelVersion | None]:
        model, version = self.model or "", self.version
        if version is None:
            version = yield from find_alias(model, self.alias or "")
        return (yield from find_version(model, version)) if version else None

    def _reached(self, value: float) -> bool:
        enough = self.at_least is None or value >= self.at_least
        return enough and (self.at_most is None or value <= self.at_most)


Condition = VersionReady | AliasSet | MetricReached
"""Something that may become true; made of plain values, so that a stored trigger can hold it."""


def stored(condition: Condition) -> dict[str, Any]:
    """Return a condition as plain JSON."""
    return {"kind": type(condition).__name__, **asdict(condition)}


def restored(content: Mapping[str, Any]) -> Condition:
    """Return the condition that `stored` wrote down."""
    fields = dict(content)
    kinds = {kind.__name__: kind for kind in (VersionReady, AliasSet, MetricReached)}
    return kinds[fields.pop("kind")](**fields)


def _result(version: ModelVersion) -> dict[str, Any]:
    result = {"model": version.model, "version": version.version}
    return {**result, "run_id": version.run_id} if version.run_id else result
