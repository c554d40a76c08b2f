"""Monitoring on real flights: its numbers are those of the raw data, counted another way."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from ml.core.record import Record
from ml.monitoring.findings import Monitoring
from tests.data.flights import tables
from tests.data.laptop import copy_flights, ml

TRAINED = date(2013, 3, 1)
WINDOW = 3
DAYS = [TRAINED + timedelta(days=n + 1) for n in range(WINDOW)]

# Few days teach little, and what the gate thinks of that is not the question here.
CHANGES = {
    "window: 60, holdout: 7": "window: 8, holdout: 2",
    "gate: {min_skill: 0.05,": "gate: {min_skill: 0, max_latency_ms: 10000,",
    "clusters: [day]": "clusters: [hour]",
    "target: late": f"target: late\nmonitor: {{window: {WINDOW}}}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laptop on which the flights' model was trained on few days and scored the next ones."""
    folder = tmp_path_factory.mktemp("monitored")
    copy_flights(folder, CHANGES)
    ml(folder, "land", "--from", str(TRAINED - timedelta(days=7)), "--to", str(DAYS[-1]))
    ml(folder, "run", "--as-of", str(TRAINED))
    pin = ml(folder, "pin-champion", "--as-of", str(DAYS[-1]))["record"]
    last = ("--as-of", str(DAYS[-1]))
    ml(folder, "score", *last, "--days", str(WINDOW), "--upstream", pin)
    found = ml(folder, "monitor", *last)["record"]
    ml(folder, "report", *last, "--upstream", found)
    return folder


def found(folder: Path) -> Monitoring:
    (file,) = (folder / "local/data/flights/monitor").rglob("monitoring-*.json")
    return Monitoring.model_validate_json(file.read_bytes())


def truth(day: date) -> pl.DataFrame:
    """A day's flights and whether each was late, straight from the source."""
    late = pl.col("arr_delay") > 15
    return tables(day)["flights"].select(
        pl.format("{}{} {} {}", "carrier", "flight", "origin", "time_hour").alias("id"), late=late
    )


def scores(folder: Path, day: date) -> pl.DataFrame:
    (file,) = (folder / f"local/data/flights/score/dt={day}").rglob("predictions-*.parquet")
    return pl.read_parquet(file).select("id", "score").join(truth(day), on="id", how="left")


def test_each_days_numbers_are_those_of_its_flights(folder: Path) -> None:
    readings = found(folder).readings
    assert [reading.day for reading in readings] == DAYS
    for reading in readings:
        seen, flights = reading.measures, truth(reading.day)
        known = scores(folder, reading.day).drop_nulls("late")
        assert seen.rows == seen.scored == flights.height
        assert seen.labelled == flights["late"].count() < seen.scored
        assert seen.positive_rate == pytest.approx(flights["late"].mean())
        assert seen.auc is not None
        assert seen.auc.value == pytest.approx(roc_auc_score(known["late"], known["score"]))
        assert seen.auc.low < seen.auc.value < seen.auc.high
        assert seen.log_loss == pytest.approx(log_loss(known["late"], known["score"]))
        assert seen.brier == pytest.approx(brier_score_loss(known["late"], known["score"]))


def test_the_window_is_all_its_days_together(folder: Path) -> None:
    window = found(folder).window
    known = pl.concat(scores(folder, day) for day in DAYS).drop_nulls("late")
    assert window.labelled == known.height
    assert window.auc is not None
    assert window.auc.value == pytest.approx(roc_auc_score(known["late"], known["score"]))


def test_it_is_compared_with_what_evaluate_measured(folder: Path) -> None:
    (file,) = (folder / "local/data/flights/evaluate").rglob("record.json")
    facts = Record.model_validate_json(file.read_bytes()).facts
    seen = found(folder)
    assert seen.gate is not None
    assert seen.gate.auc.value == pytest.approx(facts["candidate_score"], abs=1e-4)
    assert seen.gate.as_of == TRAINED
    assert f"{facts['candidate_score']:.3f} at the gate" in seen.reason


def test_the_report_is_there_and_small(folder: Path) -> None:
    (file,) = (folder / "local/data/flights/report").rglob("report-*.html")
    text = file.read_text()
    assert "Will a flight from New York arrive more than 15 minutes late?" in text
    assert len(text) < 60_000
