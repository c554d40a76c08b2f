"""The scheduler dies in the middle of a training run: the run finishes, with one training pod."""

from __future__ import annotations

import pytest

from k8s.access import Airflow
from tests.e2e.release import delete_pod, pods, wait_until
from tests.e2e.runs import TRAINING, Run, wait_until_known

pytestmark = [pytest.mark.e2e, pytest.mark.budget(60)]

PROJECT, DAY = "parcels_fused", "2013-03-08"


def test_run_outlives_its_scheduler(client: Airflow) -> None:
    wait_until_known(client, PROJECT, [TRAINING])
    run = Run.start(client, TRAINING, DAY, PROJECT)
    wait_until("the training pod", lambda: run.pods_by_stage()["train"] == 1, 120, poll_s=0.2)
    (scheduler,) = pods("app.kubernetes.io/component=airflow-scheduler")
    delete_pod(scheduler["metadata"]["name"])
    run.green()
    assert run.pods_by_stage()["train"] == 1
