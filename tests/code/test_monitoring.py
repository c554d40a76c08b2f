"""monitor and report on a made-up project in use, with a real MLflow in SQLite."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from ml.ledger import read_record
from ml.monitoring import Monitoring
from ml.record import Stage
from tests.code.production import job, prepare, read_record_file, score, serve, turned, unlabelled
from tests.code.workshop import AS_OF, PROJECT, Workshop

# MLflow's own libraries are used in ways that they call outdated.
pytestmark = pytest.mark.filterwarnings("default")

FIRST, SECOND, THIRD, FOURTH = (AS_OF + timedelta(days=n) for n in (1, 2, 3, 4))
RULES = "monitor: {window: 3, min_rows: 200, cool_down: 2}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Workshop:
    """A workshop with a champion, version 1, and a window of three days to be judged."""
    workshop = Workshop.at(tmp_path_factory.mktemp("trained"), database)
    with (workshop.project / "project.yaml").open("a") as file:
        file.write(RULES)
    workshop.land_window()
    done = workshop.run()
    assert done.returncode == 0, done.stderr + done.stdout
    return workshop


@pytest.fixture
def shop(trained: Workshop) -> Iterator[Workshop]:
    """The same workshop, put back afterwards: MLflow's artefacts know their folder by name."""
    local, kept = trained.folder / "local", trained.folder / "kept"
    shutil.copytree(local, kept, symlinks=True)
    yield trained
    shutil.rmtree(local)
    kept.rename(local)


def monitor(shop: Workshop, day: date, verb: str = "monitor", *options: str) -> dict[str, Any]:
    """Run the stage as a pod would and return what it tells its caller."""
    done = shop.ml(verb, "-p", PROJECT, "--as-of", str(day), *options)
    assert done.returncode == 0, done.stderr
    return shop.result()


def refused(shop: Workshop, day: date) -> str:
    done = shop.run("monitor", as_of=day)
    assert done.returncode == 3, done.stderr + done.stdout
    assert done.stderr.count("\n") == 1
    assert shop.result()["status"] == "failed"
    return done.stderr


def findings(shop: Workshop, result: dict[str, Any]) -> Monitoring:
    store = job(shop, AS_OF).stores.data
    output = read_record(store, result["record"]).outputs["monitoring"]
    return Monitoring.model_validate_json(store.read(store.path(output.uri)))


def runs(shop: Workshop) -> list[Run]:
    client = MlflowClient(f"sqlite:///{shop.folder}/local/mlflow.db")
    experiment = client.get_experiment_by_name(f"{PROJECT}-monitoring")
    if experiment is None:
        return []
    return sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.info.run_name)


def state(shop: Workshop) -> tuple[dict[str, int], list[tuple[str, dict[str, float]]]]:
    return shop.published(), [(run.info.run_id, run.data.metrics) for run in runs(shop)]


def test_a_model_that_does_as_at_its_gate_is_healthy(shop: Workshop) -> None:
    for day in (FIRST, SECOND, THIRD):
        serve(shop, day)
    result = monitor(shop, THIRD)
    assert result["decision"] == "healthy"
    assert result["start_training"] is False
    assert "over 450 rows" in result["reason"]
    (evaluated,) = (shop.folder / "local/data" / PROJECT / "evaluate").rglob("record.json")
    assert result["gate_auc"] == read_record_file(evaluated).facts["candidate_score"]

    shown = runs(shop)
    assert [run.info.run_name for run in shown] == [
        f"{day} version 1" for day in (FIRST, SECOND, THIRD)
    ]
    for run in shown:
        assert run.info.status == "FINISHED"
        assert run.data.metrics["rows"] == run.data.metrics["labelled"] == 150
        assert 0.8 < run.data.metrics["auc_low"] < run.data.metrics["auc"] <= 1
        assert run.data.metrics["gate_auc"] == pytest.approx(result["gate_auc"], abs=1e-4)
        assert run.data.tags["slipway.version"] == "1"


def test_the_same_day_again_changes_nothing(shop: Workshop) -> None:
    serve(shop, FIRST, turned)
    first = monitor(shop, FIRST)
    page = monitor(shop, FIRST, "report", "--upstream", first["record"])
    before = state(shop)
    again = monitor(shop, FIRST)
    assert again == first | {"status": "skipped"}
    page_again = monitor(shop, FIRST, "report", "--upstream", again["record"])
    assert page_again == page | {"status": "skipped"}
    assert state(shop) == before


