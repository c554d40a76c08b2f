"""Imports, once and in the parent, what the processes forked from it would each import again.

Launching a stage forks from the scheduler, and parsing a DAG file from the DAG processor. The
Kubernetes clients take seconds to import; a fork that finds them there starts at once and shares
their memory.
"""

from __future__ import annotations

import importlib
import sys

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

DAG_FILES = (
    "adapter.pods.pod_stage",
    "adapter.graph",
    "adapter.schedule.project_facts",
    "adapter.gate.deployment_gate",
    "adapter.gate.training_gate",
)
# A worker of the scheduler also looks for partitions and uploads the tasks' logs.
FORKING = {
    "scheduler": (*DAG_FILES, "airflow.providers.amazon.aws.hooks.s3"),
    "dag-processor": DAG_FILES,
}


class Preload:
    """Listens for the start of an Airflow process."""

    @hookimpl
    def on_starting(self, component: object) -> None:  # noqa: ARG002 - Airflow's signature
        """Import the modules when this is a process that forks.

        The command line tells: the component itself does not know its kind this early.
        """
        for module in FORKING.get("".join(sys.argv[1:2]), ()):
            importlib.import_module(module)


class PreloadPlugin(AirflowPlugin):
    """Registers the listener with Airflow."""

    name = "preload"
    listeners = [Preload()]  # noqa: RUF012 - Airflow wants a list
