"""What a DAG file builds its graph from: the wait for a day's data, and the stages."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import XComArg
from waiting.partition import PartitionSensor

from adapter.environment import DagEnvironment, StagePlace
from adapter.schedule.own_day import know_days
from adapter.schedule.run_days import AS_OF, PROJECT
from ml.stages import Stage

RETRIES: dict[str, Any] = {
    # What can never succeed fails at once by itself (see `adapter.pods.outcome`): these are for a
    # lost node, a full cluster, a store that is away for a minute.
    "retries": 2,
    "retry_delay": 10,
    "retry_exponential_backoff": 3,
    "max_retry_delay": 300,
}

RESCHEDULED: dict[str, Any] = {
    "deferrable": False,
    "mode": "reschedule",
    "poke_interval": 300,
    "timeout": 12 * 3600,
}
"""How a wait for data holds neither a worker nor the triggerer between two looks."""


POOL = "stages"
"""Airflow's pool that every stage's pod takes a place in; the chart makes it and knows its size."""


class Pipeline:
    """The stages of one DAG, each told where to find the record of the one before it."""

    def __init__(self) -> None:
        self.environment = DagEnvironment.read()
        self._tasks: dict[str, BaseOperator] = {}

    def wait_for_partition(
        self, sensor: type[PartitionSensor] = PartitionSensor, **kwargs: Any
    ) -> PartitionSensor:
        """Make the task that waits until the day's data has landed."""
        waiting = sensor(
            landing_url=self.environment.landing_url,
            project=PROJECT,
            as_of=AS_OF,
            **{"task_id": "wait_for_partition", **kwargs},
        )
        know_days(waiting)
        return waiting

    def stage(
        self,
        verb: str,
        *,
        task_id: str | None = None,
        after: BaseOperator | None = None,
        **kwargs: Any,
    ) -> BaseOperator:
        """Make the task of a stage, after the stage that it builds on.

        The task is named like its verb, unless `task_id` is given; `after` is another stage's
        task to start from than the usual one. Raises KeyError when there is no such stage, or
        when the one before it was not made yet.
        """
        operator, given, before = self._parts(verb, after)
        task = operator(**{**given, "task_id": task_id or verb, "as_of": AS_OF, **kwargs})
        know_days(task)
        if before:
            before >> task
        self._tasks[verb] = task
        return task

    def stage_for_each(
        self, verb: str, days: XComArg, at_once: int, **kwargs: Any
    ) -> MappedOperator:
        """Make a stage that runs once for each of the days that a task returns.

        At most `at_once` of them run at the same time. Raises KeyError as `stage` does.
        """
        operator, given, before = self._parts(verb)
        task = operator.partial(
            task_id=verb,
            **given,
            execution_timeout=Stage(verb).timeout,
            max_active_tis_per_dagrun=at_once,
            map_index_template="{{ task.as_of }}",
            **kwargs,
        ).expand(as_of=days)
        know_days(task)
        if before:
            before >> task
        return task

    def _parts(
        self, verb: str, after: BaseOperator | None = None
    ) -> tuple[type[BaseOperator], dict[str, Any], BaseOperator | None]:
        """Return a stage's operator, its arguments, and the task of the stage before it."""
        stage = Stage(verb)
        before = after or (self._tasks[stage.upstream] if stage.upstream else None)
        given: dict[str, Any] = {"stage": stage, "project": PROJECT}
        if before:
            given["upstream_record"] = _record_of(before)
        if self.environment.place is StagePlace.LOCAL:
            from adapter.pods.local_stage import LocalStageOperator

            return LocalStageOperator, given, before
        from adapter.pods.pod_stage import StagePodOperator

        given["pods_dir"] = self.environment.pods_dir
        given["namespace"] = self.environment.namespace
        given["in_cluster"] = self.environment.in_cluster
        given["pool"] = POOL
        return StagePodOperator, given, before


def _record_of(task: BaseOperator) -> str:
    """Return the template of a task's record; only this address goes from stage to stage."""
    return f"{{{{ ti.xcom_pull(task_ids='{task.task_id}')['record'] }}}}"
