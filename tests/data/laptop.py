"""A laptop of a test's own: the flights with other settings, and `python -m ml` as typed there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.environment import plain_environment

REPO = Path(__file__).parents[2]


def copy_flights(folder: Path, changes: Mapping[str, str]) -> None:
    """Put the project `flights` into the folder, with parts of its YAML replaced."""
    project = folder / "projects/flights"
    shutil.copytree(REPO / "ml/projects/flights", project)
    text = (project / "project.yaml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (project / "project.yaml").write_text(text)


def ml(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command with the folder's own projects; return the result that it left."""
    settings = {
        "PYTHONPATH": str(REPO),
        "SLIPWAY_PROJECTS_PATH": str(folder / "projects"),
        "SLIPWAY_RESULT_PATH": str(folder / "result.json"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "ml", *arguments],
        cwd=folder,
        env=plain_environment() | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = folder / "result.json"
    return dict(json.loads(result.read_text())) if result.exists() else {}
