"""What a serving process is told through its environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServingSettings(BaseSettings):
    """One pinned model and how to answer with it; read once, when the process starts."""

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_", frozen=True, protected_namespaces=())

    project: str = Field(description="the project whose model this is")
    model_uri: str = Field(description="the artifact's manifest, or its folder")
    model_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the model file")
    model_version: str = Field(min_length=1, description="registered version, told to callers")
    variant: str = Field(default="champion", description="the role of this model: a label only")
    host: str = "0.0.0.0"  # noqa: S104 - a pod's port is guarded by its network policy
    port: int = Field(default=8080, ge=0, le=65535)
    max_rows: int = Field(default=1000, ge=1, description="most rows that one request may hold")
    max_body_bytes: int = Field(default=4 << 20, ge=1024, description="longest request body")
    drain_seconds: float = Field(
        default=3.0, ge=0, description="how long to go on answering after the order to stop"
    )
