"""The whole pipeline on a made-up project: once, again, over several days, and when damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient, set_registry_uri, set_tracking_uri
from mlflow.entities.model_registry import ModelVersion

from ml.core.record import Output, Record
from ml.core.store import sha256
from ml.pipeline import TRAINING
from ml.serving.artifact import fetch
from ml.serving.manifest import ArtifactManifest
from ml.serving.predictors import load
from tests.code.workshop import AS_OF, PROJECT, Workshop, parcels, statuses

# MLflow, asked in this process what the stages left, uses what its own libraries call outdated.
pytestmark = pytest.mark.filterwarnings("default")

ALL = [str(stage) for stage in TRAINING]


def client(workshop: Workshop) -> MlflowClient:
    uri = f"sqlite:///{workshop.folder}/local/mlflow.db"
    return MlflowClient(uri, registry_uri=uri)


def versions(workshop: Workshop) -> list[ModelVersion]:
    found = client(workshop).search_model_versions(f"name = '{PROJECT}'")
    return sorted(found, key=lambda version: int(version.version))


def records(workshop: Workshop, stage: str) -> list[Record]:
    found = (workshop.folder / "local/data" / PROJECT / stage).glob("dt=*/*/record.json")
    return [Record.model_validate_json(file.read_bytes()) for file in found]


def test_the_first_run_does_every_stage(finished: Workshop) -> None:
    assert statuses((finished.folder / "first.txt").read_text()) == dict.fromkeys(ALL, "done")


def test_the_same_day_again_skips_every_stage(finished: Workshop) -> None:
    before = finished.published()
    again = finished.run()
    assert again.returncode == 0, again.stderr
    assert statuses(again.stdout) == dict.fromkeys(ALL, "skipped")
    assert finished.published() == before
    assert len(records(finished, "ingest")) == 1
    assert len(versions(finished)) == 1


def test_the_version_tells_where_it_is_from_and_why_it_was_let_in(finished: Workshop) -> None:
    (version,) = versions(finished)
    (trained,) = records(finished, "train")
    tags = version.tags
    assert tags["slipway.fingerprint"] == trained.fingerprint
    assert tags["slipway.sha256"] == trained.facts["sha256"]
    assert tags["slipway.format"] == "onnx"
    assert tags["slipway.decision"] == "deploy"
    assert "AUC" in tags["slipway.reason"]
    found = client(finished).get_registered_model(PROJECT).aliases
    assert {alias: str(number) for alias, number in found.items()} == {
        "challenger": "1",
        "champion": "1",
    }


def test_mlflow_holds_what_a_reviewer_asks_for(finished: Workshop) -> None:
    (trained,) = records(finished, "train")
    run = client(finished).get_run(trained.facts["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["slipway.as_of"] == str(AS_OF)
    assert run.data.params["logisticregression__max_iter"] == "1000"
    assert {"auc", "candidate_score", "train_rows"} <= set(run.data.metrics)
    assert run.inputs is not None
    assert {i.dataset.name for i in run.inputs.dataset_inputs} == {
        "parcels-train",
        "parcels-holdout",
    }
    decision = json.loads(client_file(finished, run.info.run_id, "decision.json"))
    assert decision["decision"] == "deploy"
    assert decision["measured"]["slices"][0]["column"] == "depot"


def client_file(workshop: Workshop, run_id: str, name: str) -> str:
    return Path(client(workshop).download_artifacts(run_id, name)).read_text()


def test_the_registered_model_scores_like_the_published_artifact(finished: Workshop) -> None:
    """What MLflow would load and what is served are the same model."""
    import mlflow

    (trained,) = records(finished, "train")
    manifest, content = fetch(trained.facts["artifact"], trained.facts["sha256"])
    # Both, as a stage that ran in this process has named another registry.
    for name in (set_tracking_uri, set_registry_uri):
        name(f"sqlite:///{finished.folder}/local/mlflow.db")
    model = mlflow.pyfunc.load_model(f"models:/{PROJECT}/1")
    rows = pl.DataFrame(manifest.sample).to_pandas()
    assert model.metadata.signature.inputs.input_names() == [c.name for c in manifest.columns]
    assert load(manifest, content)(manifest.sample) == manifest.expected
    assert model.predict(rows)[:, 1] == pytest.approx(manifest.expected, abs=1e-5)


def test_its_requirements_are_pinned(finished: Workshop) -> None:
    (file,) = (finished.folder / "local/mlflow").rglob("requirements.txt")
    lines = file.read_text().split()
    assert {"scikit-learn", "numpy", "pandas"} <= {line.split("==")[0] for line in lines}
    assert all("==" in line for line in lines)


def test_a_new_day_reuses_the_days_before(workshop: Workshop) -> None:
    """Three days in a row: three datasets, and each day is copied, checked and built once."""
    workshop.land_window(days=10)
    for back in (2, 1, 0):
        done = workshop.run(as_of=AS_OF - timedelta(days=back))
        assert done.returncode == 0, done.stderr
    assert len(records(workshop, "ingest")) == 3
    assert {record.facts["checked"] for record in records(workshop, "validate")} == {8, 1}
    built = workshop.folder / "local/data" / PROJECT / "build_features"
    assert len(list(built.glob("day=*/*/features-*.parquet"))) == 10
    assert len(versions(workshop)) == 3
    champions = [v for v in versions(workshop) if v.tags["slipway.decision"] == "deploy"]
    better = [v for v in champions if "better than the champion" in v.tags["slipway.reason"]]
    assert len(champions) == len(better) + 1


def test_one_day_is_prepared_alone_and_found_by_the_window(workshop: Workshop) -> None:
    """What an ETL run of one day has built, training does not build again."""
    workshop.land_window()
    record = ""
    for stage, options in (("ingest", ("--days", "1")), ("validate", ()), ("build_features", ())):
        done = step(workshop, stage, record, *options)
        assert done.returncode == 0, done.stderr
        record = workshop.result()["record"]
    assert (workshop.result()["rows"], workshop.result()["built"]) == (150, 1)
    assert workshop.run().returncode == 0
    built = [record.facts["built"] for record in records(workshop, "build_features")]
    assert sorted(built) == [1, 7]
    checked = [record.facts["checked"] for record in records(workshop, "validate")]
    assert sorted(checked) == [1, 7]


def etl(workshop: Workshop) -> Output:
    """Prepare the last day alone; return the file of its features."""
    record = ""
    for stage, options in (("ingest", ("--days", "1")), ("validate", ()), ("build_features", ())):
        done = step(workshop, stage, record, *options)
        assert done.returncode == 0, done.stderr
        record = workshop.result()["record"]
    text = Path(record.removeprefix("file://")).read_text()
    return Record.model_validate_json(text).outputs[str(AS_OF)]


def content(output: Output) -> bytes:
    return Path(output.uri.removeprefix("file://")).read_bytes()


def test_late_data_and_changed_code_make_a_day_anew_beside_the_old(workshop: Workshop) -> None:
    workshop.land_window()
    workshop.land(AS_OF, parcels(AS_OF).head(100))
    early = etl(workshop)
    workshop.land(AS_OF)
    late = etl(workshop)
    model = workshop.project / "model.py"
    model.write_text(model.read_text().replace("> 24", "> 20"))
    changed = etl(workshop)
    assert len({early.uri, late.uri, changed.uri}) == 3
    assert (early.rows, late.rows, changed.rows) == (100, 150, 150)
    for output in (early, late, changed):
        assert sha256(content(output)) == output.sha256
    # Training takes what there is now, whether or not anyone built it before.
    workshop.land(AS_OF, parcels(AS_OF).head(120))
    record = ""
    for stage in ALL[:3]:
        assert step(workshop, stage, record).returncode == 0
        record = workshop.result()["record"]
    assert workshop.result()["rows"] == 7 * 150 + 120


def test_no_days_are_no_window(workshop: Workshop) -> None:
    assert step(workshop, "ingest", "", "--days", "0").returncode == 2


def test_a_day_from_before_the_champion_is_no_fair_comparison(workshop: Workshop) -> None:
    workshop.land_window(days=10)
    assert workshop.run().returncode == 0
    older = workshop.run(as_of=AS_OF - timedelta(days=2))
    assert older.returncode == 0, older.stderr
    assert "roll_out" not in statuses(older.stdout)
    (refused,) = [v for v in versions(workshop) if v.tags["slipway.decision"] == "refuse"]
    assert "no fair comparison" in refused.tags["slipway.reason"]


def test_what_was_decided_once_stays_and_a_later_comparison_is_kept_beside_it(
    workshop: Workshop,
) -> None:
    """Day one again, after day two has a champion of its own: it is compared, and refused, anew."""
    workshop.land_window(days=9)
    first, second = AS_OF - timedelta(days=1), AS_OF
    file = workshop.project / "model.py"
    good = file.read_text()
    weak = good.replace("SimpleImputer(),", "SimpleImputer(), SelectKBest(k=1),").replace(
        "    from sklearn.impute",
        "    from sklearn.feature_selection import SelectKBest\n    from sklearn.impute",
    )
    file.write_text(weak)
    assert workshop.run(as_of=first).returncode == 0
    (before,) = versions(workshop)
    file.write_text(good)
    assert workshop.run(as_of=second).returncode == 0
    file.write_text(weak)
    for _ in range(2):
        again = workshop.run(as_of=first)
        assert again.returncode == 0, again.stderr
    after, newest = versions(workshop)
    assert [before.tags["slipway.decision"], newest.tags["slipway.decision"]] == ["deploy"] * 2
    assert after.tags == before.tags
    aliases = client(workshop).get_registered_model(PROJECT).aliases
    assert (aliases["challenger"], aliases["champion"]) == (newest.version, newest.version)
    (kept,) = comparisons(workshop, after)
    assert json.loads(client_file(workshop, str(after.run_id), kept))["decision"] == "refuse"


def comparisons(workshop: Workshop, version: ModelVersion) -> list[str]:
    found = client(workshop).list_artifacts(str(version.run_id), "comparisons")
    return [file.path for file in found]


def test_labels_without_meaning_are_refused_with_the_reason_in_mlflow(workshop: Workshop) -> None:
    file = workshop.project / "model.py"
    shuffled = '(pl.col("hours") > 24).shuffle(seed=1)'
    file.write_text(file.read_text().replace('pl.col("hours") > 24', shuffled))
    workshop.land_window()
    done = workshop.run()
    assert done.returncode == 0, done.stderr
    (version,) = versions(workshop)
    assert version.tags["slipway.decision"] == "refuse"
    assert "the least that is asked" in version.tags["slipway.reason"]
    assert "champion" not in client(workshop).get_registered_model(PROJECT).aliases
    assert not (workshop.folder / "local/serving").exists()


def test_a_damaged_output_is_found_and_named(workshop: Workshop) -> None:
    workshop.land_window()
    assert workshop.run().returncode == 0
    (train,) = (workshop.folder / "local/data" / PROJECT / "split").rglob("train-*.parquet")
    train.write_bytes(train.read_bytes()[:-1] + b"!")
    done = workshop.run()
    assert done.returncode == 3
    assert train.name in done.stderr
    assert "run split again" in done.stderr


def test_two_workers_at_once_publish_one_of_each(workshop: Workshop) -> None:
    workshop.land_window()
    record = ""
    with ThreadPoolExecutor(2) as pool:
        for stage in ALL[:-1]:
            pair = [pool.submit(told_apart, workshop, stage, record, n) for n in range(2)]
            told = [one.result() for one in pair]
            assert told[0] == told[1]
            record = told[0]
    for stage in ALL[:-1]:
        assert len(records(workshop, stage)) == 1, stage
    assert len(versions(workshop)) == 1
    experiment = client(workshop).get_experiment_by_name(PROJECT)
    assert experiment is not None
    assert len(client(workshop).search_runs([experiment.experiment_id])) == 1


def told_apart(workshop: Workshop, stage: str, upstream: str, worker: int) -> str:
    """Do a stage as one of several workers, each with its own place for a result, as pods have."""
    result = workshop.folder / f"result-{worker}.json"
    after = ("--upstream", upstream) if upstream else ()
    day = ("--project", PROJECT, "--as-of", str(AS_OF))
    done = workshop.ml(stage, *day, *after, SLIPWAY_RESULT_PATH=str(result))
    assert done.returncode == 0, done.stderr
    return str(json.loads(result.read_text())["record"])


def step(
    workshop: Workshop, stage: str, record: str, *options: str
) -> subprocess.CompletedProcess[str]:
    after = ("--upstream", record) if record else ()
    return workshop.ml(stage, "-p", PROJECT, "--as-of", str(AS_OF), *after, *options)


def test_every_result_fits_into_a_termination_message(finished: Workshop) -> None:
    (evaluated,) = records(finished, "evaluate")
    done = finished.ml(
        *("evaluate", "-p", PROJECT, "--as-of", str(AS_OF)),
        *("--upstream", evaluated.inputs[0]),
    )
    assert done.returncode == 0, done.stderr
    result = finished.result()
    assert result["status"] == "skipped"
    assert result["decision"] == "deploy"
    assert 0.5 < result["candidate_score"] <= 1


def test_an_estimator_that_onnx_cannot_express_is_served_as_it_is(workshop: Workshop) -> None:
    """skl2onnx has no splines. What is served then is the estimator, and it scores as promised."""
    file = workshop.project / "model.py"
    text = file.read_text()
    splines = text.replace(
        'remainder="passthrough"', '(SplineTransformer(), ["stops"]), remainder="passthrough"'
    ).replace("import OneHotEncoder", "import OneHotEncoder, SplineTransformer")
    assert splines.count("SplineTransformer") == 2
    file.write_text(splines)
    workshop.land_window()
    done = workshop.run()
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(workshop)
    assert (manifest.format, manifest.file) == ("sklearn", "model.skops")
    (trained,) = records(workshop, "train")
    assert "no ONNX form: MissingShapeCalculator" in trained.facts["format_reason"]
    served, content = fetch(trained.facts["artifact"], trained.facts["sha256"])
    assert load(served, content)(served.sample) == served.expected
    assert statuses(done.stdout)["roll_out"] == "done"


def read_manifest(workshop: Workshop) -> ArtifactManifest:
    (file,) = (workshop.folder / "local/models").rglob("manifest.json")
    return ArtifactManifest.model_validate_json(file.read_bytes())


def test_the_sample_is_real_rows_with_typed_columns(finished: Workshop) -> None:
    manifest = read_manifest(finished)
    assert [(c.name, c.type, c.nullable) for c in manifest.columns] == [
        ("depot", "str", False),
        ("weight", "float", False),
        ("stops", "int", False),
    ]
    first = parcels(AS_OF - timedelta(days=1)).row(0, named=True)
    assert manifest.sample[0]["depot"] == first["depot"]
    assert manifest.sample[0]["weight"] == pytest.approx(first["weight"], abs=1e-5)


def test_starting_a_data_stage_loads_no_model_library() -> None:
    """A pod's start-up counts: ingest must not pay for what train needs."""
    code = "import sys, ml.cli, ml.data.ingest; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"mlflow", "sklearn", "pandas", "pandera", "polars", "numpy", "onnxruntime", "scipy"}
    assert heavy & set(loaded) == set()