def test_two_at_once_leave_one_of_each(shop: Workshop) -> None:
    serve(shop, FIRST)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: shop.run("monitor", as_of=FIRST), range(2)))
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert len(runs(shop)) == 1
    assert len(list((shop.folder / "local/data" / PROJECT / "monitor").rglob("record.json"))) == 1


def test_a_world_that_turned_calls_for_one_training_in_the_cool_down(shop: Workshop) -> None:
    for day in (FIRST, SECOND, THIRD, FOURTH):
        serve(shop, day, turned)
    for day in (AS_OF - timedelta(days=1), AS_OF):
        # The day of the only training is 8 March; one asked for 9 March would be too soon.
        assert day < FIRST
    first = monitor(shop, SECOND)
    assert first["decision"] == "retrain"
    assert "surely more than 0.05 lower" in first["reason"]
    assert first["start_training"] is True

    too_soon = monitor(shop, THIRD)
    assert too_soon["decision"] == "retrain"
    assert too_soon["start_training"] is False
    assert f"asked for a training for {SECOND}" in too_soon["training_note"]

    earlier = monitor(shop, FIRST)
    assert (earlier["decision"], earlier["start_training"]) == ("healthy", False)
    assert monitor(shop, FOURTH)["start_training"] is True
    assert monitor(shop, SECOND) == first | {"status": "skipped"}


def test_a_training_on_record_counts_for_the_cool_down(shop: Workshop) -> None:
    with (shop.project / "project.yaml").open("r+") as file:
        text = file.read()
        file.write("")
    rules = shop.project / "project.yaml"
    rules.write_text(text.replace("min_rows: 200", "min_rows: 100"))
    try:
        serve(shop, FIRST, turned)
        result = monitor(shop, FIRST)
    finally:
        rules.write_text(text)
    assert (result["decision"], result["start_training"]) == ("retrain", False)
    assert f"there is a training for {AS_OF}" in result["training_note"]


def test_labels_that_arrive_later_make_new_numbers_in_the_same_run(shop: Workshop) -> None:
    features = prepare(shop, FIRST, unlabelled)
    score(shop, FIRST, features)
    blind = monitor(shop, FIRST)
    assert blind["decision"] == "healthy"
    assert "no label has arrived for 150 scored rows" in blind["reason"]
    assert "only 1 of 3 days" in blind["reason"]
    (before,) = runs(shop)
    assert "auc" not in before.data.metrics
    assert before.data.metrics["label_coverage"] == 0

    prepare(shop, FIRST)
    seeing = monitor(shop, FIRST)
    assert seeing["record"] != blind["record"]
    (after,) = runs(shop)
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["label_coverage"] == 1
    assert after.data.metrics["auc"] > 0.8
    assert findings(shop, seeing).window.labelled == 150


def test_labels_that_stay_away_are_watched_and_never_retrained(shop: Workshop) -> None:
    for day in (FIRST, SECOND, THIRD):
        serve(shop, day, unlabelled)
    result = monitor(shop, THIRD)
    assert (result["decision"], result["start_training"]) == ("watch", False)
    assert "no label has arrived for 450 scored rows" in result["reason"]


def test_refused_rows_are_counted_and_watched(shop: Workshop) -> None:
    serve(shop, FIRST, refused=30)
    result = monitor(shop, FIRST)
    assert result["decision"] == "watch"
    assert "30 of 150 rows of 2024-03-09 were refused (20.0%" in result["reason"]
    (run,) = runs(shop)
    assert (run.data.metrics["scored"], run.data.metrics["refused"]) == (120, 30)


def test_each_version_of_a_day_has_its_own_run_and_the_champion_is_judged(shop: Workshop) -> None:
    for day in (FIRST, SECOND):
        serve(shop, day, turned)
    file = shop.project / "model.py"
    text = file.read_text()
    file.write_text(text.replace("max_iter=1000", "max_iter=1000, C=0.5"))
    try:
        assert shop.run(as_of=SECOND).returncode == 0
    finally:
        file.write_text(text)
    features = read_record_file(newest(shop, "build_features", SECOND))
    score(shop, SECOND, features, version=2)
    found = findings(shop, result := monitor(shop, SECOND))
    assert [run.info.run_name for run in runs(shop)] == [
        f"{FIRST} version 1",
        f"{SECOND} version 1",
        f"{SECOND} version 2",
    ]
    assert found.model.version == result["version"] == found.champion == "1"
    assert {reading.gate is not None for reading in found.readings} == {True}


def newest(shop: Workshop, stage: str, day: date) -> Path:
    found = (shop.folder / "local/data" / PROJECT / stage / f"dt={day}").rglob("record.json")
    return max(found, key=lambda file: file.stat().st_mtime)


