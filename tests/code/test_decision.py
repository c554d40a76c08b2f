"""The gate's arithmetic: every way to be refused, and the one to be let through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.core.project import Gate
from ml.registry.tracking import Champion
from ml.serving.manifest import Trained
from ml.training.evaluate import rival_digest
from ml.training.gate import Measured, decide
from ml.training.intervals import Interval, auc, auc_interval, gain_interval
from ml.training.slices import Slice

GATE = Gate(min_skill=0.1, min_gain=0.0, max_latency_ms=5, max_slice_loss=0.05, min_slice_rows=100)
HOLDOUT_FROM = "2013-02-23"
FAIR = Trained(as_of="2013-02-28", fingerprint="f", train_until="2013-02-21")
BETTER = Measured(
    candidate=Interval(0.71, 0.69, 0.73),
    latency_ms=1.0,
    champion=Interval(0.70, 0.68, 0.72),
    gain=Interval(0.01, 0.002, 0.018),
    slices=[Slice("carrier", "UA", 900, 0.7, 0.69)],
)
FIRST = replace(BETTER, champion=None, gain=None)


def test_a_first_model_that_is_better_than_guessing_is_let_through() -> None:
    decision = decide(GATE, FIRST, HOLDOUT_FROM, None)
    assert decision.deploy
    assert "no champion" in decision.reason


def test_a_surely_better_model_is_let_through() -> None:
    decision = decide(GATE, BETTER, HOLDOUT_FROM, FAIR)
    assert decision.deploy
    assert "better than the champion's 0.700" in decision.reason


@pytest.mark.parametrize("gain", [-0.01, 0.0, 0.004])
def test_only_a_gain_is_called_better(gain: float) -> None:
    """A gate may allow a loss, for a model that is cheaper for example."""
    lenient = GATE.model_copy(update={"min_gain": -0.05})
    measured = replace(BETTER, gain=Interval(gain, gain - 0.01, gain + 0.01))
    decision = decide(lenient, measured, HOLDOUT_FROM, FAIR)
    assert decision.deploy
    assert ("better" in decision.reason) == (gain > 0)


REFUSALS = {
    "guessing": (replace(FIRST, candidate=Interval(0.61, 0.59, 0.63)), None, "0.600"),
    "slow": (replace(BETTER, latency_ms=5.1), FAIR, "5.1 ms"),
    "not surely better": (replace(BETTER, gain=Interval(0.01, -0.001, 0.02)), FAIR, "surely"),
    "a slice loses": (
        replace(BETTER, slices=[Slice("carrier", "UA", 100, 0.64, 0.70)]),
        FAIR,
        "carrier UA",
    ),
    "the champion knows the holdout": (
        BETTER,
        FAIR.model_copy(update={"train_until": HOLDOUT_FROM}),
        "no fair comparison",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_objection_is_enough_and_is_told(case: str) -> None:
    measured, rival, words = REFUSALS[case]
    decision = decide(GATE, measured, HOLDOUT_FROM, rival)
    assert not decision.deploy
    assert words in decision.reason


def test_a_small_slice_is_noted_only() -> None:
    measured = replace(BETTER, slices=[Slice("carrier", "OO", 99, 0.4, 0.7)])
    assert decide(GATE, measured, HOLDOUT_FROM, FAIR).deploy


def test_the_day_before_the_holdout_is_fair() -> None:
    until = FAIR.model_copy(update={"train_until": "2013-02-22"})
    assert decide(GATE, BETTER, HOLDOUT_FROM, until).deploy


def test_a_champion_meets_the_rival_of_its_time_again() -> None:
    champion = Champion("1", sha256="new", artifact="", fingerprint="mine", rival="old")
    assert rival_digest(champion, "mine") == "old"
    assert rival_digest(champion, "another") == "new"
    assert rival_digest(None, "mine") == ""


def test_auc_counts_ties_half_and_needs_both_classes() -> None:
    labels = np.array([True, False, True, False])
    assert auc(labels, np.array([0.9, 0.1, 0.8, 0.2])) == 1.0
    assert auc(labels, np.array([0.1, 0.9, 0.2, 0.8])) == 0.0
    assert auc(labels, np.full(4, 0.5)) == 0.5
    assert np.isnan(auc(np.ones(4, bool), np.arange(4.0)))


def test_auc_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    dice = np.random.default_rng(0)
    labels, scores = dice.random(500) < 0.3, dice.random(500).round(2)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_intervals_hold_what_they_promise() -> None:
    """Over 40 draws of noise, a true AUC of 0.5 falls below the lower bound rarely."""
    dice = np.random.default_rng(1)
    outside = 0
    for _ in range(40):
        labels, scores = dice.random(800) < 0.3, dice.random(800)
        outside += auc_interval(labels, scores).low > 0.5
    assert outside <= 6


def test_a_paired_gain_is_surer_than_two_intervals() -> None:
    dice = np.random.default_rng(2)
    labels = dice.random(2000) < 0.3
    good = labels + dice.normal(0, 1.5, 2000)
    better = good + 0.3 * labels
    gain = gain_interval(labels, better, good)
    alone = auc_interval(labels, better)
    assert gain.low > 0
    assert gain.high - gain.low < (alone.high - alone.low) / 2
    assert gain_interval(labels, good, good) == Interval(0.0, 0.0, 0.0)
