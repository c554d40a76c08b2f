"""The example project's real data, as its source gives it."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import polars as pl

from ml.core.project import load_code, read_project
from ml.data.daily_features import build

FLIGHTS = read_project("flights", "")
SOURCE = load_code(FLIGHTS, "source")
MODEL = load_code(FLIGHTS)


def tables(day: date) -> dict[str, pl.DataFrame]:
    """One day's raw tables."""
    found: dict[str, pl.DataFrame] = SOURCE.tables(day)
    return found


def features(raw: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """What model.py makes of raw tables, unchecked."""
    frame: pl.LazyFrame = MODEL.features({name: table.lazy() for name, table in raw.items()})
    return frame.collect()


@cache
def built(first: date, last: date) -> pl.DataFrame:
    """Labelled features of a range of days, as build_features and split give them."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return pl.concat(build(FLIGHTS, MODEL.features, tables(day)) for day in days).drop_nulls("late")
