"""What people are told at the end of a run, put into words where the facts are at hand.

The notification itself goes out when the run has ended; these tasks give it its sentence, and
leave it in the run's log for whoever looks there.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

_FAILED = "failed"
_LONGEST = 600


class SuccessNewsOperator(BaseOperator):
    """Say which version users have from now on, why, and how well it answers."""

    ui_color = "#d3ead9"

    def __init__(self, *, decided_by: BaseOperator, tested_by: BaseOperator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decided_by = decided_by.task_id
        self.tested_by = tested_by.task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the sentence as `summary`; a run without a tested deployment fails here."""
        decided = context["ti"].xcom_pull(task_ids=self.decided_by) or {}
        tested = context["ti"].xcom_pull(task_ids=self.tested_by) or {}
        if not tested.get("version"):
            raise AirflowFailException(
                f"{self.tested_by} left no version: there is no deployment to tell of"
            )
        summary = (
            f"Users of {context['params']['project']} have version {tested['version']}, which "
            f"answers one row in {tested.get('p50_ms')} ms. {decided.get('reason', '')}"
        )
        self.log.info("%s", summary)
        return {"version": tested["version"], "summary": summary[:_LONGEST]}


class FailureNewsOperator(BaseOperator):
    """Say which tasks of the run have failed; runs when one has, and mends nothing."""

    ui_color = "#f3d3d3"

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the failed tasks' ids and the sentence of the first."""
        ti, run_id = context["ti"], context["run_id"]
        states = ti.get_task_states(dag_id=self.dag_id, run_ids=[run_id]).get(run_id, {})
        failed = sorted(task_id for task_id, state in states.items() if state == _FAILED)
        said = [ti.xcom_pull(task_ids=task_id, key="failure") or {} for task_id in failed]
        error = next((one["error"] for one in said if one.get("error")), "see the task's log")
        self.log.error("%s failed: %s", ", ".join(failed) or "a task", error)
        return {"failed": ", ".join(failed)[: _LONGEST // 2], "error": error[:_LONGEST]}
