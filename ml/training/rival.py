"""The champion as the candidate's rival: on the same raw days, by its own recipe."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ml.core.errors import BadInputError, StageError, failure
from ml.core.job import Job
from ml.core.ledger import before, read_outputs
from ml.core.project import Project
from ml.core.record import Output, Record
from ml.core.tables import from_parquet, worked_on
from ml.data.daily_features import ID, build_day
from ml.data.frames import answers_of, unfit
from ml.data.recipe import project_of
from ml.registry.tracking import Champion
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import ArtifactManifest, Trained
from ml.serving.predictors import Predictor, load
from ml.stages import Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the rows that either of the two sees; below, they would be measured on different questions.
LEAST_SHARED = 0.9


@dataclass(frozen=True)
class Rival:
    """The champion's scores of the rows that both see, or why it can't be measured on them.

    `rows` are the candidate's features of the shared rows, and `scores` are in their order.
    """

    champion: Champion
    trained: Trained
    rows: pl.DataFrame
    scores: "NDArray[np.float64] | None" = None
    trouble: str = ""


def meet(
    job: Job, today: Project, current: Champion | None, trained: Record, holdout: pl.DataFrame
) -> Rival | None:
    """Score the holdout's days with the champion; None when it is the candidate, or not there."""
    if current is None or current.fingerprint == trained.fingerprint:
        return None
    try:
        manifest, content = fetch(current.artifact, current.sha256)
        predictor = load(manifest, content)
    except ArtifactError as error:
        raise _unreadable(current, error) from error
    try:
        seen = _as_it_sees(job, today, current, trained, holdout)
        rows, theirs = _shared(holdout, seen)
        scores = _scores(manifest, predictor, theirs)
    except BadInputError as error:
        return Rival(current, manifest.trained, holdout, trouble=str(error))
    return Rival(current, manifest.trained, rows, scores)


def _unreadable(current: Champion, error: ArtifactError) -> StageError:
    sentence = f"the champion (version {current.version}) is unreadable: {error}"
    if error.passing:
        return failure(sentence, passing=True)
    way_out = (
        "put its files back, or take its name away (in MLflow: remove the alias champion), and "
        "the candidate is judged without it"
    )
    return failure(f"{sentence}; {way_out}", passing=False)


def _as_it_sees(
    job: Job, today: Project, current: Champion, trained: Record, holdout: pl.DataFrame
) -> pl.DataFrame:
    """Build the holdout's days by the champion's recipe; a version without one takes today's."""
    if current.recipe in ("", trained.facts.get("recipe")):
        return holdout
    dataset = before(job, trained, Stage.INGEST)
    first = str(before(job, trained, Stage.SPLIT).facts["holdout_from"])
    days = sorted({name.split("/")[0] for name in dataset.outputs})
    with project_of(job.stores.models, current.recipe, today) as project:
        built = [
            build_day(job, project, day, files)
            for day in days
            if day >= first and (files := _files(project, dataset, day))
        ]
    if not built:
        raise BadInputError(f"its table '{project.spec.main_table}' has no rows on them")
    contents = read_outputs(job, Stage.BUILD_FEATURES, built)
    frames = [from_parquet(content, "the champion's features") for content in contents]
    with worked_on("its features differ from day to day"):
        return pl.concat(frames).drop_nulls(project.spec.target)


def _files(project: Project, dataset: Record, day: str) -> dict[str, Output]:
    """Take the day's files of the tables that a recipe reads; none for a day without rows."""
    tables = project.spec.tables
    if lacking := [name for name in tables if f"{day}/{name}" not in dataset.outputs]:
        raise BadInputError(f"it reads the table '{lacking[0]}', which project.yaml does not name")
    files = {name: dataset.outputs[f"{day}/{name}"] for name in tables}
    return files if files[project.spec.main_table].rows else {}


def _shared(holdout: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that both know, in the same order, each as its own side sees them."""
    theirs = holdout.select(ID).join(seen, on=ID, how="inner", maintain_order="left")
    rows = holdout.filter(pl.col(ID).is_in(theirs[ID].implode()))
    either = holdout.height + seen.height - rows.height
    if rows.height < LEAST_SHARED * either:
        raise BadInputError(f"of {either} rows that one of the two sees, {rows.height} are shared")
    return rows, theirs


def _scores(
    manifest: ArtifactManifest, predictor: Predictor, rows: pl.DataFrame
) -> "NDArray[np.float64]":
    if trouble := unfit(rows.schema, manifest.columns):
        raise BadInputError(f"of the columns that it looks at, {trouble}")
    answers = answers_of(predictor, rows, manifest.columns)
    if len(answers.refusals) > (1 - LEAST_SHARED) * rows.height:
        first = answers.refusals[0]
        raise BadInputError(
            f"it gives no score to {len(answers.refusals)} of {rows.height} rows: {first}"
        )
    return np.asarray(answers.guessed)
