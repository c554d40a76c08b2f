"""How well scores order the late before the rest, and how sure that number is.

Rows are not independent: the flights of one stormy hour are late together. What is independent is
clusters of rows, so the doubt about a number is worked out from what each cluster as a whole adds
to it: the variance of an AUC of clustered rows after Obuchowski (Biometrics 53, 1997), which for
clusters of one row is the one of DeLong (1988). One sort, nothing is drawn: the same rows give the
same interval, and a million of them take as much memory as a few columns.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST = 2
"""Of fewer clusters nobody can tell how much they differ."""


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


def auc_interval(
    labels: "NDArray[np.bool_]", scores: "NDArray[np.float64]", clusters: "NDArray[np.int64]"
) -> Interval:
    """Measure an AUC and its uncertainty; `clusters` numbers the cluster of each row, from 0.

    From 0 to 1 where nothing is known of it, as of too few clusters. The bounds are worked out on
    the logit's scale, on which they can't leave that range (Pepe 2003).
    """
    value = auc(labels, scores)
    count = told_by(labels, clusters)
    if count < FEWEST:
        return Interval(value, 0.0, 1.0)
    if value in (0.0, 1.0):
        # Of a share of clusters none was seen: its exact bound (Hanley and Lippman-Hand 1983).
        room = 1 - (1 - CONFIDENCE) ** (1 / count)
        return Interval(value, max(0.0, value - room), min(1.0, value + room))
    doubt = _doubt(labels, _shares(labels, scores), clusters) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    # tanh is the logistic curve that never overflows.
    low, high = (0.5 + math.tanh((middle + way * doubt) / 2) / 2 for way in (-1, 1))
    return Interval(value, min(low, value), max(high, value))


def gain_interval(
    labels: "NDArray[np.bool_]",
    candidate: "NDArray[np.float64]",
    champion: "NDArray[np.float64]",
    clusters: "NDArray[np.int64]",
) -> Interval:
    """Measure how much AUC one model has over another on the same rows.

    Both are seen together, so what makes a day hard for both does not count as doubt.
    """
    value = auc(labels, candidate) - auc(labels, champion)
    if told_by(labels, clusters) < FEWEST:
        return Interval(value, -1.0, 1.0)
    shares = _shares(labels, candidate) - _shares(labels, champion)
    doubt = _doubt(labels, shares, clusters)
    return Interval(value, max(-1.0, value - doubt), min(1.0, value + doubt))


def _shares(labels: "NDArray[np.bool_]", scores: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return what each row adds to the distance of the AUC from its true value; sums to 0.

    A row is placed by the share of the other class that it is on the right side of.
    """
    values = pl.Series(scores)
    below = values.rank("average").to_numpy().copy()
    for kind in (True, False):
        own = labels == kind
        below[own] -= values.filter(pl.Series(own)).rank("average").to_numpy()
    positives, negatives = int(labels.sum()), int((~labels).sum())
    value = below[labels].sum() / (positives * negatives)
    of_positive = (below / negatives - value) / positives
    of_negative = (1 - below / positives - value) / negatives
    shares: NDArray[np.float64] = np.where(labels, of_positive, of_negative)
    return shares


def _doubt(
    labels: "NDArray[np.bool_]", shares: "NDArray[np.float64]", clusters: "NDArray[np.int64]"
) -> float:
    """Return how far the true value may be away, on one side, with the confidence asked for.

    Few clusters, or few large ones among many small, hold less than their variance says (Cameron
    and Miller 2015): the quantile is Student's, for as many degrees of freedom as there are
    clusters of like size that would tell as much, less one.
    """
    count = told_by(labels, clusters)
    sums = np.bincount(clusters, weights=shares)
    variance = float(np.square(sums).sum()) * count / (count - 1)
    return math.sqrt(variance) * student(_alike(labels, clusters) - 1)


def _alike(labels: "NDArray[np.bool_]", clusters: "NDArray[np.int64]") -> float:
    """Count the clusters of like size that would tell as much as these.

    After Carter, Schnepel and Steigerwald 2017, with the rows of a cluster taken as one; the mean
    of both classes, as in a storm all positives may be in few of them.
    """
    kinds = [np.square(np.bincount(clusters[of]).astype(np.float64)) for of in (labels, ~labels)]
    return float(np.mean([sizes.sum() ** 2 / np.square(sizes).sum() for sizes in kinds]))


def told_by(labels: "NDArray[np.bool_]", clusters: "NDArray[np.int64]") -> int:
    """Count the clusters that an interval rests on: those of the class that fewer have."""
    return min(int(np.count_nonzero(np.bincount(clusters[of]))) for of in (labels, ~labels))


def student(freedom: float) -> float:
    """Return the quantile of Student's t at CONFIDENCE, for whole degrees of freedom, at least 1.

    Exact for 1 and 2; from there on the expansion of Abramowitz and Stegun 26.7.5, which is within
    0.001. A broken number is rounded down, to the wider side.
    """
    whole = max(1, math.floor(freedom + 1e-9))
    over = 2 * CONFIDENCE - 1
    if whole == 1:
        return math.tan(math.pi * over / 2)
    if whole == 2:
        return over * math.sqrt(2 / (1 - over**2))
    z = NormalDist().inv_cdf(CONFIDENCE)
    expansion = (
        z
        + (z**3 + z) / (4 * whole)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * whole**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * whole**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * whole**4)
    )
    return float(expansion)
