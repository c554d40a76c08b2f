"""The target, and what it is made from, count as known later without being listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.project import Files, Project, ProjectSpec
from ml.data.daily_features import build
from tests.code.workshop import parcels
from tests.data.flights import FLIGHTS, MODEL, tables

DAY = date(2024, 3, 8)
Model = Callable[[dict[str, pl.LazyFrame]], pl.LazyFrame]
LATE = pl.col("hours") > 24


def project(**spec: Any) -> Project:
    columns = {"id": "str", "hours": "float or null"}
    given = {"title": "t", "target": "late", "tables": {"parcels": {"columns": columns}}}
    files = Files(*(Path(name) for name in ("project.yaml", "model.py", "source.py")))
    return Project("parcels", ProjectSpec.model_validate(given | spec), files)


def raw(day: date = DAY, rows: int = 150) -> dict[str, pl.DataFrame]:
    """A day's parcels, some of them lost, and what was promised for each."""
    frame = parcels(day, rows)
    lost = pl.int_range(pl.len()) % 7 == 0
    promised = pl.int_range(pl.len()) % 24
    return {"parcels": frame.with_columns(lost=lost, promised=promised.cast(pl.Float64))}


def model(*features: pl.Expr, late: pl.Expr = LATE) -> Model:
    """A model.py that takes these besides two honest features."""
    return lambda given: given["parcels"].select("id", "depot", "weight", *features, late=late)


COPIES = {
    "itself": LATE,
    "as a number": LATE.cast(pl.Int64),
    "scaled": LATE.cast(pl.Float64) * 1000 - 3,
    "turned around": ~LATE,
    "as words": pl.when(LATE).then(pl.lit("yes")).otherwise(pl.lit("no")),
    "what it is made from": pl.col("hours"),
    "that, scaled": pl.col("hours") / 24,
    "a day's mean of it": pl.col("hours").mean().over("depot"),
    "whether it is known": pl.col("hours").is_null(),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_feature_that_is_the_target_in_other_words_is_named(copy: str) -> None:
    given = raw()
    half = pl.when(pl.int_range(pl.len()) % 2 == 0).then("hours")
    given["parcels"] = given["parcels"].with_columns(hours=half)
    with pytest.raises(BadInputError, match=r"looks ahead: copy change with parcels\.hours, of"):
        build(project(), model(COPIES[copy].alias("copy")), given)


def test_features_that_know_nothing_of_the_target_are_built() -> None:
    frame = build(project(), model(pl.col("stops"), pl.col("promised")), raw())
    assert frame.columns == ["id", "depot", "weight", "stops", "promised", "late"]


def test_rows_that_are_dropped_by_the_target_are_named() -> None:
    given = raw()
    known = pl.when(pl.int_range(pl.len()) % 3 > 0).then("hours")
    given["parcels"] = given["parcels"].with_columns(hours=known)

    def features(tables: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        return tables["parcels"].drop_nulls("hours").select("id", "depot", late=LATE)

    with pytest.raises(BadInputError, match=r"looks ahead: the number of rows change with"):
        build(project(), features, given)


TWO = pl.col("hours") - pl.col("promised") > 12


def test_a_part_of_the_target_that_is_known_before_can_be_listed() -> None:
    features = model(pl.col("promised"), late=TWO)
    with pytest.raises(BadInputError, match=r"promised change with .*known_before"):
        build(project(), features, raw())
    lists = ({"known_before": ["promised"]}, {"known_later": ["hours"]})
    for listed in ({name: {"parcels": columns} for name, columns in one.items()} for one in lists):
        assert "promised" in build(project(**listed), features, raw()).columns
        with pytest.raises(BadInputError, match="looks ahead: hours"):
            build(project(**listed), model(pl.col("hours"), late=TWO), raw())


def test_what_is_listed_does_not_hide_what_is_not() -> None:
    listed = project(known_later={"parcels": ["hours"]})
    late = LATE | pl.col("lost")
    build(listed, model(pl.col("stops"), late=late), raw())
    with pytest.raises(BadInputError, match=r"copy change with parcels\.lost, of which 'late'"):
        build(listed, model(pl.col("lost").alias("copy"), late=late), raw())


def test_what_shows_on_a_later_day_only_is_found_then() -> None:
    late = LATE | pl.col("lost").fill_null(value=False)
    features = model(pl.col("lost").cast(pl.Int64).alias("gone"), late=late)
    first = raw()
    first["parcels"] = first["parcels"].with_columns(lost=pl.lit(value=False))
    build(project(), features, first)
    with pytest.raises(BadInputError, match=r"gone change with parcels\.hours, parcels\.lost"):
        build(project(), features, raw(DAY + timedelta(days=1)))


def joined(*features: pl.Expr) -> Model:
    """Labels in a table of their own, and the customers beside it, each found by a key."""

    def make(given: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        rows = given["parcels"].join(given["labels"], on="id", how="left")
        rows = rows.join(given["customers"], on="id", how="left")
        return rows.select("id", "weight", "age", *features, late=pl.col("late"))

    return make


@pytest.mark.parametrize("keys", [True, False])
def test_labels_in_another_table_leave_the_way_to_it_alone(keys: bool) -> None:
    given = raw()
    ids = given["parcels"].select("id")
    given["labels"] = ids.with_columns(late=given["parcels"]["hours"] > 24)
    given["customers"] = ids.with_row_index("age").with_columns(pl.col("age").cast(pl.Int64))
    of_id = {"columns": {"id": "str"}} | ({"key": ["id"]} if keys else {})
    spec = project(tables=dict.fromkeys(("parcels", "labels", "customers"), of_id))
    assert "age" in build(spec, joined(), given).columns
    with pytest.raises(BadInputError, match=r"copy change with .*labels\.late"):
        build(spec, joined(pl.col("late").alias("copy")), given)


def test_many_days_cost_little_more_than_one() -> None:
    """Looking for what the target is made from takes some runs of features(), once."""
    calls = 0

    def features(given: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        nonlocal calls
        calls += 1
        return model()(given)

    counts = []
    for n in range(5):
        build(project(), features, raw(DAY + timedelta(days=n)))
        counts.append(calls)
        calls = 0
    assert counts[0] <= 14
    assert set(counts[1:]) == {4}


def test_what_is_listed_costs_nothing() -> None:
    calls = 0

    def features(given: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        nonlocal calls
        calls += 1
        return model()(given)

    build(project(known_later={"parcels": ["hours"]}), features, raw())
    assert calls == 2


@pytest.mark.parametrize("listed", [True, False])
def test_flights_keep_their_features_whatever_is_listed(listed: bool) -> None:
    spec = FLIGHTS.spec if listed else FLIGHTS.spec.model_copy(update={"known_later": {}})
    flights = replace(FLIGHTS, spec=spec)
    day = tables(date(2013, 1, 2))

    def of_days(given: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        found: pl.LazyFrame = MODEL.features(given)
        return found

    def leaking(given: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
        return of_days(given).with_columns(copy=pl.col("late").cast(pl.Float64) * 60)

    assert build(flights, of_days, day).equals(build(FLIGHTS, MODEL.features, day))
    with pytest.raises(BadInputError, match="looks ahead: copy"):
        build(flights, leaking, day)
