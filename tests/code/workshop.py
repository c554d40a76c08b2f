"""A folder in which a test uses the command line as a person would, with a project of its own."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ml.core.store import Store
from ml.data.landing import publish_partition, table_path
from tests.environment import plain_environment

REPO = Path(__file__).parents[2]
AS_OF = date(2024, 3, 8)
PROJECT = "parcels"

PROJECT_YAML = """\
title: Will a parcel be late?
target: late
days: {window: 8, holdout: 2}
gate: {min_skill: 0.05, min_slice_rows: 20, slices: [depot], clusters: [id]}
known_later: {parcels: [hours]}
tables:
  parcels: {key: [id], columns: {id: str, depot: str, weight: float 0..100, hours: float or null}}
"""

MODEL = """\
import polars as pl


def features(tables):
    return tables["parcels"].select("id", "depot", "weight", "stops", late=pl.col("hours") > 24)


def model():
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    names = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(
        make_column_transformer((names, ["depot"]), remainder="passthrough"),
        SimpleImputer(),
        LogisticRegression(max_iter=1000),
    )
"""


def parcels(day: date, rows: int = 150) -> pl.DataFrame:
    """A day's parcels; heavy ones and those with many stops tend to be late."""
    dice = random.Random(str(day))
    weights = [round(dice.uniform(0, 30), 1) for _ in range(rows)]
    stops = [dice.randint(1, 9) for _ in range(rows)]
    return pl.DataFrame(
        {
            "id": [f"{day}-{n}" for n in range(rows)],
            "depot": [dice.choice(["north", "south"]) for _ in range(rows)],
            "weight": weights,
            "stops": stops,
            "hours": [w + 2 * s + dice.gauss(0, 6) for w, s in zip(weights, stops, strict=True)],
        },
        schema_overrides={"weight": pl.Float64, "hours": pl.Float64},
    )


@dataclass(frozen=True)
class Workshop:
    """The folder, and what can be done in it."""

    folder: Path

    @classmethod
    def at(cls, folder: Path, database: Path) -> Workshop:
        """Set up the project `parcels` in an empty folder, with a copy of an empty MLflow."""
        project = folder / "projects" / PROJECT
        project.mkdir(parents=True)
        (folder / "local").mkdir()
        shutil.copy(database, folder / "local/mlflow.db")
        (project / "project.yaml").write_text(PROJECT_YAML)
        (project / "model.py").write_text(MODEL)
        return cls(folder)

    @property
    def project(self) -> Path:
        return self.folder / "projects" / PROJECT

    @property
    def landing(self) -> Store:
        return Store((self.folder / "local/landing").as_uri())

    def land(self, day: date, frame: pl.DataFrame | None = None) -> None:
        """Land one day, made-up or given."""
        tables = {"parcels": parcels(day) if frame is None else frame}
        publish_partition(self.landing, PROJECT, day, tables)

    def land_window(self, as_of: date = AS_OF, days: int = 8) -> None:
        """Land all days that a run of `as_of` needs."""
        for back in range(days):
            self.land(as_of - timedelta(days=back))

    def landed_file(self, day: date) -> Path:
        return self.folder / "local/landing" / table_path(PROJECT, day, "parcels")

    def ml(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m ml` here."""
        return subprocess.run(
            [sys.executable, "-m", "ml", *arguments],
            cwd=self.folder,
            env=plain_environment()
            | {
                "PYTHONPATH": str(REPO),
                "PYTHONWARNINGS": "error::DeprecationWarning:ml",
                "SLIPWAY_PROJECTS_PATH": str(self.folder / "projects"),
                "SLIPWAY_RESULT_PATH": str(self.folder / "result.json"),
                "COLUMNS": "200",
            }
            | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def run(
        self, verb: str = "run", as_of: date = AS_OF, project: str = PROJECT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb for a day."""
        return self.ml(verb, "--project", project, "--as-of", str(as_of), **environment)

    def result(self) -> dict[str, Any]:
        """What the last stage told its caller."""
        text = (self.folder / "result.json").read_bytes()
        assert len(text) <= 1024
        return dict(json.loads(text))

    def published(self) -> dict[str, int]:
        """Everything in the data and models stores, with its size."""
        places = [self.folder / "local/data", self.folder / "local/models"]
        files = [f for place in places for f in place.rglob("*") if f.is_file()]
        return {str(f.relative_to(self.folder)): f.stat().st_size for f in files}


def statuses(output: str) -> dict[str, str]:
    """Read `stage -> done|skipped` from what a run printed."""
    lines = [line for line in output.splitlines() if not line.startswith("stage=")]
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return {stage: rest.split(" ")[0] for stage, rest in pairs}
