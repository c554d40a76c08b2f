"""Features a day at a time and scores for whole days, as pods on the cluster."""

from __future__ import annotations

import io
import json
import time
from functools import partial
from typing import Any

import polars as pl
import pytest

from k8s.access import Airflow
from k8s.demo import DAG_ID as TRAINING
from tests.e2e.release import alias, keys, object_store, pods, records, tags, versions, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

ETL, BATCH = "etl_feature_engineering", "batch_prediction_pipeline"
DAYS = ("2013-03-01", "2013-03-02")
PENDING = ("queued", "running")


def start(client: Airflow, dag_id: str, why: str, **conf: str) -> str:
    """Start a run, new each time."""
    client.unpause(dag_id)
    run_id = f"{why}__{time.time():.0f}"
    client.trigger(dag_id, run_id, None, conf)
    return run_id


def finished(client: Airflow, dag_id: str, run_id: str) -> str:
    def state() -> str | None:
        found = str(client.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
        return None if found in PENDING else found

    return wait_until(f"run {run_id} of {dag_id} to finish", state, 420)


def returned(client: Airflow, dag_id: str, run_id: str, task_id: str, index: int = -1) -> Any:  # noqa: ANN401
    """Return what a task, or one of its mapped ones, handed over."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    value = client.get(path, map_index=index)["value"]
    return json.loads(value) if isinstance(value, str) else value


def states(client: Airflow, dag_id: str, run_id: str) -> dict[str, str]:
    tasks = client.task_instances(dag_id, run_id)
    return {f"{task['task_id']}[{task['map_index']}]": task["state"] for task in tasks}


def read(uri: str) -> bytes:
    """Return an object of the store."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with object_store() as client:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_a_range_is_scored_with_one_version_and_once(client: Airflow) -> None:
    first, last = DAYS[0], "2013-03-03"
    once = start(client, BATCH, "range", project="flights", first=first, last=last)
    assert finished(client, BATCH, once) == "success"
    champion = alias("flights", "champion")
    digest = next(tags(v) for v in versions("flights") if v["version"] == champion)[
        "slipway.sha256"
    ]
    summary = returned(client, BATCH, once, "summarise")
    assert (summary["days"], summary["version"]) == (3, champion)
    for index, day in enumerate((*DAYS, last)):
        told = returned(client, BATCH, once, "score", index)
        record = json.loads(read(told["record"]))
        rows = pl.read_parquet(io.BytesIO(read(record["outputs"]["predictions"]["uri"])))
        assert rows.height == told["rows"] > 500
        assert rows["model_version"].unique().to_list() == [champion]
        assert rows["model_sha256"].unique().to_list() == [digest]
        assert str(rows["as_of"][0]) == day

    before = keys("data", "flights/score/")
    again = start(client, BATCH, "again", project="flights", first=first, last=last)
    assert finished(client, BATCH, again) == "success"
    assert returned(client, BATCH, again, "summarise")["skipped"] == 3
    assert keys("data", "flights/score/") == before
    scored = pods(f"slipway.dev/run={once},slipway.dev/stage=score")
    assert len(scored) == 3
    assert len({pod["metadata"]["labels"]["map_index"] for pod in scored}) == 3


def test_a_day_that_has_not_landed_fails_with_its_name(client: Airflow) -> None:
    run_id = start(client, BATCH, "missing", project="flights", as_of="2013-11-30")
    assert finished(client, BATCH, run_id) == "failed"
    found = states(client, BATCH, run_id)
    assert (found["score[0]"], found["summarise[-1]"]) == ("failed", "upstream_failed")
    path = f"/dags/{BATCH}/dagRuns/{run_id}/taskInstances/score/logs/1"
    log = json.dumps(client.get(path, map_index=0, full_content="true")["content"])
    assert "no partition has landed for 2013-11-30" in log
    assert records("flights", "score", "2013-11-30") == []


def is_built(day: str) -> bool:
    return bool(records("flights", "build_features", day))


def test_features_can_be_built_for_days_of_the_past(client: Airflow) -> None:
    client.unpause(ETL)
    for dag_id in (TRAINING, BATCH):  # it is about the features alone
        client.send("PATCH", f"/dags/{dag_id}", {"is_paused": True}).raise_for_status()
    try:
        body = {
            "dag_id": ETL,
            "from_date": "2013-02-20T00:00:00Z",
            "to_date": "2013-02-21T00:00:00Z",
            "max_active_runs": 2,
            "reprocess_behavior": "completed",
        }
        answer = client.send("POST", "/backfills", body)
        assert answer.status_code == 200, answer.text
        for day in ("2013-02-20", "2013-02-21"):
            wait_until(f"the features of {day}", partial(is_built, day), 300)
    finally:
        for dag_id in (TRAINING, BATCH):
            client.unpause(dag_id)
