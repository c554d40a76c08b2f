"""monitor and report on a made-up project in use, with a real MLflow in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.record import Record
from ml.core.store import sha256
from ml.stages import Stage
from tests.code.production import Production, put_back, too_heavy, turned, unlabelled
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
def shop(trained: Workshop, tmp_path: Path) -> Iterator[Production]:
    """The workshop as it was after the training."""
    with put_back(trained, tmp_path / "mlflow.db") as shop:
        yield shop


def test_a_model_that_does_as_at_its_gate_is_healthy(shop: Production) -> None:
    for day in (FIRST, SECOND, THIRD):
        shop.serve(day)
    result = shop.monitor(THIRD)
    assert result["decision"] == "healthy"
    assert result["start_training"] is False
    assert "over 450 rows" in result["reason"]
    (evaluated,) = records(shop, "evaluate")
    assert result["gate_auc"] == evaluated.facts["candidate_score"]

    shown = shop.runs()
    assert [run.info.run_name for run in shown] == [
        f"{day} version 1" for day in (FIRST, SECOND, THIRD)
    ]
    for run in shown:
        assert run.info.status == "FINISHED"
        assert run.data.metrics["rows"] == run.data.metrics["labelled"] == 150
        assert 0.8 < run.data.metrics["auc_low"] < run.data.metrics["auc"] <= 1
        assert run.data.metrics["gate_auc"] == pytest.approx(result["gate_auc"], abs=1e-4)
        assert run.data.tags["slipway.version"] == "1"


def records(shop: Production, stage: str) -> list[Record]:
    return [
        Record.model_validate_json(file.read_bytes())
        for file in (shop.data / stage).rglob("record.json")
    ]


def test_the_same_day_again_changes_nothing(shop: Production) -> None:
    shop.serve(FIRST, turned)
    monitored, reported = shop.monitor(FIRST), shop.report(FIRST)
    before = shop.state()
    assert shop.monitor(FIRST) == monitored | {"status": "skipped"}
    assert shop.report(FIRST) == reported | {"status": "skipped"}
    assert shop.state() == before


def test_two_at_once_leave_one_of_each(shop: Production) -> None:
    shop.serve(FIRST)

    def one(_: int) -> tuple[int, str]:
        done = shop.workshop.run("monitor", as_of=FIRST, **shop.environment)
        return done.returncode, done.stderr

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(2))) == [(0, ""), (0, "")]
    assert len(shop.runs()) == 1
    assert len(records(shop, "monitor")) == 1


def test_a_world_that_turned_calls_for_one_training_in_the_cool_down(shop: Production) -> None:
    for day in (FIRST, SECOND, THIRD, FOURTH):
        shop.serve(day, turned)
    first = shop.monitor(SECOND)
    assert first["decision"] == "retrain"
    assert "surely more than 0.05 lower" in first["reason"]
    assert first["start_training"] is True

    too_soon = shop.monitor(THIRD)
    assert (too_soon["decision"], too_soon["start_training"]) == ("retrain", False)
    assert f"asked for a training for {SECOND}" in too_soon["training_note"]

    too_little = shop.monitor(FIRST)
    assert (too_little["decision"], too_little["start_training"]) == ("healthy", False)
    assert "150 rows have a label, 200 are needed" in too_little["reason"]
    assert shop.monitor(FOURTH)["start_training"] is True
    assert shop.monitor(SECOND) == first | {"status": "skipped"}


def test_a_training_on_record_counts_for_the_cool_down(shop: Production) -> None:
    file = shop.workshop.project / "project.yaml"
    file.write_text(file.read_text().replace("min_rows: 200", "min_rows: 100"))
    shop.serve(FIRST, turned)
    result = shop.monitor(FIRST)
    assert (result["decision"], result["start_training"]) == ("retrain", False)
    assert f"there is a training for {AS_OF}" in result["training_note"]


def test_labels_that_arrive_later_make_new_numbers_in_the_same_run(shop: Production) -> None:
    shop.prepare(FIRST, unlabelled)
    shop.score(FIRST)
    blind = shop.monitor(FIRST)
    assert blind["decision"] == "healthy"
    assert "no label has arrived for 150 scored rows" in blind["reason"]
    assert "only 1 of 3 days" in blind["reason"]
    (before,) = shop.runs()
    assert "auc" not in before.data.metrics
    assert before.data.metrics["label_coverage"] == 0

    shop.prepare(FIRST)
    seeing = shop.monitor(FIRST)
    assert seeing["record"] != blind["record"]
    (after,) = shop.runs()
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["label_coverage"] == 1
    assert after.data.metrics["auc"] > 0.8
    assert shop.findings(seeing).window.labelled == 150


def test_labels_that_stay_away_are_watched_and_never_retrained(shop: Production) -> None:
    for day in (FIRST, SECOND, THIRD):
        shop.serve(day, unlabelled)
    result = shop.monitor(THIRD)
    assert (result["decision"], result["start_training"]) == ("watch", False)
    assert "no label has arrived for 450 scored rows" in result["reason"]


def test_refused_rows_are_counted_and_watched(shop: Production) -> None:
    shop.serve(FIRST, too_heavy)
    result = shop.monitor(FIRST)
    assert result["decision"] == "watch"
    assert "30 of 150 rows of 2024-03-09 were refused (20.0%" in result["reason"]
    (run,) = shop.runs()
    assert (run.data.metrics["scored"], run.data.metrics["refused"]) == (120, 30)


def test_each_version_of_a_day_has_a_run_and_the_champion_is_judged(shop: Production) -> None:
    shop.serve(FIRST)
    shop.serve(SECOND)
    older = shop.client.get_model_version(PROJECT, "1")
    kept = {name: older.tags[f"slipway.{name}"] for name in ("sha256", "artifact")}
    newer = shop.client.create_model_version(
        PROJECT, str(older.source), tags={f"slipway.{name}": value for name, value in kept.items()}
    )
    shop.client.set_registered_model_alias(PROJECT, "champion", newer.version)
    shop.score(SECOND)

    found = shop.findings(result := shop.monitor(SECOND))
    assert [run.info.run_name for run in shop.runs()] == [
        f"{FIRST} version 1",
        f"{SECOND} version 1",
        f"{SECOND} version 2",
    ]
    assert found.model.version == result["version"] == found.champion == "2"
    assert found.window.scored == 150
    # Nothing tells what version 2 was at a gate.
    assert [reading.gate is None for reading in found.readings] == [False, False, True]

    shop.client.set_registered_model_alias(PROJECT, "champion", "1")
    assert shop.monitor(SECOND)["version"] == "1"
    assert shop.monitor(FIRST)["version"] == "1"


def test_of_two_sets_of_predictions_by_one_version_the_newest_counts(shop: Production) -> None:
    shop.serve(FIRST, too_heavy)
    shop.serve(FIRST)
    assert len(records(shop, "score")) == 2
    (reading,) = shop.findings(shop.monitor(FIRST)).readings
    assert (reading.measures.scored, reading.measures.refused) == (150, 0)


def refused(shop: Production, day: date) -> str:
    with pytest.raises(BadInputError) as error:
        shop.monitor(day)
    return str(error.value)


def test_a_day_without_predictions_ends_the_stage_with_one_sentence(shop: Production) -> None:
    shop.serve(FIRST)
    done = shop.workshop.run("monitor", as_of=SECOND, **shop.environment)
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: there are no predictions of {PROJECT} for {SECOND}")
    assert done.stderr.count("\n") == 1
    assert "run batch_prediction_pipeline" in done.stderr
    assert f"score/dt={SECOND}/" in done.stderr
    assert shop.workshop.result()["status"] == "failed"
    assert shop.runs() == []


def test_a_project_without_a_champion_is_named(shop: Production) -> None:
    shop.serve(FIRST)
    shop.client.delete_registered_model_alias(PROJECT, "champion")
    assert f"{PROJECT} has no champion in MLflow" in refused(shop, FIRST)


def spoil(file: Path, change: pl.Expr) -> None:
    """Put other predictions in the place of a day's, with a record that fits them."""
    pl.read_parquet(file).with_columns(change).write_parquet(file)
    record = file.with_name("record.json")
    found = Record.model_validate_json(record.read_bytes())
    digest = {"sha256": sha256(file.read_bytes()), "bytes": file.stat().st_size}
    outputs = {name: output.model_copy(update=digest) for name, output in found.outputs.items()}
    record.write_text(found.model_copy(update={"outputs": outputs}).model_dump_json())


