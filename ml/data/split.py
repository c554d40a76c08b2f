"""split: the window's last days only test, the days before them teach. Both are frozen files."""

from datetime import date, timedelta

import polars as pl

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, once, publish, read_outputs, upstream
from ml.core.project import read_project
from ml.core.record import Output, Result
from ml.core.tables import from_parquet, to_parquet
from ml.data.daily_features import ID
from ml.data.parts import DAY, HOLDOUT, TRAIN
from ml.stages import Stage


def run(job: Job) -> Result:
    """Publish the train and holdout tables of the window."""
    spec = read_project(job.project, job.settings.projects_path).spec
    features = upstream(job, Stage.BUILD_FEATURES)
    first_test = job.as_of - timedelta(days=spec.days.holdout - 1)
    key = fingerprint(
        stage=Stage.SPLIT,
        features=features.fingerprint,
        code=code_digest(__name__),
        versions=versions("polars"),
        first_test=first_test,
    )

    def work(folder: str) -> Outcome:
        train, holdout = parts(features.outputs, first_test)
        frames = {
            TRAIN: _read(job, train, spec.target, TRAIN),
            HOLDOUT: _read(job, holdout, spec.target, HOLDOUT),
        }
        outputs = {
            name: publish(
                job.stores.data, folder, f"{name}.parquet", to_parquet(frame), frame.height
            )
            for name, frame in frames.items()
        }
        log.info("%s", {name: frame.shape for name, frame in frames.items()})
        return Outcome(outputs, _facts(frames, spec.target, first_test, min(features.outputs)))

    return once(job, Stage.SPLIT, key, work)


def parts(days: dict[str, Output], first_test: date) -> tuple[dict[str, Output], dict[str, Output]]:
    """Separate days by date: those before `first_test`, and the rest."""
    train = {day: output for day, output in days.items() if day < str(first_test)}
    holdout = {day: output for day, output in days.items() if day >= str(first_test)}
    return train, holdout


def _read(job: Job, days: dict[str, Output], target: str, name: str) -> pl.DataFrame:
    contents = read_outputs(job, Stage.BUILD_FEATURES, list(days.values()))
    frames = [
        from_parquet(content, f"the features of {day}").with_columns(_day(day))
        for day, content in zip(days, contents, strict=True)
    ]
    if not frames:
        raise BadInputError(f"the {name} part of the window has no day with rows")
    for day, frame in zip(days, frames, strict=True):
        _insist_on_one_schema(day, frame.schema, frames[-1].schema)
    frame = pl.concat(frames, how="vertical").drop_nulls(target)
    if frame[target].n_unique() < 2:
        raise BadInputError(f"'{target}' has one value only in the {name} part of the window")
    return frame


def _day(day: str) -> pl.Expr:
    return pl.lit(date.fromisoformat(day)).alias(DAY)


def _insist_on_one_schema(day: str, found: pl.Schema, wanted: pl.Schema) -> None:
    """A day with other columns, or columns of other types, can't be put beneath the others."""
    for column in [*wanted, *found]:
        if found.get(column) != wanted.get(column):
            raise BadInputError(
                f"features() gives '{column}' as {found.get(column, 'nothing')} on {day} and as "
                f"{wanted.get(column, 'nothing')} on the last day: cast it, so that every day has "
                "the same columns"
            )
    if list(found) != list(wanted):
        raise BadInputError(
            f"features() gives its columns in another order on {day} than on the last day: "
            "select them by name"
        )


def _facts(
    frames: dict[str, pl.DataFrame], target: str, first_test: date, first_day: str
) -> dict[str, object]:
    train, holdout = frames[TRAIN], frames[HOLDOUT]
    return {
        "train_rows": train.height,
        "holdout_rows": holdout.height,
        "train_from": first_day,
        "train_until": str(first_test - timedelta(days=1)),
        "holdout_from": str(first_test),
        "positive_share": round(float(train[target].mean()), 4),  # type: ignore[arg-type]
        "id": ID,
    }
