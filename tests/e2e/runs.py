"""Runs of the release's DAGs: started, waited for, and asked what they did."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from k8s.access import Airflow
from tests.e2e.release import pods, wait_until

ETL = "etl_feature_engineering"
TRAINING = "ml_training_pipeline"
ADVANCED = "ml_model_deployment_advanced"
SCORING = "batch_prediction_pipeline"
MONITORING = "model_monitoring_pipeline"
DAGS = (ETL, TRAINING, SCORING, MONITORING, ADVANCED)
"""All of them, in an order in which a day can go through them."""
ENDED = ("success", "failed")
STAGES = ("ingest", "validate", "build_features", "split", "train", "evaluate", "register")
"""Those that every training goes through."""
TASK_OF = {
    **{stage: f"data_preparation.{stage}" for stage in STAGES[:4]},
    **{stage: f"training_evaluation.{stage}" for stage in STAGES[4:]},
}
"""The task of each of them in the training pipeline."""


def wait_until_known(client: Airflow, project: str, dag_ids: Iterable[str] = DAGS) -> None:
    """Wait until the DAGs' forms offer the project: nodes look for new ones once a minute."""

    def known(dag_id: str) -> bool:
        params = client.get(f"/dags/{dag_id}/details")["params"]
        return project in params["project"]["schema"].get("enum", [])

    for dag_id in dag_ids:
        wait_until(f"{dag_id} to know {project}", lambda: known(dag_id), 240)  # noqa: B023


def ids_by_features(client: Airflow, dag_id: str) -> set[str]:
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
        day: str | None,
        project: str = "flights",
        *,
        dated: bool = False,
        between: tuple[str, str] | None = None,
    ) -> Run:
        """Start a new run for a day; `dated` makes the day its logical date, else a parameter.

        `between` is the first and last day of a run for several.
        """
        client.unpause(dag_id)
        run_id = f"test__{project}__{day}__{time.time_ns()}"
        # A time of the day that no run had before: a DAG has one run for a logical date.
        logical = f"{day}T{datetime.now(UTC):%H:%M:%S.%f}Z" if dated else None
        conf = {"project": project}
        conf |= {"as_of": day} if day and not dated else {}
        conf |= dict(zip(("first", "last"), between or (), strict=False))
        client.trigger(dag_id, run_id, logical, conf)
        return cls(client, dag_id, run_id)

    @property
    def path(self) -> str:
        """Return the run's path in Airflow's API."""
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    @property
    def state(self) -> str:
        """Return the run's state."""
        return str(self.client.get(self.path)["state"])

    @property
    def began(self) -> datetime:
        """Return when the run began."""
        return datetime.fromisoformat(self.client.get(self.path)["start_date"])

    @property
    def seconds(self) -> float:
        """Return how long the run took, from its start to its end."""
        ended = datetime.fromisoformat(self.client.get(self.path)["end_date"])
        return (ended - self.began).total_seconds()

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Return the run's task instances."""
        return self.client.task_instances(self.dag_id, self.run_id)

    @property
    def states(self) -> dict[str, str]:
        """Return each task's state."""
        return {task["task_id"]: str(task["state"]) for task in self.tasks}

    @property
    def tries(self) -> dict[str, int]:
        """Return how often each task was tried."""
        return {task["task_id"]: int(task["try_number"]) for task in self.tasks}

    def finished(self, timeout_s: float = 480) -> str:
        """Wait for the run to finish and return its state."""

        def ended() -> str | None:
            found = self.state
            return found if found in ENDED else None

        return wait_until(f"{self.run_id} of {self.dag_id} to finish", ended, timeout_s)

    def green(self) -> Run:
        """Wait for the end of the run, and return it when it is green."""
        assert self.finished() == "success", f"{self.run_id} of {self.dag_id}: {self.states}"
        assert "failed" not in self.states.values(), self.states
        return self

    def result(self, task_id: str, index: int = -1) -> Any:  # noqa: ANN401 - a task's own
        """Return what a task, or one of its mapped ones, handed over."""
        path = f"{self.path}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self.client.get(path, map_index=index, deserialize="true")["value"]
        return json.loads(value) if isinstance(value, str) and value.startswith("{") else value

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Return what each stage that ended well handed over, of a mapped one each part's."""
        found: dict[str, list[dict[str, Any]]] = {}
        for task in sorted(self.tasks, key=lambda task: task["map_index"]):
            path = f"{self.path}/taskInstances/{task['task_id']}/xcomEntries"
            entries = self.client.get(path, map_index=task["map_index"])["xcom_entries"]
            if any(entry["key"] == "return_value" for entry in entries):
                value = self.result(task["task_id"], task["map_index"])
                if isinstance(value, dict):
                    found.setdefault(task["task_id"], []).append(value)
        return found

    def records(self) -> dict[str, list[str]]:
        """Return the addresses of the records that each task named."""
        named = {
            task_id: [value["record"] for value in values if "record" in value]
            for task_id, values in self.results().items()
        }
        return {task_id: records for task_id, records in named.items() if records}

    def log(self, task_id: str, index: int = -1) -> str:
        """Return the last try's log, as the UI would show it."""
        path = f"{self.path}/taskInstances/{task_id}"
        tries = self.tries[task_id]
        found = self.client.get(f"{path}/logs/{tries}", map_index=index, full_content="true")
        return json.dumps(found["content"])

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

    def end(self) -> None:
        """End the run by hand, as failed."""
        self.client.send("PATCH", self.path, {"state": "failed"}).raise_for_status()

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of the run's stages."""
        found = pods(f"slipway.dev/dag={self.dag_id}")
        return [pod for pod in found if run_of(pod) == self.run_id]

    def pods_by_stage(self) -> Counter[str]:
        """Count the run's pods by the stage that they were started for."""
        return Counter(pod["metadata"]["labels"]["slipway.dev/stage"] for pod in self.pods())


def run_of(pod: dict[str, Any]) -> str | None:
    """Return the run a pod belongs to; its label may be shortened, its variable is not."""
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0].get("env", [])}
    found: str | None = env.get("SLIPWAY_AIRFLOW_RUN_ID")
    return found


def backfill(
    client: Airflow, dag_id: str, first: str, last: str, conf: dict[str, str] | None = None
) -> list[Run]:
    """Start a DAG for a range of days, as many at once as it allows; return its runs by day."""
    client.unpause(dag_id)
    between = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
    at_once = client.get(f"/dags/{dag_id}/details")["max_active_runs"]
    # Also days that an earlier run of these tests has done.
    how = {"max_active_runs": at_once, "reprocess_behavior": "completed", "dag_run_conf": conf}
    answer = client.send("POST", "/backfills", {"dag_id": dag_id} | between | how)
    assert answer.status_code == 200, answer.text
    found = client.get(
        f"/dags/{dag_id}/dagRuns",
        logical_date_gte=between["from_date"],
        logical_date_lte=between["to_date"],
        run_type="backfill",
        order_by="logical_date",
    )["dag_runs"]
    return [Run(client, dag_id, run["dag_run_id"]) for run in found]
