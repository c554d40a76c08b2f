"""Runs a stage as a pod of its own, and gives its small result to the tasks that follow."""

from __future__ import annotations

import datetime
import time
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import BaseXCom, Context
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import CoreV1Api, V1Pod
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch
from pendulum import DateTime
from urllib3.exceptions import HTTPError

from adapter.pods.fuse import chain_of, key_of, left_for, preflight, time_for
from adapter.pods.identity import StageRun
from adapter.pods.outcome import conclude, skip_refused
from adapter.pods.pod_trigger import ENDED, StagePodTrigger, ending_of
from adapter.pods.results import UNKNOWN_EXIT, StageEnd, apart
from adapter.pods.stage_links import links_of
from adapter.schedule.features import announce
from ml.stages import Stage

_NOT_FOUND = 404


class StagePodOperator(KubernetesPodOperator):
    """One stage in one pod.

    The pod comes from the profile's template in `pods_dir`; this operator adds only its name,
    labels, arguments and the ids of the run. There is no sidecar: what the stage leaves as its
    termination message becomes the task's return value.

    A task waits `patience` seconds on its worker, as most stages end soon and a hand-over to
    the triggerer and back costs more than that wait; then it defers. A task that starts again,
    because its worker or the scheduler died, finds its pod by its labels and goes on waiting
    for it. Finished pods stay for a while, so that they can be looked at; one that is given up
    is deleted.
    """

    template_fields = (
        *KubernetesPodOperator.template_fields,
        "project",
        "as_of",
        "upstream_record",
    )
    ui_color = "#d7e8d0"

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "in_cluster": True,
        "kubernetes_conn_id": None,
        "deferrable": True,
        "do_xcom_push": False,  # true would add the sidecar; the result is pushed by hand
        "startup_timeout_seconds": 600,
        "startup_check_interval_seconds": 1,
        "poll_interval": 0.5,
        "log_events_on_startup": False,
        "log_events_on_failure": True,
        "log_pod_spec_on_failure": False,
        "on_finish_action": "delete_active_pod",
        "termination_message_policy": "FallbackToLogsOnError",
        "get_logs": False,  # the provider would follow the log of a pod that hangs
    }

    def __init__(
        self,
        *,
        stage: Stage,
        project: str,
        as_of: str,
        upstream_record: str | None = None,
        pods_dir: str,
        patience: float = 20,
        **kwargs: Any,
    ) -> None:
        kwargs = {**self.DEFAULTS, "execution_timeout": stage.timeout, **kwargs}
        super().__init__(pod_template_file=f"{pods_dir}/{stage.profile}.yaml", **kwargs)
        self.stage = stage
        self.operator_extra_links = links_of(stage)
        self.project = project
        self.as_of = as_of
        self.upstream_record = upstream_record
        self.patience = patience

    def execute(self, context: Context) -> None:
        """Start the stage's pod and wait for its end; a stage that is done needs no pod."""
        left = left_for(self, context)
        if left:
            self.log.info("%s was done in the pod of a stage before: no pod", self.stage)
            self._hand_over(context, left)
            return
        preflight(self.stage, self.upstream_record)
        super().execute(context)

    def _hand_over(self, context: Context, result: dict[str, Any]) -> None:
        announce(self.outlets, context, self.project, self.as_of, result)
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=result)
        skip_refused(self.stage, result)

    @property
    def _limit(self) -> datetime.timedelta | None:
        """How long the pod may take: each of its stages as long as on its own."""
        alone = self.execution_timeout
        return None if alone is None else alone + time_for(chain_of(self)[1:])

    @cached_property
    def hook(self) -> KubernetesHook:
        """Return the cluster's client, without asking Airflow for a connection that isn't there."""
        return KubernetesHook(
            kubernetes_conn_id=None, in_cluster=self.in_cluster, config_file=self.config_file
        )

    def build_pod_request_obj(
        self, context: Context | None = None, *, dry_run: bool = False
    ) -> V1Pod:
        """Return the pod: the profile's template, made into this stage of this run."""
        if context is not None:
            run = self.run_of(context)
            self.name = run.pod_name
            self.labels = run.labels
            self.env_vars = run.environment
            self.arguments = run.arguments(self.upstream_record)
            limit = self._limit
            self.active_deadline_seconds = int(limit.total_seconds()) if limit else None
        return super().build_pod_request_obj(context, dry_run=dry_run)

    def run_of(self, context: Context) -> StageRun:
        """Return which stage of which run this task is."""
        return StageRun(
            project=self.project,
            stage=str(self.stage),
            as_of=self.as_of,
            dag_id=self.dag_id,
            task_id=self.task_id,
            run_id=context["run_id"],
            chain=tuple(map(str, chain_of(self))),
        )

    def invoke_defer_method(
        self,
        last_log_time: DateTime | None = None,  # noqa: ARG002 - the provider's signature
        context: Context | None = None,
    ) -> None:
        """Wait a little for the pod's end, and defer when it takes longer."""
        if context is None or self.pod is None:
            raise RuntimeError("the provider called invoke_defer_method without a context or a pod")
        ending = self._wait_for_ending(self.pod)
        if ending is not None:
            self.trigger_reentry(context, _event_of(self.pod, ending))
            return
        self._defer(self.pod, context)

    def _wait_for_ending(self, pod: V1Pod) -> StageEnd | None:
        """Watch the pod until its stage has ended, for `patience` seconds at most."""
        client: CoreV1Api = self.client
        changes = Watch().stream(
            client.list_namespaced_pod,
            namespace=pod.metadata.namespace,
            field_selector=f"metadata.name={pod.metadata.name}",
            timeout_seconds=max(1, round(self.patience)),
        )
        try:
            endings = (ending_of(change["object"], self.base_container_name) for change in changes)
            return next((ending for ending in endings if ending), None)
        except (ApiException, HTTPError) as error:
            self.log.warning("The watch of pod %s broke: %s", pod.metadata.name, error)
            return None  # the trigger goes on from here

    def _defer(self, pod: V1Pod, context: Context) -> None:
        deadline = self._deadline(context)
        if not self.in_cluster:
            self.convert_config_file_to_dict()  # type: ignore[no-untyped-call]
        self.defer(
            trigger=StagePodTrigger(
                pod_name=pod.metadata.name,
                pod_namespace=pod.metadata.namespace,
                trigger_start_time=datetime.datetime.now(tz=datetime.UTC),
                base_container_name=self.base_container_name,
                connection_extras={},
                in_cluster=self.in_cluster,
                config_dict=self._config_dict,
                poll_interval=self.poll_interval,
                startup_timeout=self.startup_timeout_seconds,
                startup_check_interval=self.startup_check_interval_seconds,
                schedule_timeout=self.schedule_timeout_seconds,
                log_events_on_startup=self.log_events_on_startup,
                on_finish_action=self.on_finish_action.value,
                on_kill_action=self.on_kill_action.value,
                trigger_kwargs={**(self.trigger_kwargs or {}), "_execution_deadline": deadline},
            ),
            method_name="trigger_reentry",
            # The trigger itself reports the time-out; this only catches a trigger that is lost.
            timeout=_until(deadline + 60) if deadline else None,
        )

    def _deadline(self, context: Context) -> int | None:
        """Return the second at which the task's time is up, counted from its first start."""
        limit = self._limit
        if limit is None:
            return None
        return int((context["ti"].start_date + limit).timestamp())

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """Take the stage's log and result over, once its pod has ended."""
        name, namespace = event["name"], event["namespace"]
        if event["status"] in ENDED:
            ending = event.get("ending")
        else:
            ending = self._after_trouble(context, event)
        self._copy_log(name, namespace)
        self._mark_as_read(name, namespace)
        # Without its ending a pod that ended well has left no result, which the next try finds.
        unseen = StageEnd(0 if event["status"] == "success" else UNKNOWN_EXIT)
        own, others = apart(self.stage, StageEnd(**ending) if ending else unseen)
        for verb, result in others.items():
            context["ti"].xcom_push(key=key_of(verb), value=result)
        self._hand_over(context, conclude(self.stage, own, self.log))

    def _after_trouble(self, context: Context, event: dict[str, Any]) -> dict[str, Any] | None:
        """Let the provider deal with a trigger that timed out or broke.

        It fails the task, or waits again when the pod is still at work, or comes back
        from here when the pod turns out to have ended well.
        """
        if event["status"] == "timeout":
            self._copy_log(event["name"], event["namespace"])
        try:
            super().trigger_reentry(context, event)
        except AirflowException as error:
            sentence = event.get("message") or str(error)
            raise AirflowException(f"{self.stage} failed: {sentence}") from None
        ending = ending_of(self.pod, self.base_container_name) if self.pod else None
        return ending.to_dict() if ending else None

    def _copy_log(self, name: str, namespace: str) -> None:
        """Write the stage's log into the task's, where it outlives the pod."""
        try:
            log = self.client.read_namespaced_pod_log(
                name, namespace, container=self.base_container_name, _preload_content=False
            )
            for line in log:
                self.log.info("%s", line.decode(errors="backslashreplace").rstrip("\n"))
        except (ApiException, HTTPError) as error:
            # A lost log must not cost a finished stage: its result is safe in the event.
            self.log.warning("The log of pod %s cannot be read: %s", name, _why(error))

    def _mark_as_read(self, name: str, namespace: str) -> None:
        """Label the pod as dealt with: the task's next try starts a pod of its own."""
        labels = {"metadata": {"labels": {self.POD_CHECKED_KEY: "True"}}}
        try:
            self.client.patch_namespaced_pod(name, namespace, labels)
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise


def _until(second: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=max(second - time.time(), 0))


def _event_of(pod: V1Pod, ending: StageEnd) -> dict[str, Any]:
    return {
        "status": "success" if ending.exit_code == 0 else "failed",
        "name": pod.metadata.name,
        "namespace": pod.metadata.namespace,
        "ending": ending.to_dict(),
    }


def _why(error: ApiException | HTTPError) -> str:
    gone = isinstance(error, ApiException) and error.status == _NOT_FOUND
    return "the pod is already gone" if gone else str(error)
