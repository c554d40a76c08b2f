"""All five DAGs on the cluster, on real data: two days each, and the same day twice at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from k8s.access import Airflow
from k8s.demo import Clock, land
from tests.e2e.any_dag import DAGS, Run, run_ids_by_features
from tests.e2e.release import records, stage_pods, tags, versions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

DAYS = ("2013-03-02", "2013-03-03")
CONSUMERS = ("ml_training_pipeline", "batch_prediction_pipeline")
"""The DAGs that features start."""
# No other test works on it.
FRESH_DAY = "2013-03-06"


@pytest.mark.parametrize("day", DAYS)
def test_every_dag_is_green_for_the_day(client: Airflow, day: str) -> None:
    for dag_id in CONSUMERS:
        client.unpause(dag_id)
    known = {dag_id: run_ids_by_features(client, dag_id) for dag_id in CONSUMERS}
    etl = green(Run.start(client, "etl_feature_engineering", day, dated=True))
    training, scoring = (
        green(Run.started_by_features(client, dag_id, known[dag_id])) for dag_id in CONSUMERS
    )
    handed = {
        "build_features": handed_over(etl)["build_features"],
        "split": handed_over(training)["data_preparation.split"],
        "score": handed_over(scoring)["score"],
    }
    for stage, named in handed.items():
        assert all(f"/{stage}/dt={day}/" in record for record in named)

    advanced = green(Run.start(client, "ml_model_deployment_advanced", day, dated=True))
    assert_deployed_or_refused_with_a_reason(advanced)
    green(Run.start(client, "model_monitoring_pipeline", day, dated=True))


def green(run: Run) -> Run:
    """Wait for the end of a run, and return it when it is green."""
    assert run.finished() == "success", f"{run.dag_id}: {run.states}"
    assert "failed" not in run.states.values()
    return run


def assert_deployed_or_refused_with_a_reason(run: Run) -> None:
    results, states = run.results(), run.states
    if states["keep_champion"] == "success":
        assert results["keep_champion"]["reason"]
        return
    assert results["deployment.run_tests"]["rows"] > 0
    assert results["visualization_monitoring.dashboards"]["report"].startswith("s3://data/flights/")
    assert results["notify_success"]["summary"]
    assert states["notify_failure"] == "skipped"


@pytest.fixture
def nothing_by_features(client: Airflow) -> Iterator[None]:
    """Let features start nothing: the DAGs they start have a turn of their own."""
    for dag_id in CONSUMERS:
        client.send("PATCH", f"/dags/{dag_id}", {"is_paused": True}).raise_for_status()
    yield
    for dag_id in CONSUMERS:
        client.unpause(dag_id)


@pytest.mark.usefixtures("nothing_by_features")
@pytest.mark.parametrize("dag_id", DAGS)
def test_two_runs_of_a_day_at_once_give_one_output(
    client: Airflow, clock: Clock, dag_id: str
) -> None:
    land(clock, "flights", "2013-03-04", FRESH_DAY)
    pair = [Run.start(client, dag_id, FRESH_DAY) for _ in range(2)]
    assert [run.finished() for run in pair] == ["success", "success"]
    one, other = (handed_over(run) for run in pair)
    assert one == other


def handed_over(run: Run) -> dict[str, list[str]]:
    """Return the records that each task named, of a mapped one all that its last part named."""
    found: dict[str, list[str]] = {}
    for task_id, value in run.results().items():
        if isinstance(value, dict) and "record" in value:
            found.setdefault(task_id, []).append(value["record"])
    return found


def test_day_that_was_trained_twice_at_once_has_one_version(client: Airflow) -> None:  # noqa: ARG001
    """After the runs of the test before this one, at most one version per training exists."""
    trained = [tags(version) for version in versions("flights")]
    of_day = [one for one in trained if one["slipway.as_of"] == FRESH_DAY]
    assert len(of_day) == len({one["slipway.fingerprint"] for one in of_day}) > 0
    for stage in ("ingest", "validate", "split"):
        assert len(records("flights", stage, FRESH_DAY)) == len(
            {key.split("/")[-2] for key in records("flights", stage, FRESH_DAY)}
        )


def test_clearing_a_failed_stage_starts_no_pod_for_what_was_done(client: Airflow) -> None:
    run = Run.start(client, "ml_training_pipeline", DAYS[0])
    assert run.finished() == "success"
    register = "training_evaluation.register"
    answer = client.send("PATCH", f"{run.path}/taskInstances/{register}", {"new_state": "failed"})
    answer.raise_for_status()
    before = pods_of(run)
    run.clear(register)
    assert run.finished() == "success"
    after = pods_of(run)
    assert after.pop("register") == before.pop("register") + 1
    after.pop("roll_out", None), before.pop("roll_out", None)
    assert after == before == dict.fromkeys(before, 1)


def pods_of(run: Run, project: str = "flights") -> dict[str, int]:
    """Count the run's pods by stage."""
    stages = ("ingest", "validate", "build_features", "split", "train", "evaluate", "register")
    found: dict[str, list[Any]] = {
        stage: stage_pods(project, stage, run.run_id) for stage in (*stages, "roll_out")
    }
    return {stage: len(pods) for stage, pods in found.items() if pods}
