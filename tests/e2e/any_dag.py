"""Runs of any DAG of the release, where `tests/e2e/release.py` knows only the training pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from k8s.access import Airflow
from tests.e2e.release import wait_until

DAGS = (
    "etl_feature_engineering",
    "ml_training_pipeline",
    "ml_model_deployment_advanced",
    "batch_prediction_pipeline",
    "model_monitoring_pipeline",
)
"""All of them, in the order in which a day goes through them."""


def run_ids_by_features(client: Airflow, dag_id: str) -> set[str]:
    """Return the runs of a DAG that features have started so far."""
    found = client.get(
        f"/dags/{dag_id}/dagRuns", run_type="asset_triggered", limit=100, order_by="-id"
    )
    return {run["dag_run_id"] for run in found["dag_runs"]}


@dataclass(frozen=True)
class Run:
    """One run of one DAG."""

    client: Airflow
    dag_id: str
    run_id: str

    @classmethod
    def start(
        cls,
        client: Airflow,
        dag_id: str,
        day: str,
        project: str = "flights",
        *,
        dated: bool = False,
    ) -> Run:
        """Start a new run for a day; `dated` makes the day its logical date, else a parameter."""
        client.unpause(dag_id)
        run_id = f"test__{day}__{time.time_ns()}"
        # A time of the day that no run had before: a DAG has one run for a logical date.
        logical = f"{day}T{datetime.now(UTC):%H:%M:%S.%f}Z" if dated else None
        conf = {"project": project} | ({} if dated else {"as_of": day})
        client.trigger(dag_id, run_id, logical, conf)
        return cls(client, dag_id, run_id)

    @classmethod
    def started_by_features(cls, client: Airflow, dag_id: str, known: set[str]) -> Run:
        """Wait until features start a run that is not among the known ones."""

        def new() -> str | None:
            return next(iter(run_ids_by_features(client, dag_id) - known), None)

        return cls(client, dag_id, wait_until(f"features to start {dag_id}", new, 60))

    @property
    def path(self) -> str:
        """Return the run's path in Airflow's API."""
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Return the run's task instances."""
        return self.client.task_instances(self.dag_id, self.run_id)

    @property
    def states(self) -> dict[str, str]:
        """Return each task's state."""
        return {task["task_id"]: str(task["state"]) for task in self.tasks}

    def finished(self, timeout_s: float = 900) -> str:
        """Wait for the run to finish and return its state."""

        def state() -> str | None:
            found = str(self.client.get(self.path)["state"])
            return found if found in ("success", "failed") else None

        return wait_until(f"{self.run_id} of {self.dag_id} to finish", state, timeout_s)

    def results(self) -> dict[str, Any]:
        """Return what each task that ended well handed over, if anything."""
        found = {}
        for task in self.tasks:
            path = f"{self.path}/taskInstances/{task['task_id']}/xcomEntries"
            params = {"map_index": task["map_index"]}
            entries = self.client.get(path, **params)["xcom_entries"]
            if any(entry["key"] == "return_value" for entry in entries):
                one = self.client.get(f"{path}/return_value", deserialize="true", **params)
                found[task["task_id"]] = one["value"]
        return found

    def clear(self, task_id: str) -> None:
        """Clear one task and what comes after it."""
        body = {
            "dag_run_id": self.run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": False,
            "dry_run": False,
        }
        answer = self.client.send("POST", f"/dags/{self.dag_id}/clearTaskInstances", body)
        answer.raise_for_status()

    @property
    def seconds(self) -> float:
        """Return how long the run took, from its start to its end."""
        run = self.client.get(self.path)
        started, ended = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
        return (ended - started).total_seconds()
