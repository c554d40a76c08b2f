"""docs/landing.md: what it tells another team's job to do, done, and a day of theirs taken."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from ml.core.job import Job
from ml.core.ledger import read_outputs, read_record, run_stage
from ml.core.project import ColumnType
from ml.core.settings import Settings
from ml.core.tables import from_parquet
from ml.stages import Stage

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/landing.md").read_text()
LAND, PANDAS, DUCKDB, SPARK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# Its first line is run by tests/code/spark/write.py, with a Spark that the tests have not.
AFTER_SPARK = SPARK.split("\n", 1)[1]
DAY = date(2024, 3, 8)
YAML = """\
title: Will a parcel be late?
target: late
timezone: America/New_York
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


def spark_has_written(folder: Path) -> None:
    """Leave what `rows.coalesce(1).write.parquet("parcels")` leaves."""
    written = folder / "parcels"
    written.mkdir()
    (written / "_SUCCESS").touch()
    part = written / "part-00000-2c6c1a3e-c000.snappy.parquet"
    shutil.copy(REPO / "tests/code/spark/parcels.parquet", part)


class Rows:
    """As much of a Spark table as is left to ask once it is written."""

    def count(self) -> int:
        return 2


WAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "pandas": (PANDAS, lambda _: None),
    "duckdb": (DUCKDB, lambda _: None),
    "spark": (AFTER_SPARK, spark_has_written),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_job_of_another_team_lands_a_day(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, prepare = WAYS[way]
    prepare(tmp_path)
    exec(LAND + code, {"rows": Rows()})  # noqa: S102 - the page's own text
    project = tmp_path / "projects/parcels"
    project.mkdir(parents=True)
    (project / "project.yaml").write_text(YAML)
    (project / "model.py").write_text(MODEL)
    settings = Settings(
        landing_url=str(tmp_path / "landing"),
        data_url=str(tmp_path / "data"),
        projects_path=str(tmp_path / "projects"),
    )
    job = Job.of("parcels", DAY, settings)
    upstream = None
    for stage in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES):
        job = Job("parcels", DAY, settings, job.stores, upstream=upstream, days=1)
        upstream = run_stage(stage, job).record
    assert upstream
    record = read_record(job.stores.data, upstream)
    (content,) = read_outputs(job, Stage.BUILD_FEATURES, list(record.outputs.values()))
    rows = from_parquet(content, "the features").drop("late").rows()
    assert rows == [("1", 2.0, 9), ("2", 3.0, 23)]


def test_the_manifest_that_is_shown_is_one() -> None:
    from ml.data.landing import Manifest

    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    manifest = Manifest.model_validate(json.loads(shown))
    assert (manifest.project, manifest.day) == ("parcels", DAY)
    assert set(manifest.tables) == {"parcels"}


def test_every_type_of_project_yaml_is_told_of() -> None:
    told = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert told == list(ColumnType)


def test_what_spark_wrote_is_on_new_yorks_clocks_only_with_what_it_said() -> None:
    """INT96 alone says nothing of a zone: read as it is, the time would be in UTC."""
    file = REPO / "tests/code/spark/parcels.parquet"
    assert pl.read_parquet(file)["sent"][0] == datetime(2024, 3, 8, 14, 30)
    assert from_parquet(file.read_bytes(), "it")["sent"].dtype == pl.Datetime("ns", "UTC")
