"""How well scores order the late before the rest, and how sure that number is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 200
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A measured value and the bounds that hold it with 95 % confidence, one side each."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def auc(labels: "NDArray[np.bool_]", scores: "NDArray[np.float64]") -> float:
    """Chance that a positive scores above a negative, ties counting half; nan with one class."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = pl.Series(scores).rank("average").to_numpy()[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def resamples(size: int) -> "NDArray[np.int64]":
    """Choose the rows of each bootstrap round; always the same for the same size."""
    return np.random.default_rng(size).integers(0, size, (ROUNDS, size))


def auc_interval(labels: "NDArray[np.bool_]", scores: "NDArray[np.float64]") -> Interval:
    """Measure an AUC and, by bootstrap, its uncertainty."""
    draws = [auc(labels[rows], scores[rows]) for rows in resamples(len(labels))]
    return _interval(auc(labels, scores), draws)


def gain_interval(
    labels: "NDArray[np.bool_]",
    candidate: "NDArray[np.float64]",
    champion: "NDArray[np.float64]",
) -> Interval:
    """Measure how much AUC one model has over another on the same rows.

    Both are drawn together, so what makes a day hard for both does not count as doubt.
    """
    draws = [
        auc(labels[rows], candidate[rows]) - auc(labels[rows], champion[rows])
        for rows in resamples(len(labels))
    ]
    return _interval(auc(labels, candidate) - auc(labels, champion), draws)


def _interval(value: float, draws: list[float]) -> Interval:
    low, high = np.nanquantile(draws, [1 - CONFIDENCE, CONFIDENCE])
    return Interval(value, float(low), float(high))
