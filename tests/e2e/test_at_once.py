"""Each DAG for the same fresh day twice at once: one output, one version; and whole days scored."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pytest

from k8s.access import Airflow
from tests.e2e.connections import mlflow, object_store
from tests.e2e.release import keys, records, tags, versions
from tests.e2e.runs import (
    ADVANCED,
    DAGS,
    ETL,
    MONITORING,
    SCORING,
    TRAINING,
    Run,
    wait_until_known,
)
from tests.e2e.scenes import scene

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

PROJECT = "parcels"
BUILT, TRAINED, ADVANCED_TO = "2013-03-04", "2013-03-05", "2013-03-07"
SCORED = (BUILT, TRAINED)
Pair = tuple[Run, Run]


@dataclass(frozen=True)
class Pairs:
    """Two runs of every DAG, one more of scoring, and the scores before and after that."""

    runs: dict[str, Pair]
    scored_again: Run
    scores: list[str]
    scores_after: list[str]


@scene(250)
def pairs(client: Airflow) -> Pairs:
    """Every DAG has a day that nobody has worked on; what it builds on is there."""
    wait_until_known(client, PROJECT)

    def pair(dag_id: str, day: str, between: tuple[str, str] | None = None) -> Pair:
        one, other = (Run.start(client, dag_id, day, PROJECT, between=between) for _ in range(2))
        return one, other

    runs = {ETL: pair(ETL, BUILT), TRAINING: pair(TRAINING, TRAINED)}
    ended(runs)
    runs[SCORING] = pair(SCORING, TRAINED, SCORED)
    ended(runs)
    scores = keys("data", f"{PROJECT}/score/")
    again = Run.start(client, SCORING, None, PROJECT, between=SCORED)
    runs[MONITORING] = pair(MONITORING, TRAINED)
    again.finished()
    ended(runs)
    scores_after = keys("data", f"{PROJECT}/score/")
    runs[ADVANCED] = pair(ADVANCED, ADVANCED_TO)
    ended(runs)
    return Pairs(runs, again, scores, scores_after)


def ended(pairs: dict[str, Pair]) -> None:
    """Wait until all of the runs have ended."""
    for runs in pairs.values():
        for run in runs:
            run.finished()


@pytest.mark.parametrize("dag_id", DAGS)
def test_two_runs_of_a_day_at_once_give_one_output(pairs: Pairs, dag_id: str) -> None:
    runs = pairs.runs[dag_id]
    assert [run.state for run in runs] == ["success", "success"], [run.states for run in runs]
    one, other = (run.records() for run in runs)
    assert one == other
    assert one
    # It was work that they met at, not results: every stage was done by one of them.
    statuses = [statuses_of(run) for run in runs]
    assert all("done" in both for both in zip(*statuses, strict=True)), statuses


def statuses_of(run: Run) -> list[str]:
    """Return what became of every part of every stage of the run."""
    values = sorted(run.results().items())
    return [one["status"] for _, parts in values for one in parts if "status" in one]


@pytest.mark.parametrize(("dag_id", "day"), [(TRAINING, TRAINED), (ADVANCED, ADVANCED_TO)])
def test_a_day_that_was_trained_twice_at_once_has_one_version(
    pairs: Pairs, dag_id: str, day: str
) -> None:
    of_day = [one for one in versions(PROJECT) if tags(one)["slipway.as_of"] == day]
    assert len(of_day) == 1
    for stage in ("split", "train", "evaluate", "register"):
        assert len(records(PROJECT, stage, day)) == 1, stage
    began = pairs.runs[dag_id][0].began
    assert len(trainings(day, began)) == 1


def trainings(day: str, since: datetime) -> list[str]:
    """Return MLflow's runs of the day's training that began after a moment."""
    path = "/api/2.0/mlflow/experiments/get-by-name"
    found = mlflow().get(path, params={"experiment_name": PROJECT}).raise_for_status().json()
    of_day = f"tags.`slipway.as_of` = '{day}' AND attributes.start_time > "
    query = {
        "experiment_ids": [found["experiment"]["experiment_id"]],
        "filter": of_day + str(int(since.timestamp() * 1000)),
    }
    answer = mlflow().post("/api/2.0/mlflow/runs/search", json=query).raise_for_status().json()
    return [run["info"]["run_id"] for run in answer.get("runs", [])]


def read(uri: str) -> bytes:
    """Return an object of the store."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content: bytes = object_store().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_a_range_is_scored_with_one_version(pairs: Pairs) -> None:
    run = pairs.runs[SCORING][0]
    version = pairs.runs[TRAINING][0].result("deployment.roll_out")["version"]
    digest = next(tags(v) for v in versions(PROJECT) if v["version"] == version)["slipway.sha256"]
    summary = run.result("summarise")
    assert (summary["days"], summary["version"]) == (2, version)
    for index, day in enumerate(SCORED):
        told = run.result("score", index)
        record = json.loads(read(told["record"]))
        rows = pl.read_parquet(io.BytesIO(read(record["outputs"]["predictions"]["uri"])))
        assert rows.height == told["rows"] == 200
        assert rows["model_version"].unique().to_list() == [version]
        assert rows["model_sha256"].unique().to_list() == [digest]
        assert str(rows["as_of"][0]) == day


def test_every_day_has_a_pod_of_its_own(pairs: Pairs) -> None:
    labels = [pod["metadata"]["labels"] for pod in pairs.runs[SCORING][0].pods()]
    scored = [one["map_index"] for one in labels if one["slipway.dev/stage"] == "score"]
    assert sorted(scored) == ["0", "1"]


def test_a_range_that_was_scored_is_found(pairs: Pairs) -> None:
    again = pairs.scored_again
    assert again.state == "success"
    assert again.result("summarise")["skipped"] == 2
    assert again.records()["score"] == pairs.runs[SCORING][0].records()["score"]
    assert pairs.scores_after == pairs.scores
