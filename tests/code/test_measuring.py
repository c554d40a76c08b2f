"""What evaluate measures of a holdout: slices with doubt, what is too good, in little room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ml.core.project import Files, Project, ProjectSpec
from ml.data.daily_features import TIME, build
from ml.data.frames import BATCH_ROWS, as_rows, columns_of, predict
from ml.data.parts import DAY
from ml.serving.manifest import ArtifactManifest, Row, Trained
from ml.serving.predictors import Predictor
from ml.training.evaluate import measure
from ml.training.intervals import Interval
from ml.training.verdict import decide

SPEC = ProjectSpec.model_validate(
    {
        "title": "Parcels",
        "target": "late",
        "gate": {"slices": ["depot"], "min_slice_rows": 20},
        "tables": {"parcels": {"columns": {"id": "str"}}},
    }
)
ROWS = 600


def holdout() -> pl.DataFrame:
    """Twelve days of parcels of two depots; one depot has no day but the first."""
    dice = np.random.default_rng(1)
    late = dice.random(ROWS) < 0.3
    day = np.arange(ROWS) // 50
    depot = np.where((day == 0) & (np.arange(ROWS) % 2 == 0), "north", "south")
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(ROWS)],
            "depot": depot,
            "good": dice.normal(late, 0.7).astype(np.float32),
            "bad": dice.normal(late * 0.1, 1).astype(np.float32),
            "late": late,
            DAY: [date(2024, 3, 1) + timedelta(days=int(n)) for n in day],
        }
    )


def reads(column: str) -> Predictor:
    """A model that looks at one column."""

    def answer(rows: Sequence[Row]) -> list[float]:
        return [1 / (1 + np.exp(-float(str(row[column])))) for row in rows]

    return answer


def manifest(frame: pl.DataFrame) -> ArtifactManifest:
    return ArtifactManifest(
        project="parcels",
        format="onnx",
        file="model.onnx",
        sha256="0" * 64,
        columns=columns_of([frame], "late"),
        target="late",
        sample=as_rows(frame.head(1), columns_of([frame], "late")),
        expected=[0.5],
        trained=Trained(as_of="2024-03-08", fingerprint="0" * 16),
    )


def test_a_slice_has_a_loss_and_one_of_a_single_day_has_no_bounds() -> None:
    frame = holdout()
    champion = predict(reads("good"), frame, columns_of([frame], "late"))
    found = measure(SPEC, frame, manifest(frame), reads("bad"), champion)
    north, south = found.slices
    assert found.clusters == 12
    assert (north.value, north.rows, south.value, south.rows) == ("north", 25, "south", 575)
    assert north.loss is not None
    assert (north.loss.low, north.loss.high) == (-1, 1)
    assert south.loss is not None
    assert 0.05 < south.loss.low < south.loss.value < south.loss.high
    lenient = SPEC.gate.model_copy(update={"min_skill": -0.5, "min_gain": -1.0})
    refused = decide(lenient, found, "2024-03-01", None)
    assert refused.reason.startswith("depot south would lose")


def test_a_model_that_knows_the_target_is_refused_with_the_column() -> None:
    frame = holdout().with_columns((pl.col("late") * 1000).cast(pl.Float32).alias("hours"))
    found = measure(SPEC, frame, manifest(frame), reads("hours"), None)
    assert found.candidate.value == 1
    refused = decide(SPEC.gate, found, "2024-03-01", None)
    assert not refused.deploy
    assert "'hours' alone has 1.000" in refused.reason
    assert "known_later" in refused.reason
    ordinary = measure(SPEC, frame, manifest(frame), reads("good"), None)
    assert ordinary.telling is None
    assert decide(SPEC.gate, ordinary, "2024-03-01", None).deploy


def test_a_holdout_of_one_day_without_times_is_refused_with_what_to_do() -> None:
    frame = holdout().with_columns(pl.lit(date(2024, 3, 1)).alias(DAY))
    found = measure(SPEC, frame, manifest(frame), reads("good"), None)
    assert found.candidate == Interval(found.candidate.value, 0, 1)
    refused = decide(SPEC.gate, found, "2024-03-01", None)
    assert "gate.clusters" in refused.reason
    alone = SPEC.model_copy(update={"gate": SPEC.gate.model_copy(update={"clusters": ["id"]})})
    found = measure(alone, frame, manifest(frame), reads("good"), None)
    assert decide(alone.gate, found, "2024-03-01", None).deploy


def test_rows_are_unpacked_some_at_a_time() -> None:
    most = 0

    def watched(rows: Sequence[Row]) -> list[float]:
        nonlocal most
        most = max(most, len(rows))
        return [float(str(row["number"])) for row in rows]

    frame = pl.DataFrame({"number": np.arange(2 * BATCH_ROWS + 7.0), "late": True})
    found = predict(watched, frame, columns_of([frame], "late"))
    assert most == BATCH_ROWS
    assert np.array_equal(found, frame["number"].to_numpy())
    assert len(predict(watched, frame.clear(), columns_of([frame], "late"))) == 0


def made(when: pl.Expr) -> pl.DataFrame:
    """Features of two parcels, with a column of times."""
    project = Project("parcels", SPEC, Files(*(Path("none") for _ in range(3))))
    raw = pl.DataFrame({"id": ["a", "b"], "weight": [1, 2], "late": [True, False]})
    return build(project, lambda tables: tables["parcels"].with_columns(when), {"parcels": raw})


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_a_time_is_kept_and_not_learnt_from(unit: Any, zone: str | None) -> None:  # noqa: ANN401
    moment = datetime(2024, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    when = pl.lit(moment).cast(pl.Datetime(unit)).dt.replace_time_zone(zone).alias(TIME)
    frame = made(when)
    assert frame[TIME].to_list() == [moment, moment]
    assert frame.schema[TIME] == pl.Datetime("us")
    assert [column.name for column in columns_of([frame], "late")] == ["weight"]


def test_a_number_named_time_is_a_feature_as_before() -> None:
    frame = made(pl.lit(5).alias(TIME))
    assert [column.name for column in columns_of([frame], "late")] == ["weight", TIME]
