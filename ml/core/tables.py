"""Parquet in and out of memory, with errors that name the file."""

import io

import polars as pl

from ml.core.errors import BadInputError

PARQUET_MAGIC = b"PAR1"


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Write a table; the same table gives the same bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def from_parquet(content: bytes, name: str) -> pl.DataFrame:
    """Read a table; BadInputError naming `name` when the bytes are not whole Parquet."""
    if content[:4] != PARQUET_MAGIC or content[-4:] != PARQUET_MAGIC:
        raise BadInputError(f"{name} is cut short or is not Parquet ({len(content)} bytes)")
    try:
        return pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        first_line = str(error).splitlines()[0]
        raise BadInputError(f"{name} is not readable Parquet: {first_line}") from error
