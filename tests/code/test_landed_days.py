"""Days as they really come: written by others, in their types, copied, or counted wrongly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.core.ledger import run_stage
from ml.core.project import ProjectSpec, Table
from ml.core.record import Result, Status
from ml.core.settings import Settings
from ml.core.store import Store
from ml.data.declared import as_declared
from ml.data.landing import MANIFEST, partition, publish_partition
from ml.data.sift import sift
from ml.stages import Stage

AS_OF = date(2024, 3, 8)
YAML = """\
title: Will a parcel be late?
target: late
timezone: America/New_York
days: {window: 4, holdout: 2}
tables:
  parcels:
    key: [id]
    columns: {id: int, sent: datetime, weight: float 0..100, hours: float or null}
"""
MODEL = """\
import polars as pl


def features(tables):
    return tables["parcels"].select(
        "id", "weight", hour=pl.col("sent").dt.hour().cast(pl.Int64), late=pl.col("hours") > 24
    )
"""


def parcels(day: date, rows: int = 20) -> pl.DataFrame:
    """A day's parcels, as polars writes them: whole-number ids, times on New York's clocks."""
    noon = datetime(day.year, day.month, day.day, 12)
    return pl.DataFrame(
        {
            "id": [n + 1000 * day.day for n in range(rows)],
            "sent": [noon + timedelta(minutes=n) for n in range(rows)],
            "weight": [float(n) for n in range(rows)],
            "hours": [20.0 + n for n in range(rows)],
        }
    )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Four landed days of a project of its own."""
    project = tmp_path / "projects/parcels"
    project.mkdir(parents=True)
    (project / "project.yaml").write_text(YAML)
    (project / "model.py").write_text(MODEL)
    places = {name: str(tmp_path / name) for name in ("landing_url", "data_url", "models_url")}
    settings = Settings(projects_path=str(tmp_path / "projects"), **places)  # type: ignore[arg-type]
    job = Job.of("parcels", AS_OF, settings)
    for back in range(4):
        land(job.stores.landing, AS_OF - timedelta(days=back))
    return job


def land(store: Store, day: date, frame: pl.DataFrame | None = None) -> None:
    publish_partition(store, "parcels", day, {"parcels": parcels(day) if frame is None else frame})


def prepared(job: Job) -> Result:
    """Do the data stages one after the other; return what split told."""
    result = Result(stage=Stage.INGEST, status=Status.FAILED)
    for stage in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES, Stage.SPLIT):
        result = run_stage(stage, job)
        job = Job(job.project, job.as_of, job.settings, job.stores, upstream=result.record)
    return result


def whole_weights(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("weight").cast(pl.Int64))


def narrow(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("id").cast(pl.UInt16), pl.col("weight").cast(pl.Float32))


def on_new_yorks_clock(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("sent").dt.replace_time_zone("America/New_York"))


def in_utc(frame: pl.DataFrame) -> pl.DataFrame:
    there = pl.col("sent").dt.replace_time_zone("America/New_York")
    return frame.with_columns(there.dt.convert_time_zone("UTC"))


def in_milliseconds(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("sent").cast(pl.Datetime("ms")))


WRITERS = (whole_weights, narrow, on_new_yorks_clock, in_utc, in_milliseconds)


