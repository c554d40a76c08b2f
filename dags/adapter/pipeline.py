"""What a DAG file builds its graph from: the wait for a day's data, and the stages."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from custom_sensors import PartitionSensor

from adapter.settings import Place, Settings
from adapter.stages import STAGES

PROJECT = "{{ params.project }}"
AS_OF = "{{ params.as_of or ((dag_run.logical_date or dag_run.run_after) | ds) }}"
RETRIES: dict[str, Any] = {
    # What can never succeed fails at once by itself (see `adapter.outcome`): these are for a lost
    # node, a full cluster, a store that is away for a minute.
    "retries": 2,
    "retry_delay": 10,
    "retry_exponential_backoff": 3,
    "max_retry_delay": 300,
}

RESCHEDULED: dict[str, Any] = {"deferrable": False, "mode": "reschedule", "poke_interval": 300}
"""How a wait for data holds neither a worker nor the triggerer between two looks."""


class Pipeline:
    """The stages of one DAG, each told where to find the record of the one before it."""

    def __init__(self) -> None:
        self.settings = Settings.read()
        self._tasks: dict[str, BaseOperator] = {}

    def wait_for_partition(self, **kwargs: Any) -> PartitionSensor:
        """Make the task that waits until the day's data has landed."""
        return PartitionSensor(
            landing_url=self.settings.landing_url,
            project=PROJECT,
            as_of=AS_OF,
            **{"task_id": "wait_for_partition", **kwargs},
        )

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
        stage = STAGES[verb]
        before = after or (self._tasks[stage.upstream] if stage.upstream else None)
        task = self._operator(
            task_id=task_id or verb,
            stage=stage,
            project=PROJECT,
            as_of=AS_OF,
            upstream_record=_record_of(before) if before else None,
            **kwargs,
        )
        if before:
            before >> task
        self._tasks[verb] = task
        return task

    def _operator(self, **kwargs: Any) -> BaseOperator:
        if self.settings.place is Place.LOCAL:
            from adapter.local_stage import LocalStageOperator

            return LocalStageOperator(**kwargs)
        from adapter.pod_stage import StagePodOperator

        return StagePodOperator(
            pods_dir=self.settings.pods_dir,
            namespace=self.settings.namespace,
            in_cluster=self.settings.in_cluster,
            **kwargs,
        )


def _record_of(task: BaseOperator) -> str:
    """Return the template of a task's record; only this address goes from stage to stage."""
    return f"{{{{ ti.xcom_pull(task_ids='{task.task_id}')['record'] }}}}"
