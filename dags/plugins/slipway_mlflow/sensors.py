"""Sensors that wait for something in MLflow: a version, an alias, a metric.

Each is a condition of `slipway_mlflow.conditions`, whose look is the same on a worker and in the
triggerer. A server that is away for a while is waited for too; one that refuses fails the task at
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waiting.deferral import DeferringSensor, LookingTrigger, Sight

from slipway_mlflow.conditions import (
    AliasSet,
    Condition,
    MetricReached,
    VersionReady,
    restored,
    stored,
)
from slipway_mlflow.hook import MlflowHook, MlflowUnreachableError
from slipway_mlflow.links import ModelVersionLink, RunLink


class MlflowSensor(DeferringSensor):
    """Wait for a condition in MLflow; the parent of the sensors below.

    :param mlflow_conn_id: the Airflow connection of type `mlflow`
    """

    ui_color = "#d8e6f3"
    operator_extra_links = (RunLink(), ModelVersionLink())

    def __init__(
        self, *, mlflow_conn_id: str = MlflowHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mlflow_conn_id = mlflow_conn_id

    @property
    def condition(self) -> Condition:
        """Return what is waited for, once the templates are filled in."""
        raise NotImplementedError

    def look(self) -> Sight:
        """Look at the condition once."""
        try:
            return MlflowHook(self.mlflow_conn_id).ask(self.condition.look())
        except MlflowUnreachableError as error:
            return Sight(str(error), away=True)

    def trigger_until(self, give_up_at: float) -> MlflowTrigger:
        """Return what waits for the condition in the triggerer."""
        return MlflowTrigger(
            stored(self.condition), self.mlflow_conn_id, self.poke_interval, give_up_at
        )


class MlflowModelVersionSensor(MlflowSensor):
    """Wait until a version of a model is registered and ready; return `model`, `version`, `run_id`.

    :param model: the registered model (templated)
    :param version: the version's number; without one, any version will do (templated)
    """

    template_fields = ("model", "version")

    def __init__(self, *, model: str, version: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version

    @property
    def condition(self) -> VersionReady:
        """Return what is waited for."""
        return VersionReady(self.model, _given(self.version))


class MlflowAliasSensor(MlflowSensor):
    """Wait until an alias names a version; return `model`, `version`, `alias`, `run_id`.

    :param model: the registered model (templated)
    :param alias: the alias, such as `champion` (templated)
    :param version: the version it must name; without one, any (templated)
    :param other_than: a version it must have moved away from (templated)
    """

    template_fields = ("model", "alias", "version", "other_than")

    def __init__(
        self,
        *,
        model: str,
        alias: str,
        version: str | None = None,
        other_than: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alias = alias
        self.version = version
        self.other_than = other_than

    @property
    def condition(self) -> AliasSet:
        """Return what is waited for."""
        return AliasSet(self.model, self.alias, _given(self.version), _given(self.other_than))


class MlflowMetricSensor(MlflowSensor):
    """Wait until a metric's newest value is within limits; return `run_id`, `metric`, `value`.

    Whose metric it is: of the run `run_id`, or of the run behind a `model`'s `version` or `alias`.

    :param metric: the metric's name (templated)
    :param at_least: the smallest value that will do (templated)
    :param at_most: the largest value that will do (templated)
    :param run_id: the run (templated)
    :param model: the registered model (templated)
    :param version: the model's version (templated)
    :param alias: the alias that names the version (templated)
    """

    template_fields = ("metric", "at_least", "at_most", "run_id", "model", "version", "alias")

    def __init__(
        self,
        *,
        metric: str,
        at_least: float | str | None = None,
        at_most: float | str | None = None,
        run_id: str | None = None,
        model: str | None = None,
        version: str | None = None,
        alias: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (run_id is None) == (model is None) or (model and (version is None) == (alias is None)):
            raise ValueError(
                f"{self.task_id}: give either `run_id`, or `model` with either `version` or `alias`"
            )
        self.metric = metric
        self.at_least = at_least
        self.at_most = at_most
        self.run_id = run_id
        self.model = model
        self.version = version
        self.alias = alias

    @property
    def condition(self) -> MetricReached:
        """Return what is waited for."""
        return MetricReached(
            self.metric,
            _number(self.at_least),
            _number(self.at_most),
            self.run_id,
            self.model,
            _given(self.version),
            self.alias,
        )


class MlflowTrigger(LookingTrigger):
    """Look at MLflow until a condition is met."""

    def __init__(
        self,
        condition: Mapping[str, Any],
        mlflow_conn_id: str,
        poke_interval: float,
        give_up_at: float,
    ) -> None:
        super().__init__(poke_interval, give_up_at)
        self.condition = dict(condition)
        self.mlflow_conn_id = mlflow_conn_id

    @property
    def subject(self) -> dict[str, Any]:
        """Return what is looked at, and as whom."""
        return {"condition": self.condition, "mlflow_conn_id": self.mlflow_conn_id}

    async def look(self) -> Sight:
        """Look at the condition once."""
        try:
            return await MlflowHook(self.mlflow_conn_id).aask(restored(self.condition).look())
        except MlflowUnreachableError as error:
            return Sight(str(error), away=True)


def _given(version: object) -> str | None:
    """Return a version as MLflow writes it; a template may have made it a number, or nothing."""
    return None if version in (None, "") else str(version)


def _number(limit: float | str | None) -> float | None:
    return None if limit is None else float(limit)
