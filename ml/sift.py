"""Keep a table's good rows, and count the others by what is wrong with them.

Training refuses a day with one bad row, as nobody waits for it. A day that is to be scored is
wanted for its good rows.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import polars as pl

from ml.errors import BadInputError
from ml.project import ColumnRule, ColumnType, Table

TWICE = "the key is there more than once"
TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.INT: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.STR: pl.String(),
    ColumnType.BOOL: pl.Boolean(),
    ColumnType.DATETIME: pl.Datetime("us"),
    ColumnType.DATE: pl.Date(),
}
_REASON = "__reason__"


@dataclass(frozen=True)
class Sifted:
    """The rows that keep every rule; each of the others counts under its first fault."""

    frame: pl.DataFrame
    reasons: Counter[str] = field(default_factory=Counter)


def sift(table: Table, frame: pl.DataFrame, name: str, unknown: Collection[str] = ()) -> Sifted:
    """Separate the rows that keep the rules of project.yaml.

    Text that reads as the number or the date that is asked for is taken as such. Columns that are
    `unknown` when scoring are brought to their type and refuse no row. Raises BadInputError when
    the table `name` lacks a column.
    """
    if lacking := [column for column in table.columns if column not in frame.columns]:
        raise BadInputError(f"{name} has no column '{lacking[0]}'")
    typed = frame.with_columns(_typed(frame[c], rule) for c, rule in table.columns.items())
    known = {c: rule for c, rule in table.columns.items() if c not in unknown}
    faults = [fault for c, rule in known.items() for fault in _faults(frame[c], typed[c], rule)]
    if table.key:
        faults.append((TWICE, typed.select(pl.struct(table.key).is_duplicated()).to_series()))
    return separate(typed, faults)


def separate(frame: pl.DataFrame, faults: list[tuple[str, pl.Series]]) -> Sifted:
    """Take out the rows that any of the masks points at, and count them by the first that does."""
    found = [(reason, mask.fill_null(False)) for reason, mask in faults]
    found = [(reason, mask) for reason, mask in found if mask.any()]
    if not found:
        return Sifted(frame)
    first = pl.coalesce(pl.when(mask).then(pl.lit(reason)) for reason, mask in found)
    told = frame.with_columns(first.alias(_REASON))
    reasons = Counter(told[_REASON].drop_nulls().to_list())
    return Sifted(told.filter(pl.col(_REASON).is_null()).drop(_REASON), reasons)


def _typed(values: pl.Series, rule: ColumnRule) -> pl.Series:
    """Bring a column to its type where it has another; what can't be brought is null."""
    if _is(values.dtype, rule.type):
        return values
    wanted = TYPES[rule.type]
    try:
        typed = values.cast(wanted, strict=False)
    except pl.exceptions.PolarsError:  # some types have no way to each other
        return pl.Series(values.name, [None] * len(values), wanted)
    if values.dtype.is_float() and rule.type is ColumnType.INT:
        return typed.set(typed.cast(values.dtype) != values, None)
    return typed


def _is(dtype: pl.DataType, kind: ColumnType) -> bool:
    if kind is ColumnType.INT:
        return dtype.is_integer()
    if kind is ColumnType.FLOAT:
        return dtype.is_float() or dtype.is_integer()
    if kind is ColumnType.STR:
        return dtype in (pl.String, pl.Categorical, pl.Enum)
    return isinstance(dtype, type(TYPES[kind]))


def _faults(
    landed: pl.Series, typed: pl.Series, rule: ColumnRule
) -> Iterator[tuple[str, pl.Series]]:
    if not rule.nullable:
        yield f"{landed.name} is missing", landed.is_null()
    yield f"{landed.name} is not {rule.type}", typed.is_null() & landed.is_not_null()
    if rule.low is not None and rule.high is not None:
        outside = ~typed.is_between(rule.low, rule.high)
        yield f"{landed.name} is out of {rule.low:g}..{rule.high:g}", outside
