"""The scheduler dies in the middle of a training run: the run finishes, with one training pod."""

from __future__ import annotations

import pytest

from k8s.access import Airflow
from k8s.demo import Clock, land
from tests.e2e.release import (
    delete_pod,
    finished_run,
    pods,
    stage_pods,
    train_when_known,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_run_outlives_its_scheduler(client: Airflow, clock: Clock) -> None:
    land(clock, "flights_eager")
    run_id = train_when_known(client, "flights_eager", "2013-03-03", "killed")

    def training() -> bool:
        return bool(stage_pods("flights_eager", "train", run_id))

    wait_until("the training pod", training, 300, poll_s=0.2)
    (scheduler,) = pods("app.kubernetes.io/component=airflow-scheduler")
    delete_pod(scheduler["metadata"]["name"])

    assert finished_run(client, run_id, 600) == "success"
    assert len(stage_pods("flights_eager", "train", run_id)) == 1
