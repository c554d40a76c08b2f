"""Parquet in and out of memory, with errors that name the file."""

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from ml.core.errors import BadInputError, first_line

PARQUET_MAGIC = b"PAR1"
# Where Spark keeps what its columns are.
SPARK = "org.apache.spark.sql.parquet.row.metadata"
# pandas writes `+05:30` as a zone, which polars reads only when it is told not to look it up.
OFFSET = re.compile(r"time_zone='[+-]")
os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Write a table; the same table gives the same bytes.

    Raises BadInputError when a column holds what Parquet has no form for.
    """
    buffer = io.BytesIO()
    with worked_on("a table can't be kept as Parquet"):
        frame.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def from_parquet(content: bytes, name: str) -> pl.DataFrame:
    """Read a table; BadInputError naming `name` when the bytes are not whole Parquet.

    Times are moments where the file says so, be it in Spark's way or by an offset from UTC.
    """
    with _readable(content, name):
        frame = pl.read_parquet(io.BytesIO(content))
        in_utc = [pl.col(c).dt.replace_time_zone("UTC") for c in _sparks_times(content)]
        offsets = (c for c, dtype in frame.schema.items() if OFFSET.search(str(dtype)))
        as_utc = [pl.col(c).dt.convert_time_zone("UTC") for c in offsets]
        return frame.with_columns(*in_utc, *as_utc)


def shape(content: bytes, name: str) -> tuple[int, pl.Schema]:
    """Return a table's rows and columns, from its last bytes; BadInputError as `from_parquet`."""
    with _readable(content, name):
        table = pl.scan_parquet(io.BytesIO(content))
        return int(table.select(pl.len()).collect().item()), table.collect_schema()


def _sparks_times(content: bytes) -> list[str]:
    """Name the columns that Spark has written as INT96, as it does unless told otherwise.

    They are in UTC, which that type does not say: read as they are, they would be on no clock. What
    Spark says of its columns does: a `timestamp` is a moment, a `timestamp_ntz` has no zone.
    """
    told = pl.read_parquet_metadata(io.BytesIO(content)).get(SPARK)
    if told is None:
        return []
    moments = {f["name"] for f in json.loads(told)["fields"] if f["type"] == "timestamp"}
    schema = pl.read_parquet_schema(io.BytesIO(content))
    return [c for c in schema if c in moments and getattr(schema[c], "time_zone", "") is None]


@contextmanager
def _readable(content: bytes, name: str) -> Iterator[None]:
    if content[:4] != PARQUET_MAGIC or content[-4:] != PARQUET_MAGIC:
        raise BadInputError(f"{name} is cut short or is not Parquet ({len(content)} bytes)")
    with worked_on(f"{name} is not readable Parquet"):
        yield


@contextmanager
def worked_on(problem: str) -> Iterator[None]:
    """Turn what polars says of a user's table into a BadInputError that begins with `problem`."""
    try:
        yield
    except (pl.exceptions.PolarsError, OverflowError, pl.exceptions.PanicException) as error:
        raise BadInputError(f"{problem}: {first_line(error)}") from error
