"""A landed table in the types that project.yaml declares, however its day's file was written.

Writers differ: a column of floats that happens to hold whole numbers is written as integers on one
day, a column of whole numbers with gaps as floats, a time with its zone on another. A value is
taken when it is the same value in the declared type, and refused otherwise: nothing is cut or
guessed. What features() sees is the same for all of them.
"""

from collections.abc import Callable
from datetime import date, datetime

import polars as pl

from ml.core.errors import BadInputError
from ml.core.project import ColumnRule, ColumnType, Table

TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.INT: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.STR: pl.String(),
    ColumnType.BOOL: pl.Boolean(),
    ColumnType.DATETIME: pl.Datetime("us"),
    ColumnType.DATE: pl.Date(),
}
"""The type that each rule's values have in memory."""

# Beyond it a float stands for several whole numbers.
EXACT = 2**53
# With a day to spare at each end, so that no zone leads out of what clocks can show.
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)
PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def as_declared(table: Table, frame: pl.DataFrame, zone: str, name: str) -> pl.DataFrame:
    """Bring a table's declared columns to their types; the others are left as they are.

    A time with a zone becomes the time that clocks in `zone` show. Not a number counts as missing.
    A table without rows has all its columns, whatever its file says of them. Raises BadInputError
    naming the table `name`, the column and a value that is none of its type.
    """
    if frame.is_empty():
        empty = {c: pl.Series(c, [], TYPES[rule.type]) for c, rule in table.columns.items()}
        return frame.with_columns(**empty)
    there = {c: rule for c, rule in table.columns.items() if c in frame.columns}
    return frame.with_columns(_declared(frame[c], rule, zone, name) for c, rule in there.items())


def is_there(values: pl.Series) -> pl.Series:
    """Tell which values are there; what is not a number is missing."""
    if values.dtype.is_float():
        return values.is_not_null() & values.is_not_nan().fill_null(value=False)
    return values.is_not_null()


def taken_as(kind: ColumnType, values: pl.Series, zone: str) -> pl.Series:
    """Give each value as `kind`, and null where it is no such value."""
    if values.dtype == pl.Null or not is_kin(kind, values.dtype):
        return pl.Series(values.name, [None] * len(values), TYPES[kind])
    return _TAKERS[kind](values, zone)


def is_kin(kind: ColumnType, dtype: pl.DataType) -> bool:
    """Whether a column of this type may hold values of the kind; a column of nulls may be any."""
    return dtype == pl.Null or (
        dtype.is_numeric()
        if kind in (ColumnType.INT, ColumnType.FLOAT)
        else isinstance(dtype, _KIN[kind])
    )


def _declared(values: pl.Series, rule: ColumnRule, zone: str, name: str) -> pl.Series:
    taken = taken_as(rule.type, values, zone)
    lost = taken.is_null() & is_there(values)
    if lost.any():
        row = int(lost.arg_true()[0])
        raise BadInputError(
            f"column '{values.name}' of {name} is {values.dtype}, which can't be taken as "
            f"{rule.type} without changing {_shown(values, row)} "
            f"(row {row}, {lost.sum()} in all): land it as {rule.type}, or change project.yaml"
        )
    return taken


def _shown(values: pl.Series, row: int) -> str:
    # A time that is out of all bounds can't be shown as one.
    one = values.slice(row, 1)
    shown = one.to_physical() if one.dtype.is_temporal() and not _within(one).all() else one
    return repr(shown.to_list()[0])[:60]


def _int(values: pl.Series, _: str) -> pl.Series:
    whole = values.fill_nan(None) if values.dtype.is_float() else values
    taken = whole.cast(pl.Int64(), strict=False)
    if values.dtype.is_integer():
        return taken
    same = taken.cast(values.dtype, strict=False) == values
    if values.dtype.is_float():
        same &= taken.is_between(-EXACT, EXACT)
    return where(same, taken)


def _float(values: pl.Series, _: str) -> pl.Series:
    if values.dtype.is_decimal():
        # By way of its digits: the nearest float, as whoever reads the decimal would take it.
        return values.cast(pl.String()).cast(pl.Float64())
    taken = values.cast(pl.Float64())
    if values.dtype.is_float():
        return taken.fill_nan(None)
    return where(taken.cast(values.dtype, strict=False) == values, taken)


def _str(values: pl.Series, _: str) -> pl.Series:
    try:
        return values.cast(pl.String())
    except pl.exceptions.ComputeError:  # bytes that are no UTF-8: not to be asked for one by one
        return pl.Series(values.name, [_text(one) for one in values.to_list()], pl.String())


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _bool(values: pl.Series, _: str) -> pl.Series:
    return values


def _datetime(values: pl.Series, zone: str) -> pl.Series:
    inside = where(_within(values), values)
    taken = inside.cast(pl.Datetime("us", getattr(values.dtype, "time_zone", None)), strict=False)
    same = taken.cast(values.dtype, strict=False) == inside
    return where(same, without_zone(taken, zone))


def _date(values: pl.Series, _: str) -> pl.Series:
    inside = where(_within(values), values)
    if values.dtype == pl.Date:
        return inside
    if values.dtype.time_zone:  # type: ignore[attr-defined] # which day it is, depends on the zone
        return pl.Series(values.name, [None] * len(values), pl.Date())
    taken = inside.cast(pl.Date())
    return where(taken.cast(values.dtype) == inside, taken)


def without_zone(values: pl.Series, zone: str) -> pl.Series:
    """Turn times that know their zone into what clocks in `zone` show; leave others alone."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
        return values.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return values


def _within(values: pl.Series) -> pl.Series:
    """Tell which times are in a year of four digits: DuckDB's infinity, for one, is not."""
    if isinstance(values.dtype, pl.Datetime):
        unit, epoch = PER_SECOND[values.dtype.time_unit], datetime(1970, 1, 1)
        first, last = (int((end - epoch).total_seconds()) * unit for end in (FIRST, LAST))
    else:
        start = date(1970, 1, 1).toordinal()
        first, last = (end.toordinal() - start for end in (FIRST, LAST))
    return values.to_physical().cast(pl.Int128()).is_between(first, last)


def where(same: pl.Series, values: pl.Series) -> pl.Series:
    """Keep the values of which the mask is true; the others become null."""
    return values.zip_with(same.fill_null(value=False), pl.Series([None], dtype=values.dtype))


_KIN: dict[ColumnType, tuple[type[pl.DataType], ...]] = {
    ColumnType.STR: (pl.String, pl.Categorical, pl.Enum, pl.Binary),
    ColumnType.BOOL: (pl.Boolean,),
    ColumnType.DATETIME: (pl.Datetime,),
    ColumnType.DATE: (pl.Date, pl.Datetime),
}
_TAKERS: dict[ColumnType, Callable[[pl.Series, str], pl.Series]] = {
    ColumnType.INT: _int,
    ColumnType.FLOAT: _float,
    ColumnType.STR: _str,
    ColumnType.BOOL: _bool,
    ColumnType.DATETIME: _datetime,
    ColumnType.DATE: _date,
}
