"""Several stages in one process: what they leave is what they leave one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml.core.errors import BadInputError
from ml.core.project import ProjectSpec, read_project
from ml.core.record import MESSAGE_BYTES, RESULT_BYTES, Result, Status, results_as_json
from ml.stages import Stage
from tests.code.workshop import AS_OF, PROJECT, Workshop

PREPARATION = ("ingest", "validate", "build_features", "split")
EVALUATION = ("train", "evaluate", "register")
DAY = ("-p", PROJECT, "--as-of", str(AS_OF))


def results(workshop: Workshop) -> list[dict[str, Any]]:
    text = (workshop.folder / "result.json").read_bytes()
    assert len(text) <= MESSAGE_BYTES
    found: list[dict[str, Any]] = json.loads(text)["results"]
    return found


def test_a_chain_leaves_the_records_that_its_stages_leave(workshop: Workshop) -> None:
    workshop.land_window()
    done = workshop.ml("chain", *PREPARATION, *DAY)
    assert done.returncode == 0, done.stderr
    assert [one["stage"] for one in results(workshop)] == list(PREPARATION)
    assert {one["status"] for one in results(workshop)} == {"done"}
    chained = results(workshop)
    record = chained[-1]["record"]
    done = workshop.ml("chain", *EVALUATION, *DAY, "--upstream", record)
    assert done.returncode == 0, done.stderr
    assert results(workshop)[-1]["decision"] == "deploy"

    # One by one, every stage finds what the chain has done, under the same key.
    record = ""
    for stage, before in zip(PREPARATION, chained, strict=True):
        after = ("--upstream", record) if record else ()
        assert workshop.ml(stage, *DAY, *after).returncode == 0
        said = workshop.result()
        assert said["status"] == "skipped"
        assert said["record"] == before["record"]
        record = said["record"]


def test_a_chain_that_breaks_tells_what_is_done_and_what_is_not(workshop: Workshop) -> None:
    workshop.land_window()
    file = workshop.project / "model.py"
    file.write_text(file.read_text().replace('"weight", "stops"', '"weight", "no_such_column"'))
    done = workshop.ml("chain", *PREPARATION, *DAY)
    assert done.returncode == 3
    assert "features() failed" in done.stderr
    assert [(one["stage"], one["status"]) for one in results(workshop)] == [
        ("ingest", "done"),
        ("validate", "done"),
        ("build_features", "failed"),
    ]


def test_a_chain_of_unknown_stages_is_wrong_usage(workshop: Workshop) -> None:
    assert workshop.ml("chain", "ingest", "digest", *DAY).returncode == 2


def test_all_results_of_a_chain_fit_into_its_last_words() -> None:
    long = Result(
        stage=Stage.BUILD_FEATURES,
        status=Status.DONE,
        record=f"s3://data/{'p' * 40}/build_features/dt=2013-03-01/{'0' * 16}/record.json",
        fingerprint="0" * 16,
        facts={"reason": "ü" * 2000, "version": "123"},
    )
    for count in (2, 4, 7):
        text = results_as_json([long] * count, count)
        assert len(text.encode()) <= MESSAGE_BYTES
        found = json.loads(text)["results"]
        assert len(found) == count
        sizes = [len(json.dumps(one, ensure_ascii=False).encode()) for one in found]
        assert max(sizes) <= RESULT_BYTES
        assert {one["record"] for one in found} == {long.record}


def spec(fuse: object) -> ProjectSpec:
    columns = {"columns": {"id": "str"}}
    return ProjectSpec.model_validate(
        {"title": "t", "target": "y", "tables": {"rows": columns}, "fuse": fuse}
    )


def test_a_project_says_which_stages_share_a_pod() -> None:
    found = spec([PREPARATION, EVALUATION])
    assert found.fused_with(Stage.VALIDATE) == tuple(Stage(verb) for verb in PREPARATION)
    assert found.fused_with(Stage.REGISTER)[0] is Stage.TRAIN
    assert spec([]).fused_with(Stage.TRAIN) == (Stage.TRAIN,)
    assert read_project("flights").spec.fuse == []


@pytest.mark.parametrize(
    "fuse",
    [
        [["ingest"]],
        [["ingest", "build_features"]],
        [["validate", "ingest"]],
        [["train", "evaluate"], ["ingest", "validate"]],
        [["ingest", "validate"], ["validate", "build_features"]],
        [["register", "roll_out"]],
    ],
)
def test_only_neighbours_before_the_gate_may_share_a_pod(fuse: object) -> None:
    with pytest.raises(ValueError, match="are not two or more neighbours of ingest, validate"):
        spec(fuse)


def test_a_project_with_an_impossible_group_is_refused_in_one_sentence(workshop: Workshop) -> None:
    file = workshop.project / "project.yaml"
    file.write_text(f"{file.read_text()}fuse: [[train, register]]\n")
    with pytest.raises(BadInputError, match=r"project\.yaml: fuse: \[train, register\] are not"):
        read_project(PROJECT, str(workshop.folder / "projects"))
