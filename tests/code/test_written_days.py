"""Every type that pandas, pyarrow, polars, DuckDB and Spark write: the same values, or a sentence.

Never a crash, never a shift.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.core.ledger import run_stage
from ml.core.project import ColumnType, Table
from ml.core.settings import Settings
from ml.core.store import Store, sha256
from ml.core.tables import from_parquet
from ml.data.declared import as_declared
from ml.data.landing import (
    MANIFEST,
    LandedTable,
    Manifest,
    partition,
    publish_partition,
    table_path,
)
from ml.data.sift import sift
from ml.stages import Stage
from tests.code.writers import HERE, WRITERS, ZONE, copied, expected

AS_OF = date(2024, 3, 8)
MODEL = """\
import polars as pl


def features(tables):
    rows = tables["rows"].with_row_index("n")
    named = [c for c in rows.collect_schema() if "__" in c and not c.startswith("none")]
    texts = [pl.col(c).cast(pl.String) for c in named]
    return rows.select(pl.format("{}", "n").alias("id"), *texts, late=pl.col("n") > 0)
"""


@cache
def written(writer: str) -> tuple[bytes, pl.DataFrame]:
    content = WRITERS[writer]()
    return content, from_parquet(content, writer)


@pytest.mark.parametrize("kind", list(ColumnType))
@pytest.mark.parametrize("writer", WRITERS)
def test_each_column_holds_the_same_values_or_is_refused_in_a_sentence(
    writer: str, kind: ColumnType
) -> None:
    """As every kind, also as one that it was not meant for."""
    _, frame = written(writer)
    table = {c: Table.model_validate({"columns": {c: f"{kind} or null"}}) for c in frame.columns}
    taken = {c for c in frame.columns if c.split("__")[0] in (kind, f"none_{kind}")}
    for column in frame.columns:
        landed = frame.select(column)
        scored = sift(table[column], landed, "it")
        found, refused = declared(table[column], landed)
        assert bool(refused) == bool(scored.reasons), column
        if found is None:
            assert column not in taken, refused
            assert f"column '{column}' of it is" in refused
            assert "\n" not in refused
            continue
        assert same(found.to_list(), landed[column].to_list()), column
        assert declared(table[column], scored.frame)[0].equals(found)  # type: ignore[union-attr]
        if column in taken:
            wanted = expected(column) if column.startswith(kind) else [None] * 3
            assert found.to_list() == wanted, column


def declared(table: Table, frame: pl.DataFrame) -> tuple[pl.Series | None, str]:
    """Bring a table of one column to its type; or why it can't be."""
    try:
        return as_declared(table, frame, ZONE, "it").to_series(), ""
    except BadInputError as error:
        return None, str(error)


def same(found: list[Any], landed: list[Any]) -> bool:
    """Whether values are those that landed, as far as two types can hold the same."""
    return all(one == as_found(other, one) for one, other in zip(found, landed, strict=True))


def as_found(landed: Any, found: Any) -> Any:  # noqa: ANN401 - any column's value
    if isinstance(landed, bytes):
        return landed.decode()
    if isinstance(landed, datetime) and landed.tzinfo:
        return landed.astimezone(HERE).replace(tzinfo=None)
    if isinstance(landed, datetime) and not isinstance(found, datetime):
        return landed.date() if landed.time() == datetime.min.time() else landed
    if isinstance(landed, Decimal) and isinstance(found, float):
        return float(landed)
    return landed


def job_of(tmp_path: Path, columns: dict[str, str]) -> Job:
    """A project with one table, two ordinary days of which have landed before AS_OF."""
    project = tmp_path / "projects/rows"
    project.mkdir(parents=True)
    rules = "\n".join(f"      {column!r}: {rule} or null" for column, rule in columns.items())
    (project / "project.yaml").write_text(
        f"title: t\ntarget: late\ntimezone: {ZONE}\ndays: {{window: 3, holdout: 1}}\n"
        f"tables:\n  rows:\n    columns:\n{rules}\n"
    )
    (project / "model.py").write_text(MODEL)
    places = {name: str(tmp_path / name) for name in ("landing_url", "data_url", "models_url")}
    return Job.of("rows", AS_OF, Settings(projects_path=str(tmp_path / "projects"), **places))  # type: ignore[arg-type]


def land(store: Store, day: date, content: bytes, rows: int = 3) -> None:
    """Land a day as another team's job does: a file, and then its manifest."""
    store.replace(table_path("rows", day, "rows"), content)
    table = LandedTable(rows=rows, sha256=sha256(content), bytes=len(content))
    manifest = Manifest(project="rows", day=day, tables={"rows": table})
    text = manifest.model_dump_json(by_alias=True, exclude_defaults=True)
    store.replace(f"{partition('rows', day)}/{MANIFEST}", text.encode())


def ordinary(columns: dict[str, str]) -> pl.DataFrame:
    """The same rows as polars writes them when it is told the types."""
    table = Table.model_validate({"columns": columns})
    frame = pl.DataFrame({c: expected(c) for c in columns})
    return as_declared(table, frame, ZONE, "the ordinary day")