@pytest.mark.parametrize("writer", WRITERS, ids=[writer.__name__ for writer in WRITERS])
def test_a_day_of_another_writer_among_ordinary_days_is_the_same_day(
    job: Job, writer: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    ordinary = prepared(job)
    values = features_of(job, AS_OF)
    land(job.stores.landing, AS_OF, writer(parcels(AS_OF)))
    other = prepared(job)
    assert other.facts == ordinary.facts
    assert features_of(job, AS_OF).equals(values)


def features_of(job: Job, day: date) -> pl.DataFrame:
    """The features that were built last for a day."""
    folder = Path(job.stores.data.url.removeprefix("file://")) / f"parcels/build_features/day={day}"
    newest = max(folder.glob("*/features-*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    return pl.read_parquet(newest)


def test_whole_number_ids_are_text_wherever_rows_are_joined(job: Job) -> None:
    prepared(job)
    assert features_of(job, AS_OF).schema["id"] == pl.String


def test_a_partition_that_was_copied_to_another_day_is_named(job: Job) -> None:
    root = Path(job.stores.landing.url.removeprefix("file://"))
    yesterday = AS_OF - timedelta(days=1)
    shutil.rmtree(root / partition("parcels", AS_OF))
    shutil.copytree(root / partition("parcels", yesterday), root / partition("parcels", AS_OF))
    with pytest.raises(BadInputError, match=f"describes {yesterday} of parcels.*land {AS_OF}"):
        run_stage(Stage.INGEST, job)


@pytest.mark.parametrize("claimed", [0, 19, 150])
def test_a_manifest_that_counts_wrongly_is_not_believed(job: Job, claimed: int) -> None:
    root = Path(job.stores.landing.url.removeprefix("file://"))
    file = root / partition("parcels", AS_OF - timedelta(days=1)) / MANIFEST
    file.write_text(file.read_text().replace('"rows": 20', f'"rows": {claimed}'))
    with pytest.raises(BadInputError, match=f"has 20 rows but its manifest says {claimed}"):
        run_stage(Stage.INGEST, job)
    assert not list(root.parent.glob("data_url/**/*.parquet"))


def test_a_manifest_that_counts_wrongly_is_not_believed_of_a_file_that_is_kept(job: Job) -> None:
    run_stage(Stage.INGEST, job)
    root = Path(job.stores.landing.url.removeprefix("file://"))
    file = root / partition("parcels", AS_OF) / MANIFEST
    file.write_text(file.read_text().replace('"rows": 20', '"rows": 0'))
    with pytest.raises(BadInputError, match="has 20 rows but its manifest says 0"):
        run_stage(Stage.INGEST, job)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"rows": 20', '"rows": -1', "rows: "),
        ('"rows": 20', '"rows": "many"', "rows: "),
        ('"bytes": ', '"bytes": -', "bytes: "),
        ('"sha256": "', '"sha256": "../../', "sha256: "),
    ],
)
def test_a_manifest_that_makes_no_sense_is_told_where(
    job: Job, old: str, new: str, where: str
) -> None:
    root = Path(job.stores.landing.url.removeprefix("file://"))
    file = root / partition("parcels", AS_OF) / MANIFEST
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(BadInputError, match=f"is not a manifest: tables: parcels: {where}"):
        run_stage(Stage.INGEST, job)


@pytest.mark.parametrize("types", ['"Int64"', '"whatever"', "null"])
def test_the_types_in_a_manifest_are_for_people(job: Job, types: str) -> None:
    """A file that another program wrote is read by what is in it."""
    root = Path(job.stores.landing.url.removeprefix("file://"))
    file = root / partition("parcels", AS_OF) / MANIFEST
    told = json.loads(file.read_text())
    told["tables"]["parcels"]["schema"] = {"weight": types}
    file.write_text(json.dumps(told))
    assert prepared(job).facts["holdout_rows"] == 40


def test_a_time_zone_that_is_none_is_named() -> None:
    text = {"title": "t", "target": "y", "timezone": "Mars/Base", "tables": {}}
    with pytest.raises(ValueError, match="'Mars/Base' is no time zone"):
        ProjectSpec.model_validate(text)


TABLE = Table.model_validate({"columns": {"x": "float", "on": "bool", "at": "datetime"}})


def test_what_is_no_number_is_missing_to_training_and_scoring_alike() -> None:
    frame = pl.DataFrame(
        {"x": [1.0, float("nan"), None], "on": [True] * 3, "at": [datetime(2024, 1, 1)] * 3}
    )
    assert as_declared(TABLE, frame, "UTC", "it")["x"].to_list() == [1.0, None, None]
    sifted = sift(TABLE, frame, "it")
    assert (sifted.frame.height, dict(sifted.reasons)) == (1, {"x is missing": 2})


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        (1, "float", 1.0),
        (Decimal("1.5"), "float", 1.5),
        (True, "bool", True),
        ("a", "str", "a"),
        (date(2024, 1, 1), "date", date(2024, 1, 1)),
        (datetime(2024, 7, 1, 12, tzinfo=UTC), "datetime", datetime(2024, 7, 1, 14)),
        (datetime(2024, 7, 1, 12), "datetime", datetime(2024, 7, 1, 12)),
        (
            datetime(2024, 1, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo")),
            "datetime",
            datetime(2024, 1, 1, 4),
        ),
    ],
)
def test_values_are_the_same_in_the_declared_type(
    value: object, rule: str, expected: object
) -> None:
    table = Table.model_validate({"columns": {"c": rule}})
    found = as_declared(table, pl.DataFrame({"c": [value]}), "Europe/Madrid", "it")["c"]
    assert found.to_list() == [expected]
