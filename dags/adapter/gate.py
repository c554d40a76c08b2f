"""The gate: the register stage's decision becomes the branch the run takes."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseBranchOperator, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException


class DecisionBranchOperator(BaseBranchOperator):
    """Go on with the task of the decision, `deploy` or `refuse`.

    The tasks are given, not their names: Airflow puts a task group's name before the id of
    a task within it, and an id written by hand forgets that.
    """

    ui_color = "#e8d7f0"

    def __init__(
        self, *, decided_by: BaseOperator, deploy: BaseOperator, refuse: BaseOperator, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.decided_by = decided_by.task_id
        self.branches = {"deploy": deploy.task_id, "refuse": refuse.task_id}
        decided_by >> self >> [deploy, refuse]

    def choose_branch(self, context: Context) -> str:
        """Return the id of the task to go on with; any other decision fails the run."""
        result = context["ti"].xcom_pull(task_ids=self.decided_by) or {}
        decision = result.get("decision")
        if decision not in self.branches:
            raise AirflowFailException(
                f"{self.decided_by} decided `{decision}`, which is neither `deploy` nor `refuse`"
            )
        self.log.info("%s: %s", decision, result.get("reason"))
        return self.branches[decision]


class KeepChampionOperator(BaseOperator):
    """Say why the candidate was not deployed; return the decision for whoever looks later."""

    ui_color = "#e8d7f0"

    def __init__(self, *, decided_by: BaseOperator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decided_by = decided_by.task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Log the reason of the refusal and return it."""
        result = context["ti"].xcom_pull(task_ids=self.decided_by)
        self.log.info("The champion stays. The candidate was refused: %s", result["reason"])
        return {name: result.get(name) for name in ("decision", "reason", "version")}
