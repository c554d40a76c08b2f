"""A landed table in the types that project.yaml declares, however its day's file was written.

Writers differ: a column of floats that happens to hold whole numbers is written as integers on one
day, a time with its zone on another. What features() sees is the same for all of them.
"""

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


def as_declared(table: Table, frame: pl.DataFrame, zone: str, name: str) -> pl.DataFrame:
    """Bring a table's declared columns to their types; the others are left as they are.

    A time with a zone becomes the time that clocks in `zone` show. Not a number counts as missing.
    Raises BadInputError naming the table `name` and the column that holds something else.
    """
    there = {c: rule for c, rule in table.columns.items() if c in frame.columns}
    return frame.with_columns(_declared(frame[c], rule, zone, name) for c, rule in there.items())


def without_zone(values: pl.Series, zone: str) -> pl.Series:
    """Turn times that know their zone into what clocks in `zone` show; leave others alone."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
        return values.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return values


def numbers_only(values: pl.Series) -> pl.Series:
    """Take what is not a number for missing, as some writers mean by it; leave others alone."""
    return values.fill_nan(None) if values.dtype.is_float() else values


def _declared(values: pl.Series, rule: ColumnRule, zone: str, name: str) -> pl.Series:
    wanted = TYPES[rule.type]
    values = numbers_only(without_zone(values, zone))
    try:
        return values.cast(wanted)
    except pl.exceptions.PolarsError as error:
        first_line = str(error).splitlines()[0]
        raise BadInputError(
            f"column '{values.name}' of {name} is {values.dtype}, which can't be taken as "
            f"{rule.type}: {first_line}"
        ) from error
