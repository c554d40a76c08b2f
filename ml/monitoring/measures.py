"""The numbers of scored rows, with labels where they have arrived."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ml.data.parts import DAY
from ml.monitoring.findings import Measures
from ml.training.clusters import clusters_of
from ml.training.intervals import Interval, auc_interval

ID, SCORE, LABEL = "id", "score", "label"
BY = "slipway.by."
"""Begins the name of a column that tells what belongs together; a feature may be named `score`."""
# A score of 0 or 1 that is wrong would make the loss infinite.
CLIP = 1e-7


def measure(frame: pl.DataFrame, refused: int, clusters: Sequence[str] = ()) -> Measures:
    """Measure rows of `id`, `score` and `label`, null where none has arrived.

    `clusters` names what rows that belong together share, as in project.yaml: the day in its
    column, or a column whose name begins with BY.
    """
    known = frame.drop_nulls(LABEL)
    seen = Measures(
        scored=frame.height,
        refused=refused,
        labelled=known.height,
        mean_score=_mean(frame[SCORE]),
    )
    return seen.model_copy(update=_of_labelled(known, clusters)) if known.height else seen


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return None if mean is None else float(mean)  # type: ignore[arg-type]


def _of_labelled(
    known: pl.DataFrame, clusters: Sequence[str]
) -> dict[str, float | Interval | None]:
    labels, scores = known[LABEL].to_numpy(), known[SCORE].to_numpy()
    sure = np.clip(scores, CLIP, 1 - CLIP)
    losses = np.where(labels, -np.log(sure), -np.log1p(-sure))
    both = 0 < labels.sum() < len(labels)
    return {
        "positive_rate": float(labels.mean()),
        "auc": _auc(known, clusters) if both else None,
        "log_loss": float(losses.mean()),
        "brier": float(np.square(scores - labels).mean()),
    }


def _auc(known: pl.DataFrame, clusters: Sequence[str]) -> Interval:
    by = {name: name.removeprefix(BY) for name in known.columns if name.startswith(BY)}
    places = known.select(ID, DAY, *by).rename(by)
    numbered = clusters_of(places, clusters)
    return auc_interval(known[LABEL].to_numpy(), known[SCORE].to_numpy(), numbered)
