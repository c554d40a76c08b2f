"""describe: what the deployed model's data and scores look like, frozen to compare later days with.

The reference is the holdout: days that the model has not learnt from, scored by the model itself.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, publish, upstream
from ml.core.record import Record, Result
from ml.data.frames import predict
from ml.data.parts import HOLDOUT, read_part
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import ArtifactManifest, Column
from ml.serving.predictors import load
from ml.stages import Stage

PROFILE = "profile"
BINS = 10
SCORE_BINS = 20
MOST_WORDS = 50
# It travels with the model, so it must stay small whatever a project's columns are.
LARGEST_BYTES = 50_000


def run(job: Job) -> Result:
    """Describe the holdout as the version that smoke has asked sees it."""
    asked = upstream(job, Stage.SMOKE)
    built = before(job, asked, Stage.BUILD_ARTIFACTS)
    key = fingerprint(
        stage=Stage.DESCRIBE,
        model=built.fingerprint,
        code=code_digest(__name__),
        versions=versions("polars", "onnxruntime"),
    )
    return once(job, Stage.DESCRIBE, key, lambda folder: _work(job, built, folder))


def _work(job: Job, built: Record, folder: str) -> Outcome:
    split = before(job, built, Stage.SPLIT)
    holdout = read_part(job, split, HOLDOUT)
    try:
        manifest, model = fetch(str(built.facts["artifact"]), str(built.facts["sha256"]))
        scores = predict(load(manifest, model), holdout, manifest.columns)
    except ArtifactError as error:
        raise BadInputError(f"{error}: remove what is damaged and run train again") from error
    made = profile(manifest, holdout, pl.Series("score", scores))
    text = json.dumps(made, indent=1).encode()
    if len(text) > LARGEST_BYTES:
        raise BadInputError(f"the profile of {len(manifest.columns)} columns has {len(text)} bytes")
    output = publish(job.stores.data, folder, "profile.json", text, holdout.height)
    log.info("%d columns over %d rows, %d bytes", len(manifest.columns), holdout.height, len(text))
    facts = {
        "version": built.facts["version"],
        "sha256": manifest.sha256,
        "rows": holdout.height,
        "columns": len(manifest.columns),
        "bytes": len(text),
    }
    return Outcome({PROFILE: output}, facts)


def profile(manifest: ArtifactManifest, frame: pl.DataFrame, scores: pl.Series) -> dict[str, Any]:
    """Describe every column, the scores and the target; counts only, so that profiles add up."""
    edges = [n / SCORE_BINS for n in range(1, SCORE_BINS)]
    return {
        "project": manifest.project,
        "sha256": manifest.sha256,
        "rows": frame.height,
        "positives": int(frame[manifest.target].sum()),
        "columns": {c.name: describe_column(c, frame[c.name]) for c in manifest.columns},
        "scores": {"edges": edges, "counts": counts(scores, edges), "mean": scores.mean()},
    }


def describe_column(column: Column, values: pl.Series) -> dict[str, Any]:
    """Count a column's values: numbers in bins of like size, words one by one."""
    about = {"type": column.type, "missing": values.null_count()}
    known = values.drop_nulls()
    if column.type in ("str", "bool"):
        frequent = known.cast(pl.String).value_counts(sort=True, name="n").head(MOST_WORDS)
        words = dict(zip(frequent[values.name].to_list(), frequent["n"].to_list(), strict=True))
        return about | {"words": words, "others": len(known) - sum(words.values())}
    edges = quantile_edges(known)
    return about | {"edges": edges, "counts": counts(known, edges)}


def quantile_edges(values: pl.Series) -> list[float]:
    """Return the inner edges that cut values into bins of like size; fewer when many are equal."""
    found = {values.quantile(n / BINS, "nearest") for n in range(1, BINS)}
    return sorted(float(edge) for edge in found if edge is not None)


def counts(values: pl.Series, edges: list[float]) -> list[int]:
    """Count the values up to each edge, and after the last."""
    places = np.searchsorted(np.asarray(edges), values.cast(pl.Float64).to_numpy(), side="left")
    return [int(n) for n in np.bincount(places, minlength=len(edges) + 1)]
