"""The operator against the cluster: real pods, from the chart's template, that end in many ways.

Only the command in the pod is ours: a few lines of Python in place of a stage. The same operator
under a real Airflow is in tests/e2e.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import yaml
from adapter.pods.pod_stage import StagePodOperator
from adapter.pods.pod_trigger import StagePodTrigger
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)

from k8s.access import NAMESPACE, kubectl, kubectl_json
from ml.stages import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("default")]

RECORD = "s3://data/flights/ingest/dt=2013-03-01/0123456789abcdef/record.json"
RESULT = json.dumps({"stage": "ingest", "status": "done", "record": RECORD})
LEAVE = "import sys, time; leave = lambda text: open('/dev/termination-log', 'w').write(text); "
WELL = LEAVE + f"print('stage=ingest reading'); leave({RESULT!r})"


class Task:
    """One task instance: operators made for it, and what they hand over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_id = f"test-{uuid4().hex[:12]}"
        self.handed_over: dict[str, Any] = {}
        self.tries = 0

    def operator(self, script: str, **kwargs: Any) -> StagePodOperator:
        """Return the operator of a stage whose pod runs `script`."""
        template = yaml.safe_load(
            kubectl_json("get", "cm", "slipway-stage-pods")["data"]["data.yaml"]
        )
        template["spec"]["containers"][0]["command"] = ["python", "-c", script]
        (self.folder / "data.yaml").write_text(yaml.safe_dump(template))
        return StagePodOperator(
            task_id="ingest",
            stage=Stage("ingest"),
            project="flights",
            as_of="2013-03-01",
            pods_dir=str(self.folder),
            namespace=NAMESPACE,
            in_cluster=False,
            config_file=os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config")),
            **kwargs,
        )

    def context(self) -> Any:  # noqa: ANN401 - the parts of a Context that are needed
        """Return the context of the task's next try."""
        self.tries += 1
        instance = SimpleNamespace(
            dag_id="tests",
            task_id="ingest",
            map_index=-1,
            try_number=self.tries,
            start_date=datetime.now(UTC),
            xcom_push=lambda key, value: self.handed_over.update({key: value}),
        )
        return {"ti": instance, "run_id": self.run_id, "dag": SimpleNamespace()}

    @property
    def pods(self) -> list[dict[str, Any]]:
        """Return the pods that were started for the task."""
        found: list[dict[str, Any]] = kubectl_json(
            "get", "pods", "-l", f"slipway.dev/run={self.run_id}"
        )["items"]
        return found


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Task]:
    task = Task(tmp_path)
    yield task
    kubectl(
        "delete", "pods", "-l", f"slipway.dev/run={task.run_id}", "--grace-period=0", "--wait=false"
    )


def deferred(run: Callable[[], object]) -> StagePodTrigger:
    with pytest.raises(TaskDeferred) as raised:
        run()
    trigger = raised.value.trigger
    assert isinstance(trigger, StagePodTrigger)
    path, kwargs = trigger.serialize()
    assert path == "adapter.pods.pod_trigger.StagePodTrigger"
    return StagePodTrigger(**kwargs)  # as the triggerer makes it


def event_of(trigger: StagePodTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        return await anext(dict(event.payload) async for event in trigger.run())

    return asyncio.run(first())


def test_quick_stage_ends_on_its_worker(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        task.operator(WELL).execute(task.context())
    assert task.handed_over["return_value"] == json.loads(RESULT)
    (pod,) = task.pods
    assert pod["metadata"]["name"].startswith("flights-ingest-20130301-")
    assert pod["metadata"]["labels"]["already_checked"] == "True"


def test_long_stage_is_handed_to_the_triggerer(task: Task) -> None:
    operator = task.operator(LEAVE + f"time.sleep(4); leave({RESULT!r})", patience=1)
    context = task.context()
    event = event_of(deferred(lambda: operator.execute(context)))
    assert event["status"] == "success"
    operator.trigger_reentry(context, event)
    assert task.handed_over["return_value"]["record"] == RECORD


def test_result_outlives_its_pod(task: Task) -> None:
    operator = task.operator(LEAVE + f"time.sleep(3); leave({RESULT!r})", patience=1)
    context = task.context()
    event = event_of(deferred(lambda: operator.execute(context)))
    kubectl("delete", "pod", event["name"], "--grace-period=0", "--force")
    operator.trigger_reentry(context, event)
    assert task.handed_over["return_value"]["record"] == RECORD


def test_bad_data_is_not_tried_again(task: Task) -> None:
    script = LEAVE + """leave('{"error": "2013-03-01 has no rows"}'); sys.exit(3)"""
    with pytest.raises(AirflowFailException, match=r"^ingest failed: 2013-03-01 has no rows$"):
        task.operator(script).execute(task.context())


def test_stage_that_refused_is_skipped_and_its_reason_handed_over(task: Task) -> None:
    refused = {"stage": "roll_out", "status": "refused", "record": RECORD, "reason": "taken back"}
    with pytest.raises(AirflowSkipException, match="ingest refused: taken back"):
        task.operator(LEAVE + f"leave({json.dumps(refused)!r})").execute(task.context())
    assert task.handed_over["return_value"] == refused


def test_crash_is_tried_again_with_a_pod_of_its_own(task: Task) -> None:
    with pytest.raises(AirflowException, match=r"ingest failed: .*the store went away") as failed:
        task.operator("raise OSError('the store went away')").execute(task.context())
    assert not isinstance(failed.value, AirflowFailException)
    task.operator(WELL).execute(task.context())
    assert task.handed_over["return_value"]["record"] == RECORD
    assert len(task.pods) == 2


def test_stage_that_eats_its_memory_is_told_so(task: Task) -> None:
    with pytest.raises(AirflowException, match="more memory than its limit"):
        task.operator(
            "print(len(bytearray(8 * 2**30)) and [b'x' * 2**30 for _ in range(64)])"
        ).execute(task.context())


def test_task_that_lost_its_worker_finds_its_pod(task: Task) -> None:
    script = LEAVE + f"time.sleep(5); leave({RESULT!r})"
    deferred(lambda: task.operator(script, patience=1).execute(task.context()))
    # The worker is gone before the triggerer knew; the next try starts from nothing.
    task.operator(script).execute(task.context())
    assert task.handed_over["return_value"]["record"] == RECORD
    assert len(task.pods) == 1


def test_finished_pod_of_a_lost_worker_is_read_not_run_again(task: Task) -> None:
    deferred(
        lambda: task.operator(LEAVE + f"time.sleep(2); leave({RESULT!r})", patience=1).execute(
            task.context()
        )
    )
    kubectl(
        "wait",
        "pod",
        "-l",
        f"slipway.dev/run={task.run_id}",
        "--for=jsonpath={.status.phase}=Succeeded",
    )
    task.operator(WELL).execute(task.context())
    assert task.handed_over["return_value"]["record"] == RECORD
    assert len(task.pods) == 1


def test_stage_that_hangs_is_stopped(task: Task) -> None:
    operator = task.operator(
        "import time; time.sleep(600)", patience=1, execution_timeout=timedelta(seconds=8)
    )
    context = task.context()
    event = event_of(deferred(lambda: operator.execute(context)))
    with pytest.raises(AirflowException, match="ingest failed: "):
        operator.trigger_reentry(context, event)
    assert not [
        pod
        for pod in task.pods
        if pod["status"]["phase"] in {"Pending", "Running"}
        and "deletionTimestamp" not in pod["metadata"]
    ]
