"""Models fitted and exported as train does it, from a model.py that a test gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from ml.core.project import load_code, read_project
from ml.core.store import Store
from ml.serving.app import Limits, ServedModel, create_app
from ml.serving.artifact import fetch
from ml.serving.drain import Drain
from ml.serving.manifest import ArtifactManifest, Trained
from ml.serving.predictors import load
from ml.training.export import Candidate, Export, export, publish_artifact
from ml.training.train import fit

PROJECT_YAML = """\
title: Will a parcel be late?
target: late
tables:
  parcels: {columns: {id: str, depot: str, weight: float, stops: int, hours: float or null}}
"""

SCALED = """
def model():
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    names = OneHotEncoder({how})
    return make_pipeline(
        make_column_transformer((names, ["depot"]), (StandardScaler(), ["weight", "stops"])),
        LogisticRegression(),
    )
"""
KNOWS_ALL, AS_IT_COMES = SCALED.format(how='handle_unknown="ignore"'), SCALED.format(how="")

TARGETS = """
def model():
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer, TargetEncoder

    codes, splines = TargetEncoder(), SplineTransformer()  # which ONNX can't express
    return make_pipeline(
        make_column_transformer((codes, ["depot"]), (splines, ["stops"]), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
    )
"""


def rows(count: int = 300, seed: int = 0, *, gaps: Sequence[str] = ()) -> pl.DataFrame:
    """Features of parcels; in the columns of `gaps` every tenth value is missing."""
    dice = np.random.default_rng(seed)
    weight, stops = dice.uniform(0, 30, count), dice.integers(1, 9, count)
    frame = pl.DataFrame(
        {
            "id": [str(n) for n in range(count)],
            "depot": dice.choice(["north", "south", "west"], count),
            "weight": weight.astype(np.float32),
            "stops": stops,
            "late": weight + 2 * stops + dice.normal(0, 6, count) > 24,
        }
    )
    tenth = pl.int_range(pl.len()) % 10 == 0
    return frame.with_columns(pl.when(~tenth).then(name).alias(name) for name in gaps)


@dataclass(frozen=True)
class Shop:
    """A folder with one project, whose model() is given by its steps."""

    folder: Path
    more: str = ""

    def fit(
        self,
        model: str,
        frame: pl.DataFrame | None = None,
        others: Sequence[pl.DataFrame] = (),
        yaml: str = "",
    ) -> Candidate:
        """Fit what `model`, the body of model.py, returns from model()."""
        (self.folder / "parcels.project.yaml").write_text(PROJECT_YAML + yaml)
        (self.folder / "parcels.model.py").write_text(model)
        project = read_project("parcels", str(self.folder))
        origin = Trained(as_of="2024-03-08", fingerprint="0" * 16)
        return fit(project, load_code(project), rows() if frame is None else frame, origin, others)

    def publish(self, candidate: Candidate, exported: Export, holdout: pl.DataFrame) -> ServedModel:
        """Publish and load it, as a server or a scoring pod does."""
        store = Store((self.folder / "models").as_uri())
        folder = publish_artifact(store, candidate, exported, holdout)
        manifest, content = fetch(folder, exported.digest)
        return ServedModel(manifest, load(manifest, content), "1", "blue")

    def served(self, candidate: Candidate, holdout: pl.DataFrame) -> ServedModel:
        """Export, publish and load a candidate."""
        return self.publish(candidate, export(candidate, holdout), holdout)


def post(model: ServedModel, asked: Sequence[dict[str, Any]]) -> httpx.Response:
    """Send rows to the model server's own application, as JSON over HTTP."""

    async def send() -> httpx.Response:
        app = create_app(model, Limits(), Drain(0))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            path = f"/v1/projects/{model.manifest.project}/predict"
            return await client.post(path, content=json.dumps({"rows": asked}))

    return asyncio.run(send())


def sample(manifest: ArtifactManifest) -> dict[str, Any]:
    """A row that the model scores."""
    return dict(manifest.sample[0])
