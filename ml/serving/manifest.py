"""What stands beside a model file: enough to serve it, test it and tell where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FeatureType = Literal["int", "float", "str", "bool"]
ModelFormat = Literal["onnx", "sklearn", "cloudpickle"]
Scalar = int | float | str | bool | None
Row = Mapping[str, object]


class Column(BaseModel):
    """One input of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    type: FeatureType
    nullable: bool = False


class Trained(BaseModel):
    """The training run that made the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: str
    fingerprint: str
    # The last day the model learnt from; a fair test for it starts after.
    train_until: str = ""


class ArtifactManifest(BaseModel):
    """The `manifest.json` of a published model; `sample` must score as `expected`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = Field(pattern="^[a-z][a-z0-9_-]*$")
    format: ModelFormat
    file: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    columns: list[Column] = Field(min_length=1)
    target: str
    sample: list[dict[str, Scalar]]
    expected: list[float]
    trained: Trained

    @model_validator(mode="after")
    def _one_score_per_row(self) -> ArtifactManifest:
        if len(self.sample) != len(self.expected):
            raise ValueError("sample and expected must have the same length")
        return self