def prepared(job: Job) -> list[pl.DataFrame]:
    """Do the data stages; return the features of every day."""
    for stage in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES, Stage.SPLIT):
        result = run_stage(stage, job)
        job = Job(job.project, job.as_of, job.settings, job.stores, upstream=result.record)
    root = Path(job.stores.data.url.removeprefix("file://")) / "rows/build_features"
    return [pl.read_parquet(file) for file in sorted(root.glob("day=*/*/features-*.parquet"))]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writers_day_among_ordinary_days_gives_the_same_features(
    writer: str, tmp_path: Path
) -> None:
    content, frame = written(writer)
    columns = {c: c.split("__")[0] for c in frame.columns if not c.startswith("none")}
    job = job_of(tmp_path, columns)
    for back in (2, 1):
        day = AS_OF - timedelta(days=back)
        publish_partition(job.stores.landing, "rows", day, {"rows": ordinary(columns)})
    land(job.stores.landing, AS_OF, content)
    first, second, last = prepared(job)
    assert first.equals(second)
    assert last.drop("id").equals(first.drop("id"))
    assert len(last.columns) == len(columns) + 2


NONE = [
    (writer, column)
    for writer in ("pandas", "pyarrow", "polars", "duckdb", "spark")
    for column in written(writer)[1].columns
    if column.startswith("none__") and "infinit" not in column
]


@pytest.mark.parametrize(("writer", "column"), NONE)
def test_a_column_of_another_kind_is_named_before_anything_is_kept(
    writer: str, column: str, tmp_path: Path
) -> None:
    job = job_of(tmp_path, {column: "float"})
    for back in range(3):
        land(job.stores.landing, AS_OF - timedelta(days=back), written(writer)[0])
    with pytest.raises(BadInputError, match=f"column '{column}' of table 'rows' of .* is .*float"):
        run_stage(Stage.INGEST, job)
    assert not list(tmp_path.glob("data_url/**/*.parquet"))


def test_a_type_that_cannot_be_read_at_all_is_a_sentence() -> None:
    content = copied(duckdb.connect(), "select 1 as id, interval 1 day as lasted")
    with pytest.raises(BadInputError, match=r"^it is not readable Parquet"):
        from_parquet(content, "it")


LOSSY: list[tuple[str, pl.Series]] = [
    ("int", pl.Series([1.5])),
    ("int", pl.Series([1e300])),
    ("int", pl.Series([float("inf")])),
    ("int", pl.Series([2.0**53 + 2])),
    ("int", pl.Series([2**63], dtype=pl.UInt64)),
    ("int", pl.Series([2**63], dtype=pl.Int128)),
    ("int", pl.Series([Decimal("1.5")])),
    ("int", pl.Series([Decimal(10) ** 30])),
    ("int", pl.Series([True])),
    ("float", pl.Series([2**53 + 1])),
    ("float", pl.Series([2**64 - 1], dtype=pl.UInt64)),
    ("float", pl.Series([True])),
    ("str", pl.Series([1])),
    ("str", pl.Series([1.0])),
    ("str", pl.Series([b"\xff"])),
    ("str", pl.Series([date(2024, 1, 1)])),
    ("bool", pl.Series([2])),
    ("bool", pl.Series([1.0])),
    ("datetime", pl.Series([1]).cast(pl.Datetime("ns"))),
    ("datetime", pl.Series([2**62]).cast(pl.Datetime("ms"))),
    ("datetime", pl.Series([2**63 - 1]).cast(pl.Datetime("us"))),
    ("datetime", pl.Series([2**63 - 1]).cast(pl.Datetime("us", "UTC"))),
    ("datetime", pl.Series([date(2024, 1, 1)])),
    ("datetime", pl.Series([1704067200])),
    ("date", pl.Series([datetime(2024, 1, 1, 1)])),
    ("date", pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone("UTC")),
    ("date", pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date)),
    ("date", pl.Series([19723])),
]


@pytest.mark.parametrize(
    ("rule", "values"), LOSSY, ids=[f"{v.dtype} as {r} {n}" for n, (r, v) in enumerate(LOSSY)]
)
def test_what_would_be_cut_or_guessed_is_refused_by_training_and_scoring_alike(
    rule: str, values: pl.Series
) -> None:
    table = Table.model_validate({"columns": {"c": f"{rule} or null"}})
    good = pl.Series([None], dtype=values.dtype)
    frame = pl.DataFrame({"c": pl.concat([good, values])})
    with pytest.raises(BadInputError, match=rf"column 'c' of it .* as {rule} .*row 1, 1 in all"):
        as_declared(table, frame, "UTC", "it")
    sifted = sift(table, frame, "it")
    assert sifted.reasons == {f"c is not {rule}": 1}
    # What comes later must not hinder a day from being scored.
    later = sift(table, frame, "it", unknown=["c"])
    assert as_declared(table, later.frame, "UTC", "it")["c"].to_list() == [None, None]


def test_text_is_no_number_to_training() -> None:
    table = Table.model_validate({"columns": {"c": "int"}})
    with pytest.raises(BadInputError, match="is String, which can't be taken as int"):
        as_declared(table, pl.DataFrame({"c": ["1"]}), "UTC", "it")


def test_two_hours_that_clocks_show_alike_are_two_keys(tmp_path: Path) -> None:
    """When New York's clocks go back, 1:30 comes twice."""
    from ml.data.rules import check

    table = Table.model_validate({"key": ["at"], "columns": {"at": "datetime"}})
    twice = pd.to_datetime(["2024-11-03T05:30Z", "2024-11-03T06:30Z"]).tz_convert(ZONE)
    file = tmp_path / "rows.parquet"
    pd.DataFrame({"at": twice}).to_parquet(file)
    check(table, from_parquet(file.read_bytes(), "it"), "it")
