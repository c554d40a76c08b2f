"""Keep a table's good rows, and count the others by what is wrong with them.

Training refuses a day with one bad row, as nobody waits for it. A day that is to be scored is
wanted for its good rows.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import polars as pl

from ml.core.errors import BadInputError
from ml.core.project import ColumnRule, ColumnType, Table
from ml.data.declared import TYPES, numbers_only

TWICE = "the key is there more than once"
_REASON = "__reason__"
# What may be wrong with a row, and the mask of the rows with which it is.
Fault: TypeAlias = tuple[str, pl.Expr | pl.Series]


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
    landed = {c: numbers_only(frame[c]) for c in table.columns}
    typed = {c: _typed(landed[c], rule) for c, rule in table.columns.items()}
    known = {c: rule for c, rule in table.columns.items() if c not in unknown}
    faults = [fault for c, rule in known.items() for fault in _faults(landed[c], typed[c], rule)]
    if table.key:
        faults.append((TWICE, pl.struct(table.key).is_duplicated()))
    changed = [typed[c] for c in table.columns if typed[c] is not landed[c]]
    return separate(frame.with_columns(changed), faults)


def separate(frame: pl.DataFrame, faults: Sequence[Fault]) -> Sifted:
    """Take out the rows that any of the masks points at, and count them by the first that does."""
    if not faults:
        return Sifted(frame)
    masks = frame.select(_as_expr(mask).alias(str(n)) for n, (_, mask) in enumerate(faults))
    hits = masks.select(pl.all().any()).row(0)
    if not any(hits):
        return Sifted(frame)
    reasons_of = {str(n): reason for n, (reason, _) in enumerate(faults) if hits[n]}
    whens = (pl.when(masks[n]).then(pl.lit(reason)) for n, reason in reasons_of.items())
    first = pl.coalesce(whens)
    told = frame.with_columns(first.alias(_REASON))
    reasons = Counter(told[_REASON].drop_nulls().to_list())
    return Sifted(told.filter(pl.col(_REASON).is_null()).drop(_REASON), reasons)


def _as_expr(mask: pl.Expr | pl.Series) -> pl.Expr:
    return pl.lit(mask) if isinstance(mask, pl.Series) else mask


def _typed(values: pl.Series, rule: ColumnRule) -> pl.Series:
    """Bring a column to its type where it has another; what can't be brought is null."""
    if _is(values.dtype, rule.type):
        return values
    wanted = TYPES[rule.type]
    try:
        typed = _cast(values, wanted)
    except pl.exceptions.PolarsError:  # some types have no way to each other
        return pl.Series(values.name, [None] * len(values), wanted)
    if values.dtype.is_float() and rule.type is ColumnType.INT:
        return typed.set(typed.cast(values.dtype) != values, None)
    return typed


def _cast(values: pl.Series, wanted: pl.DataType) -> pl.Series:
    if values.dtype == pl.String and wanted == pl.Date:
        return values.str.to_date("%Y-%m-%d", strict=False)
    if values.dtype == pl.String and wanted == pl.Datetime:
        return values.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return values.cast(wanted, strict=False)


def _is(dtype: pl.DataType, kind: ColumnType) -> bool:
    if kind is ColumnType.INT:
        return dtype.is_integer()
    if kind is ColumnType.FLOAT:
        return dtype.is_float() or dtype.is_integer()
    if kind is ColumnType.STR:
        return dtype in (pl.String, pl.Categorical, pl.Enum)
    return isinstance(dtype, type(TYPES[kind]))


def _faults(landed: pl.Series, typed: pl.Series, rule: ColumnRule) -> Iterator[Fault]:
    if not rule.nullable:
        yield f"{landed.name} is missing", landed.is_null()
    if typed is not landed:
        yield f"{landed.name} is not {rule.type}", typed.is_null() & landed.is_not_null()
    if rule.low is not None and rule.high is not None:
        outside = ~typed.is_between(rule.low, rule.high)
        yield f"{landed.name} is out of {rule.low:g}..{rule.high:g}", outside
