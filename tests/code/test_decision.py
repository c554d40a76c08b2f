"""The gate's arithmetic: every way to be refused, and the one to be let through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.core.project import Gate
from ml.registry.tracking import Champion
from ml.serving.manifest import Trained
from ml.training.evaluate import rival_digest
from ml.training.intervals import Interval, auc
from ml.training.slices import Slice
from ml.training.telling import Telling
from ml.training.verdict import Measured, decide

GATE = Gate(min_skill=0.1, min_gain=0.0, max_latency_ms=5, max_slice_loss=0.05, min_slice_rows=100)
HOLDOUT_FROM = "2013-02-23"
FAIR = Trained(as_of="2013-02-28", fingerprint="f", train_until="2013-02-21")
BETTER = Measured(
    candidate=Interval(0.71, 0.69, 0.73),
    latency_ms=1.0,
    champion=Interval(0.70, 0.68, 0.72),
    gain=Interval(0.01, 0.002, 0.018),
    clusters=40,
    slices=[Slice("carrier", "UA", 900, 0.7, 0.69, Interval(-0.01, -0.03, 0.01))],
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


@pytest.mark.parametrize("gain", [-0.01, 0.0, 0.004, 0.02])
def test_only_a_sure_gain_is_called_better(gain: float) -> None:
    """A gate may allow a loss, for a model that is cheaper for example."""
    lenient = GATE.model_copy(update={"min_gain": -0.05})
    measured = replace(BETTER, gain=Interval(gain, gain - 0.01, gain + 0.01))
    decision = decide(lenient, measured, HOLDOUT_FROM, FAIR)
    assert decision.deploy
    assert ("better" in decision.reason) == (gain > 0.01)


LOSER = Slice("carrier", "UA", 100, 0.62, 0.70, Interval(0.08, 0.051, 0.11))
EASY = replace(FIRST, candidate=Interval(0.996, 0.99, 0.999), telling=Telling("hours", 0.995))
REFUSALS = {
    "one cluster": (replace(FIRST, clusters=1), None, "gate.clusters"),
    "too good": (EASY, None, "'hours' alone has 0.995"),
    "guessing": (replace(FIRST, candidate=Interval(0.61, 0.59, 0.63)), None, "0.600"),
    "slow": (replace(BETTER, latency_ms=5.1), FAIR, "5.1 ms"),
    "not surely better": (replace(BETTER, gain=Interval(0.01, -0.001, 0.02)), FAIR, "surely"),
    "a slice loses": (
        replace(BETTER, slices=[LOSER]),
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
    measured = replace(BETTER, slices=[replace(LOSER, rows=99)])
    assert decide(GATE, measured, HOLDOUT_FROM, FAIR).deploy


def test_a_slice_that_may_have_lost_by_chance_is_noted_only() -> None:
    unsure = replace(LOSER, loss=Interval(0.08, 0.049, 0.11))
    assert decide(GATE, replace(BETTER, slices=[unsure]), HOLDOUT_FROM, FAIR).deploy
    assert not decide(GATE, replace(BETTER, slices=[unsure, LOSER]), HOLDOUT_FROM, FAIR).deploy


def test_a_problem_that_is_that_easy_may_say_so() -> None:
    refused = decide(GATE, EASY, HOLDOUT_FROM, None)
    assert "set gate.max_score, now 0.995, to 1" in refused.reason
    easy = GATE.model_copy(update={"max_score": 1.0})
    assert decide(easy, EASY, HOLDOUT_FROM, None).deploy


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
