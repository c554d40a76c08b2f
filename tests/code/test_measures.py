"""The numbers of monitoring against ones worked out by hand."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from ml.data.parts import DAY
from ml.monitoring.measures import BY, measure
from ml.training.intervals import auc


def frame(scores: list[float], labels: list[bool | None]) -> pl.DataFrame:
    columns = {"id": [str(n) for n in range(len(scores))], "score": scores, "label": labels}
    types = {"id": pl.String, "score": pl.Float64, "label": pl.Boolean}
    return pl.DataFrame(columns, schema=types).with_columns(pl.lit(date(2024, 3, 1)).alias(DAY))


def test_four_rows_by_hand() -> None:
    found = measure(frame([0.9, 0.6, 0.4, 0.2], [True, False, True, False]), refused=1)
    assert (found.rows, found.scored, found.refused, found.labelled) == (5, 4, 1, 4)
    assert found.coverage == 1
    assert found.refused_share == 0.2
    assert found.mean_score == pytest.approx(0.525)
    assert found.positive_rate == 0.5
    # Of the four pairs of a positive and a negative one is the wrong way round: 0.4 below 0.6.
    assert found.auc is not None
    assert found.auc.value == 0.75
    assert found.brier == pytest.approx((0.01 + 0.36 + 0.36 + 0.04) / 4)
    loss = -(math.log(0.9) + math.log(0.4) + math.log(0.4) + math.log(0.8)) / 4
    assert found.log_loss == pytest.approx(loss)


def test_rows_without_a_label_count_for_what_needs_none() -> None:
    found = measure(frame([0.9, 0.2, 0.7, 0.6], [True, False, None, None]), refused=0)
    assert (found.scored, found.labelled, found.coverage) == (4, 2, 0.5)
    assert found.mean_score == pytest.approx(0.6)
    assert found.positive_rate == 0.5
    assert found.auc is not None
    assert found.auc.value == 1


def test_no_label_is_no_quality() -> None:
    found = measure(frame([0.9, 0.2], [None, None]), refused=0)
    assert (found.labelled, found.coverage) == (0, 0)
    assert (found.auc, found.log_loss, found.brier, found.positive_rate) == (None,) * 4


def test_labels_of_one_kind_order_nothing() -> None:
    found = measure(frame([0.9, 0.2], [True, True]), refused=0)
    assert found.auc is None
    assert found.positive_rate == 1
    assert found.brier == pytest.approx((0.01 + 0.64) / 2)


def test_no_rows_at_all() -> None:
    found = measure(frame([], []), refused=3)
    assert (found.rows, found.coverage, found.refused_share, found.mean_score) == (3, 0, 1, None)


def test_a_sure_score_that_is_wrong_costs_much_but_not_everything() -> None:
    found = measure(frame([0.0, 1.0], [True, False]), refused=0)
    assert found.log_loss is not None
    assert 10 < found.log_loss < 20


def test_what_belongs_together_makes_the_interval_and_not_the_number() -> None:
    """A feature that is named like a column of ours is told apart from it."""
    random = np.random.default_rng(0)
    group = random.integers(0, 8, 400)
    labels = random.random(400) < 0.3
    skill = random.normal(0.1, 0.2, 8)[group]
    scores = np.clip(random.normal(0.4 + skill * labels, 0.1), 0, 1)
    rows = frame(scores.tolist(), labels.tolist())
    grouped = rows.with_columns(pl.Series(BY + "score", group))
    alone = measure(grouped, 0, ["id"]).auc
    together = measure(grouped, 0, ["score"]).auc
    unknown = measure(grouped, 0).auc
    assert alone is not None
    assert together is not None
    assert unknown is not None
    assert alone.value == together.value == unknown.value == auc(labels, scores)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert (unknown.low, unknown.high) == (0, 1), "one day is one cluster"
