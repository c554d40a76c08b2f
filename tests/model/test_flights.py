"""How the flights model behaves: trained on January and February, asked about March."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from ml.serving.manifest import Trained
from ml.training.export import Candidate, Parity, compare, export, hard_rows, scores
from ml.training.intervals import auc
from ml.training.train import fit
from tests.data.flights import FLIGHTS, MODEL, built

BASELINE = 0.703


@pytest.fixture(scope="module")
def march() -> pl.DataFrame:
    return built(date(2013, 3, 1), date(2013, 3, 31))


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    winter = built(date(2013, 1, 1), date(2013, 2, 28))
    origin = Trained(as_of="2013-02-28", fingerprint="test", train_until="2013-02-28")
    return fit(FLIGHTS, MODEL, winter, origin)


def mean_score(candidate: Candidate, frame: pl.DataFrame, **changes: object) -> float:
    columns = (pl.lit(value).cast(frame.schema[c]).alias(c) for c, value in changes.items())
    return float(scores(candidate, frame.with_columns(columns)).mean())


def test_it_beats_the_obvious_model(candidate: Candidate, march: pl.DataFrame) -> None:
    """MINIMUM FUNCTIONALITY: at least what the obvious columns and default boosting reach."""
    found = auc(march["late"].to_numpy(), scores(candidate, march))
    print(f"AUC on March: {found:.4f}")
    assert found >= BASELINE


def test_its_scores_are_chances(candidate: Candidate, march: pl.DataFrame) -> None:
    """MINIMUM FUNCTIONALITY: in March about as many flights are late as it says."""
    found = scores(candidate, march)
    assert ((found > 0) & (found < 1)).all()
    assert found.mean() == pytest.approx(march["late"].mean(), abs=0.05)


def test_the_order_of_rows_does_not_matter(candidate: Candidate, march: pl.DataFrame) -> None:
    """INVARIANCE: a flight's score is its own."""
    few = march.head(500)
    assert np.array_equal(scores(candidate, few)[::-1], scores(candidate, few.reverse()))


def test_names_it_never_saw_are_no_error(candidate: Candidate, march: pl.DataFrame) -> None:
    """INVARIANCE: two airports that it does not know are the same to it."""
    few = march.head(500)
    there = mean_score(candidate, few, dest="ZZZ")
    assert there == mean_score(candidate, few, dest="QQQ")
    assert 0 < there < 1


def test_evenings_are_later_than_mornings(candidate: Candidate, march: pl.DataFrame) -> None:
    """DIRECTION: delays add up over the day."""
    morning = mean_score(candidate, march, sched_dep_time=700, sched_arr_time=930)
    evening = mean_score(candidate, march, sched_dep_time=1900, sched_arr_time=2130)
    assert evening > morning + 0.1


def test_snow_is_worse_than_a_clear_sky(candidate: Candidate, march: pl.DataFrame) -> None:
    """DIRECTION: bad weather makes flights late."""
    clear = mean_score(candidate, march, precip=0.0, visib=10.0, temp=50.0, humid=45.0)
    snow = mean_score(candidate, march, precip=0.05, visib=1.0, temp=31.0, humid=95.0)
    assert snow > clear + 0.1


def test_what_is_served_scores_the_same(candidate: Candidate, march: pl.DataFrame) -> None:
    """MINIMUM FUNCTIONALITY: ONNX, within 1e-5 and without one changed label, on hard rows too."""
    exported = export(candidate, march)
    assert exported.format == "onnx", exported.reason
    rows = hard_rows(march, candidate.columns)
    assert rows.height > 10_000
    assert compare(candidate, exported.predictor, rows).passed


@pytest.mark.parametrize(
    ("difference", "flips", "passed"),
    [(1e-6, 0, True), (1e-4, 0, False), (1e-6, 1, False), (float("nan"), 0, False)],
)
def test_parity_is_strict(difference: float, flips: int, passed: bool) -> None:
    assert Parity(100, difference, flips).passed is passed
