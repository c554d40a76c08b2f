"""The flights of 2013, but from TURNED on every delay is turned into its opposite."""

from datetime import date

import polars as pl

from ml.projects.flights.source import tables as real_tables

TURNED = date(2013, 3, 2)


def tables(day: date) -> dict[str, pl.DataFrame]:
    """Return one day's tables as they were, or turned."""
    real = real_tables(day)
    if day < TURNED:
        return real
    return real | {"flights": real["flights"].with_columns(arr_delay=30 - pl.col("arr_delay"))}
