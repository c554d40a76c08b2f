"""Which rows belong together, by default and as project.yaml names it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.data.daily_features import TIME
from ml.data.parts import DAY
from ml.training.clusters import ENOUGH_DAYS, clusters_of

FIRST = date(2024, 3, 1)


def rows(days: int, *, time: bool = False) -> pl.DataFrame:
    """Four rows a day: two an hour, of two depots; the hours are told when `time` is asked for."""
    table = [
        (f"{day}-{n}", FIRST + timedelta(days=day), 5 + n // 2, "north" if n % 2 else "south")
        for day in range(days)
        for n in range(4)
    ]
    frame = pl.DataFrame(table, schema=["id", DAY, "hour of day", "depot"], orient="row")
    when = pl.col(DAY).cast(pl.Datetime("us")) + pl.duration(hours="hour of day", minutes=59)
    return frame.with_columns(when.alias(TIME)) if time else frame


def count(frame: pl.DataFrame, *names: str) -> int:
    """Count the clusters; they are numbered from 0 without a gap."""
    found = clusters_of(frame, names)
    assert set(found) == set(range(len(set(found))))
    return len(set(found))


def test_by_default_it_is_the_day_and_for_few_days_the_hour_where_there_is_one() -> None:
    few, many = ENOUGH_DAYS - 1, ENOUGH_DAYS
    assert count(rows(few)) == few
    assert count(rows(many)) == many
    assert count(rows(few, time=True)) == 2 * few
    assert count(rows(many, time=True)) == many


def test_a_project_names_what_rows_share() -> None:
    frame = rows(3, time=True)
    assert count(frame, "day") == 3
    assert count(frame, "hour") == 6
    assert count(frame, "depot") == 2
    assert count(frame, "depot", "day") == count(frame, "day", "depot") == 6
    assert count(frame, "hour of day") == 2
    assert count(frame, "id") == frame.height
    same = clusters_of(frame, ["depot"])
    assert list(same[:4]) == [same[0], same[1]] * 2
    assert same[0] != same[1]


def test_a_row_that_lacks_a_value_belongs_to_its_day() -> None:
    frame = rows(3, time=True)
    unknown = frame.with_columns(
        depot=pl.lit(None, pl.String), time=pl.lit(None, pl.Datetime("us"))
    )
    assert count(unknown, "depot") == count(unknown, "hour") == 3
    some = frame.with_columns(depot=pl.when(pl.col("depot") == "north").then("depot"))
    assert count(some, "depot") == 1 + 3


def test_hours_of_two_days_are_two() -> None:
    moments = [datetime(2024, 3, day, 5, minute) for day in (1, 2) for minute in (0, 59)]
    frame = pl.DataFrame({DAY: [moment.date() for moment in moments], TIME: moments})
    assert list(clusters_of(frame, ["hour"])) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("names", "words"), [(["hour"], "no 'time'"), (["depto"], "'depto', which features")]
)
def test_a_name_that_is_not_there_is_told(names: list[str], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        clusters_of(rows(2), names)


def test_a_number_may_be_named_time() -> None:
    """It is a feature then, as before."""
    frame = rows(2).with_columns(pl.col("hour of day").alias(TIME))
    assert count(frame) == 2
    with pytest.raises(BadInputError, match="no 'time', a datetime"):
        clusters_of(frame, ["hour"])
    assert count(frame, TIME) == 2
