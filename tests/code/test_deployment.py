"""After the gate: the artifact is checked, the deployed model is asked, and both are written up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ml.core.errors import BrokenContractError
from ml.core.record import Record
from ml.monitoring.describe import counts, quantile_edges
from ml.rollout.build_artifacts import LARGEST_BYTES, check
from ml.rollout.contract import Contract
from ml.rollout.smoke import Endpoint, check_document, check_refusals, check_scores, hold_to
from ml.rollout.target import UnansweredError
from ml.serving.artifact import ArtifactError
from ml.serving.manifest import ArtifactManifest, Trained
from ml.stages import Stage
from tests.code.serving_process import free_port, serving
from tests.code.small_model import Published, publish
from tests.code.workshop import AS_OF, PROJECT, Workshop

pytestmark = pytest.mark.filterwarnings("default")

AFTER = ("build_artifacts", "roll_out", "smoke", "present", "describe")


def step(workshop: Workshop, verb: str, record: str) -> dict[str, Any]:
    done = workshop.ml(verb, "-p", PROJECT, "--as-of", str(AS_OF), "--upstream", record)
    assert done.returncode == 0, done.stderr
    return workshop.result()


def record_of(workshop: Workshop, stage: str) -> Record:
    (file,) = (workshop.folder / "local/data" / PROJECT / stage).glob("dt=*/*/record.json")
    return Record.model_validate_json(file.read_bytes())


def path_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


@pytest.fixture(scope="module")
def deployed(finished: Workshop) -> dict[str, dict[str, Any]]:
    """What each stage after the gate said; `roll_out` finds the version already in use."""
    (registered,) = (finished.folder / "local/data" / PROJECT / "register").rglob("record.json")
    said = {"register": {"record": f"file://{registered}"}}
    before = dict(zip(AFTER, ("register", *AFTER[:2], "smoke", "smoke"), strict=True))
    for verb in AFTER:
        said[verb] = step(finished, verb, said[before[verb]]["record"])
    return said


def test_the_contract_is_what_the_artifact_promises(
    finished: Workshop, deployed: dict[str, dict[str, Any]]
) -> None:
    assert deployed["build_artifacts"]["version"] == "1"
    record = record_of(finished, "build_artifacts")
    contract = Contract.model_validate_json(path_of(record.outputs["contract"].uri).read_bytes())
    assert contract.sha256 == record_of(finished, "train").facts["sha256"]
    assert {"depot", "weight", "stops"} == set(contract.row["properties"])
    assert record.facts["largest_difference"] < 1e-6
    assert record.facts["bytes"] > 0


def test_the_roll_out_starts_from_the_checked_artifact(
    deployed: dict[str, dict[str, Any]],
) -> None:
    assert deployed["roll_out"]["status"] == "skipped"
    assert deployed["roll_out"]["version"] == "1"
    assert deployed["roll_out"]["record"] == deployed["build_artifacts"]["record"]


def test_the_deployed_model_is_asked_and_the_numbers_are_kept(
    finished: Workshop, deployed: dict[str, dict[str, Any]]
) -> None:
    facts = record_of(finished, "smoke").facts
    assert facts["version"] == "1"
    assert facts["rows"] == 20
    assert facts["largest_difference"] <= 1e-4
    assert 0 < facts["p50_ms"] <= facts["p95_ms"]
    again = step(finished, "smoke", deployed["roll_out"]["record"])
    assert again["status"] == "done"
    assert again["record"] == deployed["smoke"]["record"]


def test_the_page_tells_the_decision_and_its_reason(
    finished: Workshop, deployed: dict[str, dict[str, Any]]
) -> None:
    page = path_of(deployed["present"]["report"]).read_text()
    facts = record_of(finished, "register").facts
    assert "version 1: deploy." in page
    assert facts["reason"].split(";")[0] in page
    assert deployed["present"]["run_id"] in page
    assert "depot north" in page
    assert "<script" not in page


def test_the_reference_describes_every_column_and_the_scores(
    finished: Workshop, deployed: dict[str, dict[str, Any]]
) -> None:
    record = record_of(finished, "describe")
    made = json.loads(path_of(record.outputs["profile"].uri).read_bytes())
    assert set(made["columns"]) == {"depot", "weight", "stops"}
    assert set(made["columns"]["depot"]["words"]) == {"north", "south"}
    assert sum(made["columns"]["weight"]["counts"]) == made["rows"] == 300
    assert sum(made["scores"]["counts"]) == 300
    assert record.outputs["profile"].bytes < 50_000
    assert deployed["describe"]["version"] == "1"


def test_the_same_again_changes_nothing(
    finished: Workshop, deployed: dict[str, dict[str, Any]]
) -> None:
    before = finished.published()
    for verb, start in (("build_artifacts", "register"), ("present", "smoke")):
        assert step(finished, verb, deployed[start]["record"])["status"] == "skipped"
    assert finished.published() == before


def test_what_the_gate_refused_gets_no_artifacts(workshop: Workshop) -> None:
    facts = {"decision": "refuse", "reason": "no better", "version": "3"}
    record = Record(
        stage=Stage.REGISTER, project=PROJECT, as_of=AS_OF, fingerprint="f" * 16, facts=facts
    )
    file = workshop.folder / "local/data/record.json"
    file.parent.mkdir(parents=True)
    file.write_text(record.model_dump_json())
    arguments = ("-p", PROJECT, "--as-of", str(AS_OF), "--upstream", file.as_uri())
    done = workshop.ml("build_artifacts", *arguments)
    assert done.returncode == 3
    assert "the gate refused version 3: no better" in done.stderr


def trained(project: str) -> Record:
    return Record(stage=Stage.TRAIN, project=project, as_of=AS_OF, fingerprint="f" * 16)


def test_an_artifact_of_another_project_is_refused(published: Published) -> None:
    with pytest.raises(ArtifactError, match="is of parcels, not of letters"):
        check(published.manifest, 1, trained("letters"))


def test_an_artifact_that_serving_has_no_room_for_is_refused(published: Published) -> None:
    check(published.manifest, LARGEST_BYTES, trained("parcels"))
    with pytest.raises(ArtifactError, match="make the model smaller"):
        check(published.manifest, LARGEST_BYTES + (1 << 20), trained("parcels"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def endpoint(published: Published) -> Iterator[Endpoint]:
    with serving(published.environment("7")) as running:
        yield Endpoint(running.url, "parcels")


@pytest.fixture
def contract(published: Published) -> Contract:
    return Contract.of(published.manifest, "7")


def test_a_model_that_keeps_its_contract_is_measured(
    contract: Contract, endpoint: Endpoint
) -> None:
    facts = hold_to(contract, endpoint)
    assert facts["rows"] == len(contract.sample)
    assert facts["p95_ms"] > 0


def test_another_version_in_its_place_is_named(contract: Contract, endpoint: Endpoint) -> None:
    later = contract.model_copy(update={"version": "8"})
    with pytest.raises(BrokenContractError, match="version 7 answers in place of version 8"):
        check_scores(later, endpoint)


def test_scores_that_differ_are_refused(contract: Contract, endpoint: Endpoint) -> None:
    other = [score + 0.01 for score in contract.expected]
    with pytest.raises(BrokenContractError, match=r"a known row scores 0\.01 off"):
        check_scores(contract.model_copy(update={"expected": other}), endpoint)


def test_a_document_about_other_rows_is_refused(contract: Contract, endpoint: Endpoint) -> None:
    check_document(contract, endpoint)
    with pytest.raises(BrokenContractError, match="describes other rows"):
        check_document(contract.model_copy(update={"row": {"type": "object"}}), endpoint)


def test_wrong_input_must_be_the_callers_mistake(contract: Contract, endpoint: Endpoint) -> None:
    check_refusals(contract, endpoint)
    elsewhere = replace(endpoint, project="letters")
    with pytest.raises(BrokenContractError, match="answered with status 404 instead of 422"):
        check_refusals(contract, elsewhere)


def test_an_endpoint_that_is_away_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.rollout.smoke.PAUSE", 0)
    with pytest.raises(UnansweredError, match=r"/openapi\.json did not answer"):
        Endpoint(f"http://127.0.0.1:{free_port()}", "parcels").ask("/openapi.json")


def test_a_profile_counts_every_value_once() -> None:
    values = pl.Series("x", [1.0, 1.0, 2.0, 3.0, 10.0])
    edges = quantile_edges(values)
    assert sum(counts(values, edges)) == 5
    assert counts(values, [1.0, 3.0]) == [2, 2, 1]
    assert len(quantile_edges(pl.Series("x", [4.0] * 9))) == 1


def test_a_manifest_of_the_same_model_from_an_earlier_day_passes(published: Published) -> None:
    """A model file is named by its content, so two trainings may share one."""
    origin = Trained(as_of="2024-01-01", fingerprint="0" * 16)
    manifest: ArtifactManifest = published.manifest.model_copy(update={"trained": origin})
    check(manifest, 1, trained("parcels"))


def test_a_record_from_before_the_verb_was_respelt_is_read(
    finished: Workshop, deployed: dict[str, dict[str, Any]]
) -> None:
    new = path_of(deployed["build_artifacts"]["record"])
    old = Path(str(new).replace("/build_artifacts/", "/build_artefacts/"))
    old.parent.mkdir(parents=True)
    text = new.read_text()
    assert '"build_artifacts"' in text
    old.write_text(text.replace('"build_artifacts"', '"build_artefacts"'))
    said = step(finished, "smoke", f"file://{old}")
    assert said["version"] == deployed["smoke"]["version"]
    again = finished.ml("build-artefacts", "--help")
    assert again.returncode == 0
