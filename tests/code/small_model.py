"""A small real model, published as the pipeline publishes one."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from skops import io as skops_io

from ml.serving.manifest import ArtifactManifest, Column, Trained
from ml.serving.predictors import OnnxPredictor, SklearnPredictor

# "copy" is also the name of a method of pydantic's models.
COLUMNS = [
    Column(name="copy", type="int", nullable=False),
    Column(name="dep delay", type="float", nullable=True),
    Column(name="carrier", type="str", nullable=False),
]
Kind = Literal["onnx", "sklearn"]
_TYPES = {"int": Int64TensorType, "float": FloatTensorType, "str": StringTensorType}


@dataclass(frozen=True)
class Published:
    """Where a model is and what it is."""

    folder: Path
    manifest: ArtifactManifest

    @property
    def model(self) -> Path:
        """The model file itself."""
        return self.folder / self.manifest.file

    def environment(self, version: str = "7") -> dict[str, str]:
        """What a serving process has to be told to serve it."""
        return {
            "SLIPWAY_PROJECT": self.manifest.project,
            "SLIPWAY_MODEL_URI": str(self.folder),
            "SLIPWAY_MODEL_SHA256": self.manifest.sha256,
            "SLIPWAY_MODEL_VERSION": version,
            "SLIPWAY_VARIANT": "blue",
        }


def publish(root: Path, kind: Kind = "onnx", seed: int = 0, project: str = "parcels") -> Published:
    """Train on made-up rows, write model and manifest under `root`."""
    frame, late = _rows(seed)
    estimator = _estimator().fit(frame, late)
    content = _onnx(estimator) if kind == "onnx" else skops_io.dumps(estimator)
    digest = hashlib.sha256(content).hexdigest()
    manifest = _manifest(frame, content, kind, digest, project)
    folder = root / project / digest
    folder.mkdir(parents=True)
    (folder / manifest.file).write_bytes(content)
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return Published(folder, manifest)


def _rows(seed: int) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    count = 500
    delay = np.where(random.random(count) < 0.1, np.nan, random.normal(size=count))
    frame = pd.DataFrame(
        {
            "copy": random.integers(0, 24, count),
            "dep delay": delay.astype(np.float32),
            "carrier": random.choice(["AA", "UA", "B6"], count).astype(object),
        }
    )
    chance = np.nan_to_num(delay) + (frame["carrier"] == "UA") + frame["copy"] / 24
    return frame, (chance + random.normal(size=count) > 1).to_numpy().astype(int)


def _estimator() -> Pipeline:
    encode = ColumnTransformer(
        [
            ("number", "passthrough", ["copy", "dep delay"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        ],
        sparse_threshold=0,
    )
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=20, random_state=0))


def _onnx(estimator: Pipeline) -> bytes:
    inputs = [(c.name, _TYPES[c.type]([None, 1])) for c in COLUMNS]
    options = {id(estimator): {"zipmap": False}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own, about numpy
        graph = to_onnx(estimator, initial_types=inputs, options=options, target_opset=18)
    return bytes(graph.SerializeToString())


def _manifest(
    frame: pd.DataFrame, content: bytes, kind: Kind, digest: str, project: str
) -> ArtifactManifest:
    numbers = frame.head(5).astype(object)
    sample: list[Any] = numbers.where(numbers.notna(), None).to_dict(orient="records")
    sample.append({"copy": 3, "dep delay": None, "carrier": "never seen"})
    draft = ArtifactManifest(
        project=project,
        format=kind,
        file="model.onnx" if kind == "onnx" else "model.skops",
        sha256=digest,
        columns=COLUMNS,
        target="late",
        sample=sample,
        expected=[0.0] * len(sample),
        trained=Trained(as_of="2013-03-01", fingerprint="0" * 16),
    )
    predictor = (OnnxPredictor if kind == "onnx" else SklearnPredictor)(draft, content)
    return draft.model_copy(update={"expected": predictor(draft.sample)})
