"""A model in use, as a test needs it: days with predictions, and labels that arrive for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl

from ml.frames import as_rows
from ml.job import Job
from ml.ledger import Outcome, once, publish, read_outputs, read_record, run_stage
from ml.record import Output, Record, Result, Stage
from ml.serving.artefact import fetch
from ml.serving.predictors import load
from ml.settings import Settings
from ml.tables import from_parquet, to_parquet
from tests.code.workshop import PROJECT, Workshop, parcels

Change = Callable[[pl.DataFrame], pl.DataFrame]


def unlabelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Parcels that are still under way."""
    return frame.with_columns(hours=pl.lit(None, pl.Float64))


def turned(frame: pl.DataFrame) -> pl.DataFrame:
    """A world in which the light parcels are the late ones."""
    return frame.with_columns(hours=54 - pl.col("hours"))


def job(workshop: Workshop, day: date, project: str = PROJECT) -> Job:
    """The assignment of a stage for a day of the workshop's project."""
    local = workshop.folder / "local"
    settings = Settings(
        landing_url=str(local / "landing"),
        data_url=str(local / "data"),
        models_url=str(local / "models"),
        tracking_uri=f"sqlite:///{local}/mlflow.db",
        projects_path=str(workshop.folder / "projects"),
    )
    return Job.of(project, day, settings)


def stage(workshop: Workshop, verb: Stage, day: date, upstream: str = "") -> Result:
    """Run a stage in this process, of one day's data where it takes days."""
    return run_stage(verb, replace(job(workshop, day), upstream=upstream or None, days=1))


def prepare(workshop: Workshop, day: date, change: Change | None = None) -> Record:
    """Land one day and build its features, as the ETL does; a second time replaces the day."""
    frame = parcels(day)
    workshop.land(day, change(frame) if change else frame)
    record = ""
    for verb in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES):
        record = stage(workshop, verb, day, record).record
    return read_record(job(workshop, day).stores.data, record)


def score(
    workshop: Workshop, day: date, features: Record, version: int = 1, refused: int = 0
) -> Path:
    """Score a day with a registered version and publish what `score` publishes."""
    work = job(workshop, day)
    found = [read_record_file(f) for f in workshop.folder.glob("local/data/*/register/*/*/*.json")]
    facts = next(r.facts for r in found if r.facts["version"] == str(version))
    manifest, content = fetch(facts["artifact"], facts["sha256"])
    (table,) = read_outputs(work, Stage.BUILD_FEATURES, [features.outputs[str(day)]])
    frame = from_parquet(table, "features")
    frame = frame.head(frame.height - refused)
    scores = load(manifest, content)(as_rows(frame, manifest.columns))
    predictions = frame.select("id").with_columns(
        score=pl.Series(scores, dtype=pl.Float64),
        model_version=pl.lit(str(version)),
        model_sha256=pl.lit(facts["sha256"]),
        as_of=pl.lit(day),
    )
    published: list[Output] = []

    def publish_them(folder: str) -> Outcome:
        table = to_parquet(predictions)
        store = work.stores.data
        output = publish(store, folder, "predictions.parquet", table, predictions.height)
        published.append(output)
        reasons = {"weight is missing": refused} if refused else {}
        mean = float(predictions["score"].mean())  # type: ignore[arg-type]
        return Outcome(
            {"predictions": output},
            {
                "version": str(version),
                "sha256": facts["sha256"],
                "rows": predictions.height,
                "mean_score": round(mean, 4),
                "refused": refused,
                "reasons": reasons,
                "features": features.outputs[str(day)].uri,
            },
        )

    once(work, Stage.SCORE, f"{version:016}", publish_them)
    return Path(published[0].uri.removeprefix("file://"))


def read_record_file(file: Path) -> Record:
    return Record.model_validate_json(file.read_bytes())


def serve(workshop: Workshop, day: date, change: Change | None = None, refused: int = 0) -> Path:
    """One day of a model in use: its data lands and is scored with version 1."""
    return score(workshop, day, prepare(workshop, day, change), refused=refused)