SPOILT = {
    "a score above one": (pl.col("score") + 1, "a score that is not between 0 and 1"),
    "no score": (pl.lit(None, pl.Float64).alias("score"), "has nulls"),
    "a score as text": (pl.col("score").cast(pl.String), "is String, not Float64"),
    "an id twice": (pl.lit("x").alias("id"), "have an 'id' twice"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_predictions_that_make_no_sense_are_named(shop: Production, case: str) -> None:
    change, words = SPOILT[case]
    spoil(shop.serve(FIRST), change)
    said = refused(shop, FIRST)
    assert words in said
    assert f"the predictions of {FIRST} by version 1" in said


def test_damaged_predictions_are_named(shop: Production) -> None:
    file = shop.serve(FIRST)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    said = refused(shop, FIRST)
    assert file.name in said
    assert "run score again" in said


def test_lost_predictions_are_named(shop: Production) -> None:
    file = shop.serve(FIRST)
    file.unlink()
    assert f"{file.name}, an output of score, is gone" in refused(shop, FIRST)


def test_a_torn_record_is_named(shop: Production) -> None:
    record = shop.serve(FIRST).with_name("record.json")
    record.write_text('{"stage": "score"')
    assert "is not a record" in refused(shop, FIRST)


def test_a_record_that_names_no_version_is_named(shop: Production) -> None:
    record = shop.serve(FIRST).with_name("record.json")
    record.write_text(record.read_text().replace('"version"', '"vers"'))
    assert "does not name 'version'" in refused(shop, FIRST)


def test_an_mlflow_that_is_away_may_be_tried_again(shop: Production) -> None:
    away = {"MLFLOW_TRACKING_URI": "http://u:secret@127.0.0.1:9"}
    done = shop.workshop.run("monitor", as_of=FIRST, **away)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at http://127.0.0.1:9")


def test_the_report_is_in_the_store_and_beside_the_numbers_in_mlflow(shop: Production) -> None:
    shop.serve(FIRST, turned)
    monitored, reported = shop.monitor(FIRST), shop.report(FIRST)
    same = ("decision", "reason", "version", "start_training", "training_note")
    assert {name: reported[name] for name in same} == {name: monitored[name] for name in same}
    page = Path(reported["report"].removeprefix("file://")).read_text()
    assert "<svg" in page
    (run,) = shop.runs()
    assert run.info.run_id == reported["run_id"]
    assert run.data.tags["slipway.decision"] == monitored["decision"]
    assert run.data.tags["slipway.report"] == reported["report"]
    shown = Path(shop.client.download_artifacts(run.info.run_id, "report.html"))
    assert shown.read_text() == page


def test_report_needs_what_monitor_found(shop: Production) -> None:
    with pytest.raises(BadInputError, match=r"--upstream is missing.*monitor"):
        shop.stage(Stage.REPORT, FIRST)
