"""The same three rows as pandas, pyarrow, polars, DuckDB and Spark write them, in each's types.

A column is named `<kind>__<type>`: the kind of project.yaml whose values it holds, or `none` where
it holds values of no kind. One named `..._gap` lacks its last value.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ZONE = "America/New_York"
HERE = ZoneInfo(ZONE)
# 2024-03-10 is the day on which New York's clocks go forward.
TIMES = [datetime(2024, 3, 9, 12, 30), datetime(2024, 3, 10, 23, 59, 59), datetime(2024, 7, 1)]
# As pyarrow takes what is to have a zone: it looks at a value's own only while pandera, which tells
# it not to, is not loaded.
IN_UTC = [one.replace(tzinfo=HERE).astimezone(UTC).replace(tzinfo=None) for one in TIMES]
DAYS = [date(2024, 3, 9), date(2024, 2, 29), date(1969, 12, 31)]
VALUES: dict[str, list[Any]] = {
    "int": [1, 100, 7],
    "float": [1.5, -0.25, 20.0],
    "str": ["north", "Zürich", ""],
    "bool": [True, False, True],
    "datetime": TIMES,
    "date": DAYS,
}


def expected(column: str) -> list[Any]:
    """Return what a column's rows hold, whoever wrote them."""
    values = VALUES[column.split("__")[0]]
    return [*values[:-1], None] if column.endswith("_gap") else values


def with_gap(kind: str) -> list[Any]:
    """Return a kind's values without the last."""
    return [*VALUES[kind][:-1], None]


def by_pandas() -> bytes:
    """Write with `DataFrame.to_parquet`."""
    columns: dict[str, pd.Series[Any]] = {}
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        columns[f"int__{name}"] = pd.Series(VALUES["int"], dtype=name)
        other = name.replace("i", "I", 1).replace("u", "U")
        columns[f"int__{other}_gap"] = pd.Series(with_gap("int"), dtype=other)
    columns["int__float64_gap"] = pd.Series(with_gap("int"), dtype="float64")
    columns["int__object_gap"] = pd.Series(with_gap("int"), dtype="object")
    columns["int__category"] = pd.Series(VALUES["int"], dtype="category")
    for name in ("float16", "float32", "float64", "Float32", "Float64"):
        columns[f"float__{name}"] = pd.Series(VALUES["float"], dtype=name)
    columns["float__nan_gap"] = pd.Series(with_gap("float"), dtype="float64")
    columns["float__Float64_gap"] = pd.Series(with_gap("float"), dtype="Float64")
    decimals = [Decimal(str(one)) for one in VALUES["float"]]
    columns["float__decimals"] = pd.Series(decimals, dtype="object")
    for name in ("object", "str", "string", "category", "string[pyarrow]"):
        columns[f"str__{name}"] = pd.Series(VALUES["str"], dtype=name)
        columns[f"str__{name}_gap"] = pd.Series(with_gap("str"), dtype=name)
    columns["str__bytes_gap"] = pd.Series([b"north", "Zürich".encode(), None], dtype="object")
    columns["bool__bool"] = pd.Series(VALUES["bool"], dtype="bool")
    for name in ("boolean", "object"):
        columns[f"bool__{name}_gap"] = pd.Series(with_gap("bool"), dtype=name)
    for unit in ("s", "ms", "us", "ns"):
        times: pd.Series[Any] = pd.Series(TIMES, dtype=f"datetime64[{unit}]")
        columns[f"datetime__{unit}"] = times
        for zone in (ZONE, "UTC", "Asia/Tokyo", "+05:30"):
            columns[f"datetime__{unit}_{zone}"] = times.dt.tz_localize(ZONE).dt.tz_convert(zone)
        columns[f"date__{unit}"] = pd.Series(DAYS, dtype=f"datetime64[{unit}]")
    columns["datetime__object_gap"] = pd.Series(with_gap("datetime"), dtype="object")
    columns["date__object_gap"] = pd.Series(with_gap("date"), dtype="object")
    columns["none__timedelta"] = pd.Series([timedelta(hours=n) for n in range(3)])
    columns["none__list"] = pd.Series([[1], [2, 3], None])
    columns["none__dict"] = pd.Series([{"a": 1}, {"a": 2}, None])
    columns["none__time"] = pd.Series([time(12), time(13), None])
    return pd.DataFrame(columns).to_parquet()


