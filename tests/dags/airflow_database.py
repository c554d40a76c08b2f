"""Airflow's database for tests: made once for the versions in `uv.lock`, and copied from then on.

Its hundred migrations take longer than most tests, and their outcome is always the same. What was
made is kept where the built tools are, outside the checkout.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).parents[2]


def copy_database(target: Path) -> None:
    """Put a migrated and otherwise empty database at a path, as `airflow db migrate` makes it."""
    shutil.copyfile(migrated(), target)


def migrated() -> Path:
    """Return a migrated database, making it when these versions have none yet."""
    key = hashlib.sha256((REPO / "uv.lock").read_bytes()).hexdigest()[:16]
    file = cache() / "airflow-db" / f"{key}.sqlite"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            migrate(file)
    return file


def cache() -> Path:
    """Return where things that can be made again are kept, as `k8s/env` has it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SLIPWAY_CACHE") or Path(base, "slipway"))


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process at a time go on."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def migrate(file: Path) -> None:
    """Make the database; whoever is interrupted leaves none."""
    with tempfile.TemporaryDirectory(dir=file.parent) as home:
        made = Path(home, "airflow.db")
        env = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW")}
        env |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{made}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=300)
        made.rename(file)
