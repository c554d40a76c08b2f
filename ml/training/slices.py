"""Parts of the holdout, and how each would do with the candidate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.core.project import Gate
from ml.training.intervals import auc

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Slice:
    """One part of the holdout, for example all flights of a carrier."""

    column: str
    value: str
    rows: int
    candidate: float
    champion: float | None = None

    @property
    def loss(self) -> float:
        """How much AUC this part would lose by changing the champion."""
        return 0.0 if self.champion is None else self.champion - self.candidate


def slices_of(
    gate: Gate,
    holdout: pl.DataFrame,
    labels: "NDArray[np.bool_]",
    scores: "NDArray[np.float64]",
    rival: "NDArray[np.float64] | None",
) -> Iterator[Slice]:
    """Measure the parts of the holdout that the gate looks into, those with both classes."""
    for column in gate.slices:
        if column not in holdout.columns:
            raise BadInputError(f"gate.slices names '{column}', which features() does not return")
        for value in holdout[column].unique().sort().drop_nulls():
            chosen = (holdout[column] == value).fill_null(False).to_numpy()
            if 0 < labels[chosen].sum() < chosen.sum():
                yield Slice(
                    column=column,
                    value=str(value),
                    rows=int(chosen.sum()),
                    candidate=auc(labels[chosen], scores[chosen]),
                    champion=None if rival is None else auc(labels[chosen], rival[chosen]),
                )
