"""Expectations on the flights data and on what is made of it. The sharpest: no look ahead."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from ml.core.tables import to_parquet
from ml.data.rules import check
from tests.data.flights import FLIGHTS, features, tables

DAYS = [date(2013, 1, 1), date(2013, 2, 9), date(2013, 6, 30), date(2013, 12, 30)]
LATER = FLIGHTS.spec.known_later["flights"]


@pytest.fixture(params=DAYS, ids=str, scope="module")
def raw(request: pytest.FixtureRequest) -> dict[str, pl.DataFrame]:
    return tables(request.param)


def test_every_table_keeps_the_rules_of_project_yaml(raw: dict[str, pl.DataFrame]) -> None:
    for name, table in FLIGHTS.spec.tables.items():
        check(table, raw[name], name)


def test_all_that_is_known_only_after_departure_is_listed() -> None:
    assert set(LATER) == {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


def without_label(frame: pl.DataFrame) -> bytes:
    return to_parquet(frame.drop("late"))


def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(column).shuffle(seed=3) for column in LATER)


def blank(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, frame.schema[c]).alias(c) for c in LATER)


@pytest.mark.parametrize("change", [shuffled, blank])
def test_features_are_byte_identical_without_later_knowledge(
    raw: dict[str, pl.DataFrame], change: object
) -> None:
    """data leaks: what happened after departure may shape the label and nothing else."""
    assert callable(change)
    changed = features(raw | {"flights": change(raw["flights"])})
    assert without_label(changed) == without_label(features(raw))


def test_the_label_does_depend_on_it(raw: dict[str, pl.DataFrame]) -> None:
    """The test above could not fail if the columns were not the ones that count."""
    changed = features(raw | {"flights": shuffled(raw["flights"])})
    assert not changed["late"].equals(features(raw)["late"])


def test_weather_from_the_hour_of_departure_on_changes_nothing(
    raw: dict[str, pl.DataFrame],
) -> None:
    """data leaks: a flight at 15:xx may know the weather of 14:xx, not that of its own hour."""
    noon = raw["weather"]["time_hour"].sort()[raw["weather"].height // 2]
    storm = pl.when(pl.col("time_hour") >= noon).then(-40.0).otherwise("temp").alias("temp")
    changed = features(raw | {"weather": raw["weather"].with_columns(storm)})
    until_noon = raw["flights"].filter(pl.col("time_hour") <= noon).height
    was, now = features(raw), features(raw | {"weather": raw["weather"].with_columns(storm)})
    assert was.head(until_noon).equals(now.head(until_noon))
    assert not was.tail(-until_noon).equals(changed.tail(-until_noon))


def test_a_flight_without_arrival_has_no_label_but_can_be_predicted(
    raw: dict[str, pl.DataFrame],
) -> None:
    frame = features(raw)
    assert frame.height == raw["flights"].height
    assert frame["late"].null_count() == raw["flights"]["arr_delay"].null_count()


def test_late_means_more_than_fifteen_minutes(raw: dict[str, pl.DataFrame]) -> None:
    assert features(raw)["late"].sum() == (raw["flights"]["arr_delay"] > 15).sum()


def test_each_flight_is_one_row_with_its_own_id(raw: dict[str, pl.DataFrame]) -> None:
    ids = features(raw)["id"]
    assert ids.n_unique() == raw["flights"].height


def test_a_day_holds_that_day_only() -> None:
    first, second = (tables(date(2013, month, 1))["flights"] for month in (1, 2))
    assert (first.height, second.height) == (842, 926)
    assert first["time_hour"].dt.date().unique().to_list() == [date(2013, 1, 1), date(2013, 1, 2)]
