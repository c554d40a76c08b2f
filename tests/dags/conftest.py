"""An Airflow of the tests' own: its home in a temporary folder, its database an SQLite file."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).parents[2]
DAGS = REPO / "dags"
HOME = Path(tempfile.mkdtemp(prefix="slipway-airflow-"))

# Airflow reads its configuration when it is first imported, so this comes before any such import.
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
}
sys.path[:0] = [str(DAGS), str(DAGS / "plugins"), str(REPO)]
