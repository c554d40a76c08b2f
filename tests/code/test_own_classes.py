"""A class that model.py defines, all the way: trained, rolled out, scored with, loaded from MLflow.

Public kin: mlflow #5178 and #1291. Each step is a process of its own, as on a cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.code.workshop import AS_OF, MODEL, PROJECT, Workshop, statuses

HEAVY = """
from sklearn.base import BaseEstimator, TransformerMixin

LIMIT = 20


class Heavy(TransformerMixin, BaseEstimator):
    def fit(self, table, labels=None):
        self.columns_ = list(table.columns)
        return self

    def transform(self, table):
        return table.assign(weight=np.log1p(table["weight"]), heavy=table["weight"] > LIMIT)


def model():
"""
OWN = (
    MODEL.replace("import polars as pl", "import numpy as np\nimport polars as pl")
    .replace("\ndef model():\n", HEAVY)
    .replace("    return make_pipeline(\n", "    return make_pipeline(\n        Heavy(),\n")
)
# Loads the registered model with nothing of ours in reach, and asks it as MLflow's callers do.
ASK = """
import json, sys, mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/parcels/1")
rows = pandas.DataFrame(json.loads(sys.argv[2]))
answer = {"scores": [float(row[1]) for row in model.predict(rows)]}
for name, spoilt in {
    "left out": rows.drop(columns="weight"),
    "missing": rows.assign(weight=float("nan")),
    "null": rows.assign(depot=None),
}.items():
    try:
        answer[name] = [float(row[1]) for row in model.predict(spoilt)]
    except Exception as error:
        answer[name] = str(error)
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Workshop:
    """A workshop in which such a model was trained and rolled out."""
    workshop = Workshop.at(tmp_path_factory.mktemp("own"), database)
    (workshop.project / "model.py").write_text(OWN)
    workshop.land_window()
    done = workshop.run()
    assert done.returncode == 0, done.stderr
    assert statuses(done.stdout)["roll_out"] == "done"
    return workshop


def manifest(workshop: Workshop) -> dict[str, Any]:
    (file,) = (workshop.folder / "local/models").rglob("manifest.json")
    return dict(json.loads(file.read_text()))


def test_it_is_served_from_a_file_that_holds_the_class(own: Workshop) -> None:
    assert (manifest(own)["format"], manifest(own)["file"]) == ("cloudpickle", "model.pkl")


def test_a_scoring_process_scores_with_it(own: Workshop) -> None:
    assert own.run("pin-champion").returncode == 0
    pin, day = own.result()["record"], AS_OF + timedelta(days=1)
    own.land(day)
    done = own.ml("score", "-p", PROJECT, "--as-of", str(day), "--upstream", pin)
    assert done.returncode == 0, done.stderr
    assert (own.result()["rows"], own.result()["refused"]) == (150, 0)


def test_mlflow_loads_it_where_nothing_of_ours_is(own: Workshop, tmp_path: Path) -> None:
    """And it answers what the server answers, and refuses what the server refuses."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY", "PYTHONPATH"))}
    known = manifest(own)
    arguments = [f"sqlite:///{own.folder}/local/mlflow.db", json.dumps(known["sample"])]
    asked = subprocess.run(
        [sys.executable, "-c", ASK, *arguments],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout.splitlines()[-1])
    assert answer["scores"] == pytest.approx(known["expected"], abs=1e-9)
    assert "weight" in answer["left out"]
    assert answer["missing"] == "weight is missing"
    assert answer["null"] == "depot is missing"
