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
from ml.data.declared import TYPES, is_kin, is_there, taken_as, where

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
    if frame.is_empty():
        return Sifted(frame)
    if lacking := [column for column in table.columns if column not in frame.columns]:
        raise BadInputError(f"{name} has no column '{lacking[0]}'")
    read = [_read(frame[c], rule, c in unknown) for c, rule in table.columns.items()]
    known = [one for one in read if one.values.name not in unknown]
    faults = [fault for one in known for fault in one.faults()]
    if table.key:
        faults.append((TWICE, pl.struct(table.key).is_duplicated()))
    return separate(frame.with_columns(one.values for one in read), faults)


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


@dataclass(frozen=True)
class _Column:
    """A column's values, as they landed where they may be; and the rows that have none of them."""

    values: pl.Series
    rule: ColumnRule
    missing: pl.Series
    lost: pl.Series

    def faults(self) -> Iterator[Fault]:
        name, rule = self.values.name, self.rule
        if not rule.nullable:
            yield f"{name} is missing", self.missing
        if self.lost.any():
            yield f"{name} is not {rule.type}", self.lost
        if rule.low is not None and rule.high is not None:
            # What is not a number is missing, and not beyond any bound.
            outside = ~pl.col(name).is_between(rule.low, rule.high) & pl.lit(~self.missing)
            yield f"{name} is out of {rule.low:g}..{rule.high:g}", outside


def _read(landed: pl.Series, rule: ColumnRule, unknown: bool) -> _Column:
    """Read a column as its rule has it; a value that can't be is null where the rows are kept."""
    values = _from_text(landed, rule.type) if landed.dtype == pl.String else landed
    # The zone decides nothing of whether a value can be taken.
    lost = taken_as(rule.type, values, "UTC").is_null() & is_there(landed)
    if not is_kin(rule.type, values.dtype):
        values = pl.Series(landed.name, [None] * len(landed), TYPES[rule.type])
    elif unknown and lost.any():
        values = where(~lost, values)
    return _Column(values, rule, ~is_there(landed), lost)


def _from_text(values: pl.Series, kind: ColumnType) -> pl.Series:
    if kind in (ColumnType.STR, ColumnType.BOOL):
        return values
    if kind is ColumnType.DATE:
        return values.str.to_date("%Y-%m-%d", strict=False)
    if kind is ColumnType.DATETIME:
        return values.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return values.cast(TYPES[kind], strict=False)
