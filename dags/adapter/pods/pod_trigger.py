"""Waits in the triggerer, at no worker's cost, for the pod of a long stage to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent
from kubernetes.client import V1Pod
from kubernetes_asyncio.client import ApiException
from kubernetes_asyncio.client import V1Pod as AsyncV1Pod

from adapter.pods.results import UNKNOWN_EXIT, StageEnd

ENDED = frozenset({"success", "failed"})
"""The states of an event that say that the pod's work is over."""


class StagePodTrigger(KubernetesPodTrigger):
    """The provider's trigger, whose event also carries how the stage ended.

    The result is thus in Airflow's hands from the moment the pod is seen to end, and it
    is not lost when the pod is removed before its task is back on a worker.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name this class and the arguments that make an equal trigger."""
        _, kwargs = super().serialize()
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the pod has ended, with its ending under `ending`."""
        async for event in super().run():
            yield await self._with_ending(event)

    async def _with_ending(self, event: TriggerEvent) -> TriggerEvent:
        if event.payload["status"] not in ENDED:
            return event
        try:
            ending = ending_of(await self._get_pod(), self.base_container_name)
        except ApiException as error:
            self.log.warning("Pod %s ended and went away at once: %s", self.pod_name, error.reason)
            return event
        return TriggerEvent({**event.payload, "ending": ending.to_dict() if ending else None})


def ending_of(pod: V1Pod | AsyncV1Pod, container: str) -> StageEnd | None:
    """Return how `container` of a pod ended; None while it has not.

    The pod may come from either Kubernetes client, as both give it the same attributes.
    """
    state = next(
        (one.state for one in pod.status.container_statuses or [] if one.name == container), None
    )
    if state and state.terminated:
        ended = state.terminated
        return StageEnd(
            ended.exit_code, ended.message or "", _reason(ended.reason, pod.status.reason)
        )
    if pod.status.phase == "Failed":
        return StageEnd(UNKNOWN_EXIT, pod.status.message or "", pod.status.reason or "")
    return None


def _reason(container: str | None, pod: str | None) -> str:
    """Return the word for the cause, leaving out those that only repeat the exit code."""
    return pod or (container if container not in {None, "Completed", "Error"} else "") or ""
