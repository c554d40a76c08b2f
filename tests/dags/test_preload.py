"""The scheduler has the Kubernetes clients in memory before it forks the first task."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.dags.conftest import DAGS

START = """
import sys
sys.argv = ["airflow", sys.argv[1]]
from airflow.jobs.job import Job
Job()
print("adapter.pods.pod_stage" in sys.modules)
"""


@pytest.mark.parametrize(
    ("component", "loaded"),
    [("scheduler", "True"), ("dag-processor", "True"), ("api-server", "False")],
)
def test_forking_processes_import_the_adapter(component: str, loaded: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DAGS.parent), str(DAGS)])}
    command = [sys.executable, "-c", START, component]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == loaded, done.stderr
