"""Good rows are kept, and each of the others is counted by its first fault."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.project import Table
from ml.data.declared import as_declared
from ml.data.rules import check
from ml.data.sift import sift

RULES = Table.model_validate(
    {
        "key": ["id"],
        "columns": {
            "id": "str",
            "size": "int 0..9",
            "share": "float or null",
            "on": "bool",
            "day": "date",
            "at": "datetime or null",
        },
    }
)
GOOD: dict[str, Any] = {
    "id": "a",
    "size": 3,
    "share": 0.5,
    "on": True,
    "day": date(2024, 1, 1),
    "at": None,
}
SCHEMA = {"at": pl.Datetime("us")}


def frame_of(*rows: dict[str, Any], **schema: Any) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides=SCHEMA | schema, strict=False)


def test_good_rows_come_out_as_they_went_in() -> None:
    frame = frame_of(GOOD, GOOD | {"id": "b", "share": None})
    sifted = sift(RULES, frame, "it")
    assert sifted.frame.equals(frame)
    assert sifted.frame.schema == frame.schema
    assert not sifted.reasons


@pytest.mark.parametrize(
    ("change", "schema", "reason"),
    [
        ({"id": None}, {}, "id is missing"),
        ({"size": 10}, {}, "size is out of 0..9"),
        ({"size": 2.5}, {"size": pl.Float64}, "size is not int"),
        ({"size": "many"}, {"size": pl.String}, "size is not int"),
        ({"share": "half"}, {"share": pl.String}, "share is not float"),
        ({"day": "soon"}, {"day": pl.String}, "day is not date"),
        ({"at": "soon"}, {"at": pl.String}, "at is not datetime"),
        ({"on": None}, {}, "on is missing"),
    ],
)
def test_a_row_is_refused_for_its_first_fault(
    change: dict[str, Any], schema: dict[str, Any], reason: str
) -> None:
    texts = {"size": "3", "share": "0.5", "day": "2024-01-01", "at": "2024-01-01T06:30:00"}
    as_landed = {name: texts[name] for name, dtype in schema.items() if dtype == pl.String}
    rows = (GOOD | as_landed, GOOD | {"id": "b"} | change)
    sifted = sift(RULES, frame_of(*rows, **schema), "it")
    assert sifted.reasons == {reason: 1}
    assert sifted.frame["id"].to_list() == ["a"]


def test_a_type_without_a_way_to_the_asked_one_refuses_every_row() -> None:
    frame = frame_of(GOOD).with_columns(on=pl.lit([1, 2]).implode())
    assert sift(RULES, frame, "it").reasons == {"on is not bool": 1}


def test_a_column_that_is_lost_is_named() -> None:
    with pytest.raises(BadInputError, match="it has no column 'size'"):
        sift(RULES, frame_of(GOOD).drop("size"), "it")


NOT_A_NUMBER = [
    ("float", "x is missing"),
    ("float or null", None),
    ("float 0..9", "x is missing"),
    ("float 0..9 or null", None),
]


@pytest.mark.parametrize("gap", [None, float("nan")])
@pytest.mark.parametrize(("rule", "reason"), NOT_A_NUMBER)
def test_what_is_not_a_number_is_missing_to_training_and_to_scoring(
    rule: str, reason: str | None, gap: float | None
) -> None:
    """Public kin: evidently #187. One rule, whichever way a writer marks what is missing."""
    table = Table.model_validate({"columns": {"x": rule}})
    frame = pl.DataFrame({"x": [1.5, gap]}, schema={"x": pl.Float64})
    sifted = sift(table, frame, "it")
    if reason is None:
        check(table, frame, "it")
        assert sifted.frame.equals(frame)
        return
    assert sifted.reasons == {reason: 1}
    with pytest.raises(BadInputError, match="'x' breaks the rule not_nullable"):
        check(table, frame, "it")


def test_a_gap_among_whole_numbers_that_pandas_wrote_is_missing() -> None:
    table = Table.model_validate({"columns": {"n": "int 0..9 or null"}})
    frame = pl.DataFrame({"n": [1.0, float("nan"), 2.5]})
    sifted = sift(table, frame, "it")
    assert as_declared(table, sifted.frame, "UTC", "it")["n"].to_list() == [1, None]
    assert sifted.reasons == {"n is not int": 1}
