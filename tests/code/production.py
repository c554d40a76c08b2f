"""A model in use, as a test needs it: days with predictions, and labels that arrive for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from mlflow import MlflowClient
from mlflow.entities import Run

from ml.core.job import Job
from ml.core.ledger import read_record, run_stage
from ml.core.record import Record
from ml.core.settings import Settings
from ml.monitoring.findings import Monitoring
from ml.stages import Stage
from tests.code.workshop import PROJECT, Workshop, parcels

Change = Callable[[pl.DataFrame], pl.DataFrame]


def unlabelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Parcels that are still under way."""
    return frame.with_columns(hours=pl.lit(None, pl.Float64))


def turned(frame: pl.DataFrame) -> pl.DataFrame:
    """A world in which the light parcels are the late ones."""
    return frame.with_columns(hours=54 - pl.col("hours"))


def too_heavy(frame: pl.DataFrame) -> pl.DataFrame:
    """Thirty parcels that break project.yaml's rules."""
    weight = pl.when(pl.int_range(pl.len()) < 30).then(101.0).otherwise("weight")
    return frame.with_columns(weight=weight)


@contextmanager
def put_back(workshop: Workshop, database: Path) -> Iterator[Production]:
    """Lend a workshop out with a copy of its MLflow; put it back as it was when that is over.

    The folder stays the same, as addresses in it are whole. The database is a file of its own, as
    MLflow keeps those it has opened.
    """
    kept = workshop.folder.with_name(f"{workshop.folder.name}-kept")
    shutil.copytree(workshop.folder, kept, symlinks=True)
    shutil.copy(workshop.folder / "local/mlflow.db", database)
    try:
        yield Production(workshop, database)
    finally:
        shutil.rmtree(workshop.folder)
        kept.rename(workshop.folder)


@dataclass(frozen=True)
class Production:
    """A workshop with a champion, and an MLflow of the test's own."""

    workshop: Workshop
    database: Path

    @property
    def data(self) -> Path:
        """The project's part of the data store."""
        return self.workshop.folder / "local/data" / PROJECT

    @property
    def environment(self) -> dict[str, str]:
        """What a stage that is run as a process has to be told."""
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{self.database}"}

    def job(self, day: date, upstream: str = "") -> Job:
        """A stage's assignment for a day, of that day's data alone where it takes days."""
        local = self.workshop.folder / "local"
        settings = Settings(
            landing_url=str(local / "landing"),
            data_url=str(local / "data"),
            models_url=str(local / "models"),
            tracking_uri=f"sqlite:///{self.database}",
            projects_path=str(self.workshop.folder / "projects"),
        )
        return replace(Job.of(PROJECT, day, settings, upstream or None), days=1)

    def stage(self, verb: Stage, day: date, upstream: str = "") -> dict[str, Any]:
        """Run a stage in this process; return what it tells its caller."""
        told = run_stage(verb, self.job(day, upstream)).as_json()
        assert len(told.encode()) <= 1024
        return dict(json.loads(told))

    def monitor(self, day: date) -> dict[str, Any]:
        """Run monitor for a day."""
        return self.stage(Stage.MONITOR, day)

    def report(self, day: date) -> dict[str, Any]:
        """Run monitor and report for a day."""
        return self.stage(Stage.REPORT, day, self.monitor(day)["record"])

    def land(self, day: date, change: Change | None = None) -> None:
        """Land a day, made-up; a second time replaces it."""
        frame = parcels(day)
        self.workshop.land(day, change(frame) if change else frame)

    def prepare(self, day: date, change: Change | None = None) -> None:
        """Land a day and build its features, as the ETL does."""
        self.land(day, change)
        record = ""
        for verb in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES):
            record = self.stage(verb, day, record)["record"]

    def score(self, day: date) -> Path:
        """Score a landed day with the champion; return the file of predictions."""
        pin = self.stage(Stage.PIN_CHAMPION, day)["record"]
        record = self.record(self.stage(Stage.SCORE, day, pin))
        return Path(record.outputs["predictions"].uri.removeprefix("file://"))

    def serve(self, day: date, change: Change | None = None) -> Path:
        """One day of a model in use: its data lands and is scored."""
        self.land(day, change)
        return self.score(day)

    def record(self, result: dict[str, Any]) -> Record:
        """Read the record that a stage names."""
        return read_record(self.job(date.today()).stores.data, result["record"])

    def findings(self, result: dict[str, Any]) -> Monitoring:
        """Read all that monitor found."""
        output = self.record(result).outputs["monitoring"]
        return Monitoring.model_validate_json(Path(output.uri.removeprefix("file://")).read_bytes())

    @property
    def client(self) -> MlflowClient:
        """MLflow, as a person would ask it."""
        uri = f"sqlite:///{self.database}"
        return MlflowClient(uri, registry_uri=uri)

    def runs(self) -> list[Run]:
        """The runs of the monitoring experiment, by name."""
        experiment = self.client.get_experiment_by_name(f"{PROJECT}-monitoring")
        if experiment is None:
            return []
        found = self.client.search_runs([experiment.experiment_id])
        return sorted(found, key=lambda run: str(run.info.run_name))

    def state(self) -> tuple[dict[str, int], list[tuple[str, dict[str, float]]]]:
        """Everything that was published and everything MLflow knows of it."""
        known = [(run.info.run_id, run.data.metrics) for run in self.runs()]
        return self.workshop.published(), known
