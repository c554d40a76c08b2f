"""The two frozen parts of a window that split publishes."""

import polars as pl

from ml.core.job import Job
from ml.core.ledger import read_outputs
from ml.core.record import Record
from ml.core.tables import from_parquet
from ml.stages import Stage

TRAIN, HOLDOUT = "train", "holdout"
DAY = "slipway.day"
"""The day of a row in both parts; no feature."""


def read_part(job: Job, split: Record, part: str) -> pl.DataFrame:
    """Read one part of a split; BadInputError when it is gone or damaged."""
    (content,) = read_outputs(job, Stage.SPLIT, [split.outputs[part]])
    return from_parquet(content, f"the {part} table")