def by_pyarrow(**options: Any) -> bytes:
    """Write with `pyarrow.parquet`; options as its `write_table` has them."""
    columns = {
        f"{kind}__{name}_gap": pa.array([*(values or VALUES[kind])[:2], None], dtype)
        for kind, name, dtype, values in _arrow_types()
    }
    for name in ("str__string_gap", "int__int64_gap"):
        columns[f"{name.split('__')[0]}__dictionary_gap"] = columns[name].dictionary_encode()
    columns |= {f"none_{kind}__null": pa.nulls(3) for kind in VALUES}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def _arrow_types() -> Iterator[tuple[str, str, pa.DataType, list[Any] | None]]:
    yield from _arrow_numbers()
    yield "bool", "bool", pa.bool_(), None
    for dtype in (pa.string(), pa.large_string(), pa.string_view()):
        yield "str", str(dtype), dtype, None
    for dtype in (pa.binary(), pa.large_binary(), pa.binary_view()):
        yield "str", str(dtype), dtype, [b"north", "Zürich".encode()]
    for unit in ("s", "ms", "us", "ns"):
        yield "datetime", unit, pa.timestamp(unit), None
        midnights = [datetime(one.year, one.month, one.day) for one in DAYS]
        yield "date", unit, pa.timestamp(unit), midnights
        for zone in (ZONE, "UTC", "Asia/Tokyo", "+05:30"):
            yield "datetime", f"{unit}_{zone}", pa.timestamp(unit, zone), IN_UTC
    for dtype in (pa.date32(), pa.date64()):
        yield "date", str(dtype), dtype, None
    for name, dtype, values in (
        ("time32", pa.time32("s"), [time(1), time(2)]),
        ("time64", pa.time64("ns"), [time(1), time(2)]),
        ("duration", pa.duration("us"), [timedelta(1), timedelta(2)]),
        ("list", pa.list_(pa.int64()), [[1], [2]]),
        ("struct", pa.struct({"a": pa.int64()}), [{"a": 1}, {"a": 2}]),
        ("map", pa.map_(pa.string(), pa.int64()), [[("a", 1)], []]),
    ):
        yield "none", name, dtype, values


def _arrow_numbers() -> Iterator[tuple[str, str, pa.DataType, list[Any] | None]]:
    for dtype in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.decimal128(20)):
        yield "int", str(dtype), dtype, None
    for dtype in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        yield "int", str(dtype), dtype, None
    for dtype in (pa.float16(), pa.float32(), pa.float64()):
        yield "int", str(dtype), dtype, [1.0, 100.0]
        yield "float", str(dtype), dtype, None
    decimals = [Decimal("1.5"), Decimal("-0.25")]
    for dtype in (pa.decimal32(9, 2), pa.decimal64(18, 4), pa.decimal128(9, 2)):
        yield "float", str(dtype), dtype, decimals
    yield "float", "wide", pa.decimal128(38, 18), decimals


def by_pyarrow_as_it_was() -> bytes:
    """Write with pyarrow in the old ways: times as INT96, the types of Parquet 1.0."""
    return by_pyarrow(use_deprecated_int96_timestamps=True, version="1.0")


def by_pyarrow_without_schema() -> bytes:
    """Write with pyarrow, but not its own description of the types, as other programs do."""
    return by_pyarrow(store_schema=False)


