"""Tells people how runs end, and which are late: one notice each to chat, mail or webhooks.

Listens to Airflow itself, so it works for any DAG, on the cluster and in `airflow dags test`, and a
DAG file has nothing to say about it. Off until SLIPWAY_NOTIFICATIONS_FILE names a file with
addresses. What happens where:

- in a task's process: when it fails, its sentence is kept as the XCom `failure`;
- in the scheduler: when a run ends, its notice is written and put into the outbox;
- in the triggerer: when a run misses its deadline, the same;
- in `send_notice.py`, a process of its own: the addresses are read and the notice is sent.

No receiver can fail or delay a run. What did not get through is counted and logged.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from notifications.notices import notice_of
from notifications.outbox import Outbox
from notifications.run_ends import FAILURE_KEY, run_end
from notifications.subscription import Subscription

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

SENTENCE_BYTES = 900
"""The most of a failed task's sentence that is kept: an XCom may have 1 KiB."""


class Notifications:
    """Listens for the end of runs, and for tasks that fail."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._told: deque[object] = deque(maxlen=1000)

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """Tell that a run ended well, or what it decided."""
        self._ended(dag_run, msg, succeeded=True)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Tell that a run failed, and which task and why."""
        self._ended(dag_run, msg, succeeded=False)

    @hookimpl
    def on_task_instance_failed(
        self,
        task_instance: Any,  # noqa: ANN401 - one of two unrelated classes
        error: str | BaseException | None,
    ) -> None:
        """Keep the sentence of a task that failed, where the notice of its run finds it."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        # The other class: someone marked the task as failed by hand, in the API server.
        if isinstance(task_instance, RuntimeTaskInstance) and error:
            task_instance.xcom_push(FAILURE_KEY, failure_of(error))

    def _ended(self, dag_run: DagRun, cause: str, *, succeeded: bool) -> None:
        subscription = Subscription.read()
        # The scheduler calls again when its transaction had to be repeated.
        end = (dag_run.id, dag_run.created_at, dag_run.clear_number, succeeded)
        if subscription is None or end in self._told:
            return
        run = run_end(dag_run, cause, succeeded=succeeded)
        self._told.append(end)
        if run.idle:
            return
        notice = notice_of(run, subscription.places)
        if notice.event in subscription.events:
            self.outbox.put(notice, subscription.file)


def failure_of(error: str | BaseException) -> dict[str, Any]:
    """Return what is kept of a failure: the sentence, and the exit code where there was one."""
    from airflow.providers.common.compat.sdk import redact

    text = " ".join(str(error).split()) or type(error).__name__
    sentence = str(redact(text))
    while len(json.dumps(sentence)) > SENTENCE_BYTES:
        sentence = sentence[: len(sentence) * 9 // 10]
    kept: dict[str, Any] = {"error": sentence}
    code = getattr(error, "exit_code", None)
    return kept | ({"exit_code": code} if isinstance(code, int) else {})