def test_rescored_with_other_rows_the_newest_predictions_count(shop: Workshop) -> None:
    features = prepare(shop, FIRST)
    old = score(shop, FIRST, features)
    record = old.with_name("record.json")
    moved = record.parent.with_name("0" * 16)
    shutil.copytree(record.parent, moved)
    early = read_record_file(record).model_copy(
        update={"created_at": read_record_file(record).created_at - timedelta(hours=1)}
    )
    (moved / "record.json").write_text(early.model_dump_json())
    assert len(findings(shop, monitor(shop, FIRST)).readings) == 1


def test_a_day_without_predictions_is_named(shop: Workshop) -> None:
    serve(shop, FIRST)
    said = refused(shop, SECOND)
    assert f"no predictions of {PROJECT} for {SECOND}" in said
    assert "run batch_prediction_pipeline" in said
    assert f"score/dt={SECOND}/" in said


def test_a_project_without_a_champion_is_named(shop: Workshop) -> None:
    serve(shop, FIRST)
    client = MlflowClient(f"sqlite:///{shop.folder}/local/mlflow.db")
    client.delete_registered_model_alias(PROJECT, "champion")
    assert f"{PROJECT} has no champion in MLflow" in refused(shop, FIRST)


def spoilt(file: Path, frame: pl.DataFrame) -> None:
    """Put other predictions in the place of a day's, with a record that fits them."""
    record = file.with_name("record.json")
    found = read_record_file(record)
    frame.write_parquet(file)
    content = file.read_bytes()
    from ml.store import sha256

    (output,) = found.outputs.values()
    changed = output.model_copy(update={"sha256": sha256(content), "bytes": len(content)})
    record.write_text(
        found.model_copy(update={"outputs": {"predictions": changed}}).model_dump_json()
    )


SPOILT = {
    "a score above one": (pl.col("score") + 1, "a score that is not between 0 and 1"),
    "a score that is none": (pl.lit(None, pl.Float64).alias("score"), "'score'", "has nulls"),
    "a score as text": (pl.col("score").cast(pl.String), "'score'", "String, not Float64"),
    "an id twice": (pl.lit("x").alias("id"), "have an 'id' twice"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_predictions_that_make_no_sense_are_named(shop: Workshop, case: str) -> None:
    change, *words = SPOILT[case]
    file = serve(shop, FIRST)
    assert isinstance(change, pl.Expr)
    spoilt(file, pl.read_parquet(file).with_columns(change))
    said = refused(shop, FIRST)
    assert all(str(word) in said for word in words), said
    assert f"the predictions of {FIRST} by version 1" in said


def test_damaged_predictions_are_named(shop: Workshop) -> None:
    file = serve(shop, FIRST)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    said = refused(shop, FIRST)
    assert file.name in said
    assert "run score again" in said


def test_lost_predictions_are_named(shop: Workshop) -> None:
    file = serve(shop, FIRST)
    file.unlink()
    assert f"{file.name}, an output of score, is gone" in refused(shop, FIRST)


def test_a_torn_record_is_named(shop: Workshop) -> None:
    record = serve(shop, FIRST).with_name("record.json")
    record.write_text('{"stage": "score"')
    assert "is not a record" in refused(shop, FIRST)


def test_an_mlflow_that_is_away_may_be_tried_again(shop: Workshop) -> None:
    done = shop.run("monitor", as_of=FIRST, MLFLOW_TRACKING_URI="http://u:secret@127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at http://127.0.0.1:9")


def test_the_page_stands_alone_and_says_what_was_decided(shop: Workshop) -> None:
    serve(shop, FIRST, turned)
    found = monitor(shop, FIRST)
    result = monitor(shop, FIRST, "report", "--upstream", found["record"])
    assert {name: result[name] for name in ("decision", "reason", "version")} == {
        name: found[name] for name in ("decision", "reason", "version")
    }
    page = Path(result["report"].removeprefix("file://")).read_text()
    assert "<svg" in page
    assert found["record"].rsplit("/", 1)[0] in page
    (run,) = runs(shop)
    assert run.data.tags["slipway.decision"] == found["decision"]
    assert run.data.tags["slipway.report"] == result["report"]
    client = MlflowClient(f"sqlite:///{shop.folder}/local/mlflow.db")
    shown = Path(client.download_artifacts(run.info.run_id, "report.html"))
    assert shown.read_text() == page


def test_report_needs_what_monitor_found(shop: Workshop) -> None:
    done = shop.run("report", as_of=FIRST)
    assert done.returncode == 3
    assert "--upstream" in done.stderr
    assert Stage.MONITOR in done.stderr