def by_polars() -> bytes:
    """Write with `DataFrame.write_parquet`."""
    whole: tuple[Any, ...] = (
        pl.Int8,
        pl.Int16,
        pl.Int32,
        pl.Int64,
        pl.UInt8,
        pl.UInt16,
        pl.UInt32,
        pl.UInt64,
    )
    columns = [
        pl.Series(f"{kind}__{n}_{str(dtype)[:12]}_gap", with_gap(kind)).cast(dtype)
        for kind, dtypes in (
            ("int", (*whole, pl.Int128, pl.Float32, pl.Float64, pl.Decimal(38, 0))),
            ("float", (pl.Float32, pl.Float64, pl.Decimal(10, 3), pl.Decimal(38, 20))),
            ("str", (pl.String, pl.Categorical, pl.Enum(VALUES["str"]), pl.Binary)),
        )
        for n, dtype in enumerate(dtypes)
    ]
    columns.append(pl.Series("bool__bool_gap", with_gap("bool")))
    for unit in ("ms", "us", "ns"):
        times = pl.Series(TIMES).cast(pl.Datetime(unit))
        columns.append(times.alias(f"datetime__{unit}"))
        for zone in (ZONE, "UTC", "Asia/Tokyo"):
            zoned = times.dt.replace_time_zone(ZONE).dt.convert_time_zone(zone)
            columns.append(zoned.alias(f"datetime__{unit}_{zone}"))
        columns.append(pl.Series(DAYS).cast(pl.Datetime(unit)).alias(f"date__{unit}"))
    columns.append(pl.Series("date__date_gap", with_gap("date")))
    columns += [pl.Series(f"none_{kind}__null", [None] * 3, pl.Null) for kind in VALUES]
    columns.append(pl.Series("none__time", [time(1)] * 3))
    columns.append(pl.Series("none__duration", [timedelta(1)] * 3))
    columns.append(pl.Series("none__list", [[1]] * 3))
    columns.append(pl.Series("none__array", [[1]] * 3, pl.Array(pl.Int64, 1)))
    columns.append(pl.Series("none__struct", [{"a": 1}] * 3))
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


DUCKDB_TYPES = {
    "int": "tinyint smallint integer bigint utinyint usmallint uinteger ubigint hugeint uhugeint"
    " float double decimal(18,0) decimal(38,4)",
    "float": "float double decimal(4,2) decimal(9,2) decimal(18,3) decimal(38,18)",
    "str": "varchar enum('north','Zürich','')",
    "bool": "boolean",
    "datetime": "timestamp timestamp_s timestamp_ms timestamp_ns timestamptz",
    "date": "date timestamp",
}


def by_duckdb() -> bytes:
    """Write with DuckDB's `COPY`."""
    connection = duckdb.connect()
    connection.execute(f"set timezone = '{ZONE}'")
    columns = {}
    for kind, types in DUCKDB_TYPES.items():
        for dtype in types.split():
            for name, values in ((dtype, VALUES[kind]), (f"{dtype}_gap", with_gap(kind))):
                columns[f"{kind}__{name}"] = [f"{_literal(v)}::{dtype}" for v in values]
    columns["str__blob"] = [f"encode({_literal(value)})" for value in VALUES["str"]]
    none = {
        "time": "time '01:02:03'",
        "list": "[1]",
        "struct": "{'a': 1}",
        "map": "map {'a': 1}",
        "infinity": "'infinity'::timestamp",
        "infinite_day": "'infinity'::date",
    }
    columns |= {f"none__{name}": [text] * 3 for name, text in none.items()}
    columns |= {f"none_{kind}__null": ["null"] * 3 for kind in VALUES}
    rows = [", ".join(f'{texts[n]} as "{c}"' for c, texts in columns.items()) for n in range(3)]
    query = " union all ".join(f"select {row}" for row in rows)
    return copied(connection, query)


def _literal(value: object) -> str:
    return "null" if value is None else f"'{value}'"


def copied(connection: duckdb.DuckDBPyConnection, query: str) -> bytes:
    """Return the Parquet file that DuckDB makes of a query."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.parquet")
        connection.execute(f"copy ({query}) to '{file}' (format parquet)")
        return file.read_bytes()


def by_spark(name: str) -> Callable[[], bytes]:
    """Take what Spark wrote: see spark/write.py."""
    return lambda: (Path(__file__).parent / f"spark/{name}.parquet").read_bytes()


WRITERS: dict[str, Callable[[], bytes]] = {
    "pandas": by_pandas,
    "pyarrow": by_pyarrow,
    "pyarrow_as_it_was": by_pyarrow_as_it_was,
    "pyarrow_without_schema": by_pyarrow_without_schema,
    "polars": by_polars,
    "duckdb": by_duckdb,
    "spark": by_spark("as_it_comes"),
    "spark_micros": by_spark("micros"),
    "spark_legacy": by_spark("legacy"),
}
