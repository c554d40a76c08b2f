"""The rules of project.yaml as pandera schemas, and their failures as sentences."""

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from ml.core.errors import BadInputError
from ml.core.project import ColumnRule, Table
from ml.core.tables import worked_on
from ml.data.declared import TYPES, as_declared


def check(table: Table, frame: pl.DataFrame, name: str) -> None:
    """Check a table's rows; BadInputError with the first broken rule of the table `name`."""
    # In UTC, as two times that clocks elsewhere show alike must not count as one key.
    frame = as_declared(table, frame, "UTC", name)
    columns = {c: _column(rule) for c, rule in table.columns.items()}
    # Columns that project.yaml does not name are free.
    schema = pa.DataFrameSchema(columns, unique=table.key or None)
    try:
        with worked_on(f"{name}: its rules can't be checked"):
            schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        raise BadInputError(f"{name}: {_first_failure(errors.failure_cases)}") from None


def _column(rule: ColumnRule) -> pa.Column:
    bounded = rule.low is not None and rule.high is not None
    checks = [pa.Check.in_range(rule.low, rule.high)] if bounded else []
    return pa.Column(TYPES[rule.type], checks=checks, nullable=rule.nullable)


def _first_failure(cases: pl.DataFrame) -> str:
    first = cases.row(0, named=True)
    alike = cases.filter(
        (pl.col("check") == first["check"]) & pl.col("column").eq_missing(first["column"])
    )
    where = f"column '{first['column']}'" if first["column"] else "the key"
    row = "" if first["index"] is None else f" (row {first['index']}, {alike.height} in all)"
    return f"{where} breaks the rule {first['check']}: {first['failure_case']}{row}"
