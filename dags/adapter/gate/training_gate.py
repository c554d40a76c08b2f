"""What monitoring's decision leads to: a run of the training pipeline, or a reason why none."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseBranchOperator, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from adapter.environment import DagEnvironment, StagePlace
from adapter.schedule.run_days import AS_OF, PROJECT


class TrainingBranchOperator(BaseBranchOperator):
    """Go on with `start` when the stage asks for a training, else with `keep`."""

    ui_color = "#e8d7f0"

    def __init__(
        self, *, decided_by: BaseOperator, start: BaseOperator, keep: BaseOperator, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.decided_by = decided_by.task_id
        self.branches = {True: start.task_id, False: keep.task_id}
        decided_by >> self >> [start, keep]

    def choose_branch(self, context: Context) -> str:
        """Return the id of the task to go on with; no clear answer fails the run."""
        result = context["ti"].xcom_pull(task_ids=self.decided_by) or {}
        start = result.get("start_training")
        if not isinstance(start, bool):
            raise AirflowFailException(
                f"{self.decided_by} does not say whether to start a training: "
                f"`start_training` is `{start}`"
            )
        self.log.info("%s: %s", result.get("decision"), result.get("reason"))
        return self.branches[start]


class StartTrainingOperator(TriggerDagRunOperator):
    """Start the training pipeline for the day, once: the run's id is made from project and day.

    A run with this id that exists already is what was wanted, unless it has failed: then nothing
    has been trained, and the task fails. Where a scheduler runs, a paused training pipeline fails
    the task too: its run would wait unseen.
    """

    def __init__(self, *, dag_to_run: str, **kwargs: Any) -> None:
        super().__init__(
            trigger_dag_id=dag_to_run,
            trigger_run_id=f"monitoring__{PROJECT}__{AS_OF}",
            conf={"project": PROJECT, "as_of": AS_OF},
            logical_date=None,
            # For the moment between looking and starting.
            skip_when_already_exists=True,
            fail_when_dag_is_paused=DagEnvironment.read().place is StagePlace.PODS,
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        """Start the run, unless it was started before."""
        count = partial(
            context["ti"].get_dr_count,
            dag_id=self.trigger_dag_id,
            run_ids=[str(self.trigger_run_id)],
        )
        if count(states=["failed"]):
            raise AirflowFailException(
                f"the run {self.trigger_run_id} of {self.trigger_dag_id}, which was started for "
                "this day, has failed: clear what failed in it, then this task"
            )
        if count():
            self.log.info("%s has the run %s already", self.trigger_dag_id, self.trigger_run_id)
            return
        super().execute(context)


class KeepModelOperator(BaseOperator):
    """Say why no training was started; return the decision for whoever looks later."""

    ui_color = "#e8d7f0"

    def __init__(self, *, decided_by: BaseOperator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decided_by = decided_by.task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Log why the model stays as it is, and return it."""
        result = context["ti"].xcom_pull(task_ids=self.decided_by)
        note = result.get("training_note")
        reason = f"{result['reason']}; no training is started: {note}" if note else result["reason"]
        self.log.info("No training is started (%s): %s", result["decision"], reason)
        kept = {name: result.get(name) for name in ("decision", "version", "run_id", "report")}
        return kept | {"reason": reason}
