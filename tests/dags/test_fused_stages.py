"""Stages that share a pod: the same results in fewer pods, and each task ends in its own name."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter.pods.fuse import chain_of, left_for, preflight, time_for
from adapter.pods.results import NoResultError, StageEnd, apart, result_of
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from ml.core.project import OURS
from tests.dags.bench import Bench, bench
from tests.dags.conftest import load_dag, task_of

__all__ = ["bench"]  # a fixture

pytestmark = pytest.mark.filterwarnings("default")

PREPARATION = ("ingest", "validate", "build_features", "split")
EVALUATION = ("train", "evaluate", "register")
FUSE = [list(PREPARATION), list(EVALUATION)]
DAG_IDS = ("ml_training_pipeline", "ml_model_deployment_advanced")


def fuse(folder: Path, monkeypatch: pytest.MonkeyPatch, groups: object) -> None:
    """Give the project flights a `fuse`, as a user would."""
    text = (OURS / "flights/project.yaml").read_text()
    (folder / "flights.project.yaml").write_text(f"{text}fuse: {json.dumps(groups)}\n")
    monkeypatch.setenv("SLIPWAY_PROJECTS_PATH", str(folder))


def record(verb: str, **facts: object) -> dict[str, Any]:
    return {"stage": verb, "status": "done", "record": f"s3://data/{verb}/record.json"} | facts


class Left:
    """The part of a task instance that gives out what other tasks left."""

    def __init__(self, **by_task: dict[str, Any]) -> None:
        self.by_task = by_task

    def xcom_pull(self, task_ids: str, key: str) -> object:
        return self.by_task.get(task_ids, {}).get(key)


@pytest.fixture(params=DAG_IDS)
def dag(request: pytest.FixtureRequest) -> DAG:
    return load_dag(request.param)


def named(dag: DAG, verb: str) -> Any:  # noqa: ANN401 - one of two operators
    """Return the task of a stage, as it is when its templates are rendered."""
    tasks = [task_of(dag, task_id) for task_id in dag.task_ids]
    task = next(one for one in tasks if getattr(one, "stage", None) and one.stage == verb)
    task.project = "flights"
    return task


def verbs(task: Any) -> tuple[str, ...]:  # noqa: ANN401 - one of two operators
    return tuple(chain_of(task))


def test_without_a_word_every_stage_has_its_own_pod(dag: DAG) -> None:
    for verb in (*PREPARATION, *EVALUATION):
        assert verbs(named(dag, verb)) == (verb,)


def test_first_stage_of_a_group_does_the_whole_group(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse(tmp_path, monkeypatch, FUSE)
    assert verbs(named(dag, "ingest")) == PREPARATION
    assert verbs(named(dag, "train")) == EVALUATION
    # One that failed in the pod of another goes on from where it is.
    assert verbs(named(dag, "build_features")) == ("build_features", "split")
    assert time_for(chain_of(named(dag, "train"))) == timedelta(hours=5, minutes=30)


def test_stage_takes_the_result_that_the_nearest_task_left(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse(tmp_path, monkeypatch, FUSE)
    task, first, near = (named(dag, verb) for verb in ("split", "ingest", "build_features"))
    old, new = record("split"), record("split", status="skipped")
    far = {first.task_id: {"fused_split": old}}
    assert left_for(task, {"ti": Left(**far)}) == old  # type: ignore[typeddict-item]
    both = {**far, near.task_id: {"fused_split": new}}
    assert left_for(task, {"ti": Left(**both)}) == new  # type: ignore[typeddict-item]
    assert left_for(first, {"ti": Left(**both)}) is None  # type: ignore[typeddict-item]


def test_stage_alone_looks_for_nothing(dag: DAG) -> None:
    task = named(dag, "split")
    left = {named(dag, "ingest").task_id: {"fused_split": record("split")}}
    assert left_for(task, {"ti": Left(**left)}) is None  # type: ignore[typeddict-item]


def test_stages_of_different_rights_cannot_share_a_pod(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse(tmp_path, monkeypatch, [["split", "train"]])
    with pytest.raises(AirflowFailException) as refused:
        chain_of(named(dag, "ingest"))
    assert str(refused.value) == (
        "project flights fuses [split, train], whose pods have different rights (data, model): "
        "fuse only stages of one kind of pod"
    )


@pytest.mark.parametrize("handed", [None, "", "None", "/tmp/x.parquet", "s3://data/flights"])  # noqa: S108
def test_only_addresses_of_records_are_handed_over(handed: str | None) -> None:
    preflight("ingest", None)
    preflight("train", "s3://data/flights/split/dt=2013-03-01/0123456789abcdef/record.json")
    with pytest.raises(AirflowFailException, match=r"train is handed .* in place of a record's"):
        preflight("train", handed)


def test_every_hand_over_of_every_dag_is_a_record(dag: DAG) -> None:
    stages = [task for task in dag.tasks if getattr(task, "stage", None)]
    handed = [task_of(dag, task.task_id).upstream_record for task in stages]
    assert handed.count(None) == 1
    assert all(text is None or text.endswith("')['record'] }}") for text in handed)


def pod_said(*results: dict[str, Any]) -> str:
    return json.dumps({"results": results})


def test_results_of_a_shared_pod_are_taken_apart() -> None:
    own, others = apart("ingest", StageEnd(0, pod_said(record("ingest"), record("validate"))))
    assert result_of("ingest", own) == record("ingest")
    assert others == {"validate": record("validate")}


def test_stage_that_was_done_before_its_pod_failed_is_done() -> None:
    failed = {"stage": "validate", "status": "failed", "error": "no rows"}
    said = pod_said(record("ingest"), failed)
    own, others = apart("ingest", StageEnd(3, said))
    assert result_of("ingest", own) == record("ingest")
    assert others == {}


def test_stage_that_was_done_before_its_pod_was_killed_is_done() -> None:
    own, others = apart("train", StageEnd(137, pod_said(record("train")), "OOMKilled"))
    assert result_of("train", own) == record("train")
    assert others == {}


def test_first_stage_that_fails_fails_with_its_own_sentence() -> None:
    failed = {"stage": "ingest", "status": "failed", "error": "no manifest"}
    own, others = apart("ingest", StageEnd(3, pod_said(failed)))
    assert others == {}
    with pytest.raises(NoResultError, match=r"^ingest failed: no manifest$") as error:
        result_of("ingest", own)
    assert not error.value.retry


def test_ending_of_a_pod_alone_stays_as_it_is() -> None:
    ending = StageEnd(1, "error: no")
    assert apart("ingest", ending) == (ending, {})


def test_run_with_fused_stages_is_green_and_starts_three_processes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse(tmp_path, monkeypatch, FUSE)
    state, states = bench.run()
    assert state == "success"
    assert states.pop("keep_champion") == "skipped"
    assert set(states.values()) == {"success"}
    assert bench.calls == [*PREPARATION, *EVALUATION, "roll_out"]
    assert bench.started == ["chain", "chain", "roll_out"]


def test_failure_in_a_shared_process_is_its_own_tasks(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse(tmp_path, monkeypatch, FUSE)
    bench.tell(fault="build_features")
    state, states = bench.run()
    assert state == "failed"
    done = {task for task, state in states.items() if state == "success"}
    assert done == {
        "wait_for_partition",
        "data_preparation.ingest",
        "data_preparation.validate",
    }
    assert states["data_preparation.build_features"] == "failed"
    assert bench.calls == [*PREPARATION[:3], "build_features"]
    assert "roll_out" not in bench.calls
