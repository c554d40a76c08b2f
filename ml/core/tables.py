"""Parquet in and out of memory, with errors that name the file."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from ml.core.errors import BadInputError

PARQUET_MAGIC = b"PAR1"


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Write a table; the same table gives the same bytes.

    Raises BadInputError when a column holds what Parquet has no form for.
    """
    buffer = io.BytesIO()
    with worked_on("a table can't be kept as Parquet"):
        frame.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def from_parquet(content: bytes, name: str) -> pl.DataFrame:
    """Read a table; BadInputError naming `name` when the bytes are not whole Parquet."""
    with _readable(content, name):
        return pl.read_parquet(io.BytesIO(content))


def count_rows(content: bytes, name: str) -> int:
    """Return how many rows a table has, from its last bytes; BadInputError as `from_parquet`."""
    with _readable(content, name):
        return int(pl.scan_parquet(io.BytesIO(content)).select(pl.len()).collect().item())


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
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInputError(f"{problem}: {first_line}") from error
