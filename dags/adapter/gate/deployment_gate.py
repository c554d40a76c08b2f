"""The gate: the register stage's decision becomes the branch the run takes.

Before it deploys a model of a project with `approval: true`, the gate asks a person, as Airflow's
human-in-the-loop operators do, under "Required Actions" in the UI. A no, or no answer in time,
keeps the champion. No other task leads to the deployment, so nothing goes around the question.
The answer is noted on the version in MLflow where tasks have a connection to it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import BaseOperator, BaseXCom, Context, Param
from airflow.sdk.bases.branch import BranchMixIn
from airflow.sdk.exceptions import AirflowFailException

from adapter.environment import DagEnvironment
from adapter.gate.approval import Approval
from adapter.gate.question import ApprovalQuestion, cut, hours
from adapter.schedule.project_facts import spec_of
from adapter.schedule.run_days import PROJECT

DEPLOY, REFUSE = "deploy", "refuse"
NOTE_LIMIT = 200
"""Bytes that an answer's note may take in an XCom: the gate's result must stay under 1 KiB."""


class KeepChampionOperator(BaseOperator):
    """Say why the candidate was not deployed, and return the gate's decision."""

    ui_color = "#e8d7f0"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decided_by: str | None = None

    def obey(self, gate: BaseOperator) -> None:
        """Take the decision from this gate."""
        self.decided_by = gate.task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Log the reason of the refusal and return it; fails when no gate has refused."""
        decision = context["ti"].xcom_pull(task_ids=self.decided_by) if self.decided_by else None
        if not isinstance(decision, dict) or decision.get("decision") != REFUSE:
            raise AirflowFailException(
                f"{self.decided_by} refused nothing: clear it, so that it decides"
            )
        self.log.info("The champion stays. The candidate was refused: %s", decision["reason"])
        return decision


class DecisionBranchOperator(HITLOperator, BranchMixIn):
    """Go on with the task of the decision, `deploy` or `refuse`, and return it with its reason.

    The tasks are given, not their names: Airflow puts a task group's name before the id of
    a task within it, and an id written by hand forgets that.

    Where the project demands an approval, a deployment is only taken once a person has agreed.
    The task then waits as `awaiting_input`, which takes no worker, no triggerer and no slot.

    :param decided_by: the task whose result holds `decision`, `reason` and what was compared
    :param deploy: the task to go on with when the candidate is to be deployed
    :param refuse: the task to go on with when the champion stays
    :param project: the project, whose YAML says whether a person is asked (templated)
    :param answer_within: how long a person may take; no answer is a no
    """

    inherits_from_skipmixin = True
    template_fields = ("project",)  # the question is put together here, from results: no template
    ui_color = "#e8d7f0"

    def __init__(
        self,
        *,
        decided_by: BaseOperator,
        deploy: BaseOperator,
        refuse: BaseOperator,
        project: str = PROJECT,
        answer_within: timedelta = timedelta(hours=12),
        params: object = None,  # noqa: ARG002 - the run's own, which are no part of the question
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject="Deploy the candidate?",
            options=[ApprovalOperator.APPROVE, ApprovalOperator.REJECT],
            defaults=ApprovalOperator.REJECT,  # what a timeout means
            params={"note": _note()},
            response_timeout=answer_within,
            **kwargs,
        )
        self.project = project
        self.decided_by = decided_by.task_id
        self.branches = {DEPLOY: deploy.task_id, REFUSE: refuse.task_id}
        if isinstance(refuse, KeepChampionOperator):
            refuse.obey(self)
        decided_by >> self >> [deploy, refuse]

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the branch of the decision, or ask first; any other decision fails the run."""
        decided = self._decided(context)
        if decided["decision"] == REFUSE or not spec_of(self.project).approval:
            return self._follow(context, decided["decision"], decided["reason"], decided)
        question = ApprovalQuestion(self.project, decided, hours(self.response_timeout))
        self.subject = question.subject
        self.body = question.body(DagEnvironment.read().mlflow_ui_url)
        self.log.info("%s Waiting for an answer in the UI, under Required Actions", self.subject)
        super().execute(context)  # leaves by an exception of Airflow's, until there is an answer
        raise AirflowFailException("Airflow went on without an answer: nothing is deployed")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take the branch that a person has chosen; `refuse` when nobody has."""
        answer = super().execute_complete(context, event)
        decided = self._decided(context)
        by = _name_of(answer["responded_by_user"])
        approved = by is not None and answer["chosen_options"] == [ApprovalOperator.APPROVE]
        reason = self._reason(by, str(answer["params_input"].get("note") or ""), approved=approved)
        Approval(self.project, str(decided["version"]), approved, by, reason).keep()
        return self._follow(context, DEPLOY if approved else REFUSE, reason, decided, by)

    def _decided(self, context: Context) -> dict[str, Any]:
        result = context["ti"].xcom_pull(task_ids=self.decided_by) or {}
        decision = result.get("decision")
        if decision not in self.branches:
            raise AirflowFailException(
                f"{self.decided_by} decided `{decision}`, which is neither `deploy` nor `refuse`"
            )
        return {"reason": "", "version": None, **result}

    def _reason(self, by: str | None, note: str, *, approved: bool) -> str:
        if by is None:
            return f"nobody approved it within {hours(self.response_timeout)}"
        said = f"{by} {'approved' if approved else 'rejected'} it"
        return f"{said}: {cut(note, NOTE_LIMIT)}" if note else said

    def _follow(
        self,
        context: Context,
        decision: str,
        reason: str,
        decided: dict[str, Any],
        by: str | None = None,
    ) -> dict[str, Any]:
        self.log.info("%s: %s", decision, reason)
        result = {"decision": decision, "reason": reason, "version": decided["version"]}
        result |= {"by": by} if by else {}
        # Branching leaves by an exception, so what is returned after it would reach nobody.
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=result)
        self.do_branch(context, self.branches[decision])
        return result


def _note() -> Param:
    """Return the field beside the two buttons."""
    return Param(
        "",
        type=["null", "string"],
        maxLength=NOTE_LIMIT,
        title="Note",
        description="Why, for the record.",
        source="task",
    )


def _name_of(user: dict[str, Any] | None) -> str | None:
    return None if user is None else str(user.get("name") or user.get("id"))
