"""The numbers of scored rows, with labels where they have arrived."""

import numpy as np
import polars as pl

from ml.monitoring.findings import Measures
from ml.training.intervals import Interval, auc, auc_interval

ID, SCORE, LABEL = "id", "score", "label"
# Above this an interval comes from evenly spaced rows: a little too wide, in bounded memory.
INTERVAL_ROWS = 50_000
# A score of 0 or 1 that is wrong would make the loss infinite.
CLIP = 1e-7


def measure(frame: pl.DataFrame, refused: int) -> Measures:
    """Measure rows of `id`, `score` and `label`, null where none has arrived."""
    known = frame.drop_nulls(LABEL)
    seen = Measures(
        scored=frame.height,
        refused=refused,
        labelled=known.height,
        mean_score=_mean(frame[SCORE]),
    )
    return seen.model_copy(update=_of_labelled(known)) if known.height else seen


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return None if mean is None else float(mean)  # type: ignore[arg-type]


def _of_labelled(known: pl.DataFrame) -> dict[str, float | Interval | None]:
    labels, scores = known[LABEL].to_numpy(), known[SCORE].to_numpy()
    sure = np.clip(scores, CLIP, 1 - CLIP)
    losses = np.where(labels, -np.log(sure), -np.log1p(-sure))
    both = 0 < labels.sum() < len(labels)
    return {
        "positive_rate": float(labels.mean()),
        "auc": _auc(known) if both else None,
        "log_loss": float(losses.mean()),
        "brier": float(np.square(scores - labels).mean()),
    }


def _auc(known: pl.DataFrame) -> Interval:
    step = -(-known.height // INTERVAL_ROWS)
    part = known.gather_every(step)
    found = auc_interval(part[LABEL].to_numpy(), part[SCORE].to_numpy())
    if step == 1:
        return found
    value = auc(known[LABEL].to_numpy(), known[SCORE].to_numpy())
    shift = value - found.value
    return Interval(value, found.low + shift, found.high + shift)
