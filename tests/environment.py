"""The environment of a command that a test runs as a person would, on a laptop of its own."""

from __future__ import annotations

import os


def plain_environment() -> dict[str, str]:
    """Return this process's environment without our settings and MLflow's.

    A stage that another test ran in this process has named an MLflow of its own to all.
    """
    return {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY", "MLFLOW"))}
