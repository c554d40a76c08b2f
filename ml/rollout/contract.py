"""What a deployed model must do: agreed before it is deployed, and held against it afterwards."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ml.serving.manifest import ArtifactManifest, Scalar

CONTRACT = "contract"
"""The name of the contract among the outputs of build_artifacts."""


class Contract(BaseModel):
    """One version's promise to its callers; `sample` must score as `expected`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str
    version: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    # The JSON schema of one row, as the served OpenAPI document must show it.
    row: dict[str, Any]
    sample: list[dict[str, Scalar]] = Field(min_length=1)
    expected: list[float] = Field(min_length=1)

    @classmethod
    def of(cls, manifest: ArtifactManifest, version: str) -> Contract:
        """Write the contract of a registered version from what its artifact says of itself."""
        from ml.serving.rows import row_schema

        return cls(
            project=manifest.project,
            version=version,
            sha256=manifest.sha256,
            row=row_schema(manifest),
            sample=manifest.sample,
            expected=manifest.expected,
        )
