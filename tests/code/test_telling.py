"""Which feature is blamed when a score is too good to be true."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ml.data.frames import columns_of
from ml.training.telling import Telling, most_telling

SIZE = 400
DICE = np.random.default_rng(0)
LATE = DICE.random(SIZE) < 0.3
HONEST = pl.DataFrame(
    {
        "id": [str(n) for n in range(SIZE)],
        "late": LATE,
        "weight": DICE.normal(LATE, 1.5),
        "depot": DICE.choice(["north", "south"], SIZE),
        "order": [f"order {n}" for n in range(SIZE)],
        "count": DICE.integers(0, 9, SIZE),
        "fragile": DICE.random(SIZE) < 0.5,
    }
)
LEAKS = {
    "itself": pl.col("late"),
    "as a number": pl.col("late").cast(pl.Float32),
    "a scaled copy": pl.col("late") * -1000.0 + 3,
    "a word": pl.when("late").then(pl.lit("yes")).otherwise(pl.lit("no")),
    "what is missing": pl.when("late").then(pl.lit(1.5)),
    "what is missing elsewhere": pl.when(~pl.col("late")).then(pl.lit(1.5)),
    "a missing word": pl.when("late").then(pl.lit("gone")),
}


def blamed(frame: pl.DataFrame) -> Telling:
    return most_telling(frame, columns_of([frame], "late"), "late")


@pytest.mark.parametrize("leak", LEAKS)
def test_whatever_form_it_has_it_is_found(leak: str) -> None:
    found = blamed(HONEST.with_columns(LEAKS[leak].alias("hint")))
    assert found == Telling("hint", 1.0)


def test_words_that_are_there_once_tell_nothing() -> None:
    """By its own row each would be right."""
    found = blamed(HONEST)
    assert found.column == "weight"
    assert 0.6 < found.score < 0.85
