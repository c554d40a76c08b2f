"""`make demo`, once the release is installed: data, a training run, a prediction, next steps."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx

from k8s.access import (
    NAMESPACE,
    AccessError,
    Airflow,
    airflow,
    mlflow,
    port_forward,
)
from k8s.stage_pod import create, ending_of, manifest, remove

DAG_ID = "ml_training_pipeline"
PROJECT = "flights"
AS_OF = "2013-03-01"
# Two months of history for the first run, and two more days to backfill.
LAND_FROM, LAND_TO = "2013-01-01", "2013-03-03"
RUN_TIMEOUT_S = 1200
LANDING_TIMEOUT_S = 300
POLL_S = 1.0
FINISHED = {"success", "failed"}


@dataclass
class Clock:
    """Elapsed seconds since the demo began, for every line printed."""

    started: float

    def say(self, text: str) -> None:
        """Print one progress line."""
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", flush=True)


def land(clock: Clock, project: str, first: str = LAND_FROM, last: str = LAND_TO) -> None:
    """Copy a project's source data into the landing bucket, from a pod; landed days stay as is.

    The pod stays only when it failed, for its log.
    """
    days = ["--from", first, "--to", last]
    name = create(manifest("land", project, ["land", "--project", project, *days]))
    clock.say(f"landing {project} {first} to {last} (pod {name})")
    ending = ending_of(name, LANDING_TIMEOUT_S)
    if ending.phase != "Succeeded":
        raise AccessError(f"landing failed: {ending.last_line} (pod {name}, {ending.phase})")
    clock.say(f"landed: {ending.last_line}")
    remove(name)


def find_run(client: Airflow, logical_date: str) -> dict[str, Any] | None:
    """Return the DAG's run for a logical date, if there is one."""
    runs: list[dict[str, Any]] = client.get(
        f"/dags/{DAG_ID}/dagRuns",
        logical_date_gte=logical_date,
        logical_date_lte=logical_date,
    )["dag_runs"]
    return runs[0] if runs else None


def start_run(client: Airflow, clock: Clock, day: str) -> str:
    """Start the day's training run, or pick up the one there is; returns its run id."""
    logical_date = f"{day}T00:00:00Z"
    client.unpause(DAG_ID)
    run = find_run(client, logical_date)
    if run is None:
        run_id = f"demo__{day}"
        client.trigger(DAG_ID, run_id, logical_date, {})
        clock.say(f"triggered {DAG_ID} for {day}")
        return run_id
    run_id = str(run["dag_run_id"])
    clock.say(f"{DAG_ID} for {day} was run before: {run_id} is {run['state']}")
    if run["state"] == "failed":
        client.send(
            "POST",
            f"/dags/{DAG_ID}/clearTaskInstances",
            {"dag_run_id": run_id, "only_failed": True, "dry_run": False},
        ).raise_for_status()
        clock.say("cleared its failed tasks to run them again")
    return run_id


def wait_for_run(client: Airflow, clock: Clock, run_id: str) -> str:
    """Print each task's progress until the run has finished; returns the run's state."""
    seen: dict[str, str] = {}
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while time.monotonic() < deadline:
        state = str(client.get(f"/dags/{DAG_ID}/dagRuns/{run_id}")["state"])
        report_tasks(client.task_instances(DAG_ID, run_id), seen, clock)
        if state in FINISHED:
            return state
        time.sleep(POLL_S)
    raise AccessError(f"run {run_id} did not finish within {RUN_TIMEOUT_S} s; see the Airflow UI")


def report_tasks(tasks: list[dict[str, Any]], seen: dict[str, str], clock: Clock) -> None:
    """Print what changed since the last look; remembers it in `seen`."""
    for task in tasks:
        state = task["state"] or "waiting"
        if state != seen.get(task["task_id"], "waiting"):
            took = f" in {task['duration']:.1f} s" if task.get("duration") else ""
            clock.say(f"  {task['task_id']:<40} {state}{took if state in FINISHED else ''}")
        seen[task["task_id"]] = state


def champion() -> tuple[str, dict[str, float]]:
    """Return the champion's version and the metrics of its training run, as MLflow has them."""
    with mlflow() as client:
        version = named(client, "champion")
        if version is None:
            raise AccessError(no_champion(named(client, "challenger")))
        run = client.get("/api/2.0/mlflow/runs/get", params={"run_id": version["run_id"]})
        run.raise_for_status()
        metrics = run.json()["run"]["data"].get("metrics", [])
    return str(version["version"]), {m["key"]: float(m["value"]) for m in metrics}


def named(client: httpx.Client, alias: str) -> dict[str, Any] | None:
    """Return the version that has a name in MLflow; None when none has."""
    answer = client.get(
        "/api/2.0/mlflow/registered-models/alias", params={"name": PROJECT, "alias": alias}
    )
    # What MLflow says of a name that no version has.
    if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND):
        return None
    return dict(answer.raise_for_status().json()["model_version"])


def no_champion(challenger: dict[str, Any] | None) -> str:
    """Say why nothing serves after a run that went well."""
    if challenger is None:
        return f"no version of {PROJECT} serves, and none was trained"
    tags = {tag["key"]: tag["value"] for tag in challenger.get("tags", [])}
    reason = tags.get("slipway.reason", "MLflow does not know why")
    return f"no version of {PROJECT} serves: version {challenger['version']} was refused: {reason}"


def example_request(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return the example request that the model server's own OpenAPI document gives."""
    for schema in openapi["components"]["schemas"].values():
        for example in schema.get("examples", []):
            if isinstance(example, dict) and "rows" in example:
                return {"rows": example["rows"][:1]}
    raise AccessError("the model server's OpenAPI document has no example request")


def predict() -> tuple[dict[str, Any], httpx.Response]:
    """Ask the deployed model for one prediction; returns the request and the response."""
    with port_forward(PROJECT, 8080) as url:
        request = example_request(httpx.get(f"{url}/openapi.json", timeout=30).json())
        answer = httpx.post(f"{url}/v1/projects/{PROJECT}/predict", json=request, timeout=30)
    answer.raise_for_status()
    return request, answer


def report(version: str, metrics: dict[str, float]) -> None:
    """Print the prediction, the model behind it, and what to do next."""
    request, answer = predict()
    shown = "  ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items()))
    print(
        f"""
Asked     POST /v1/projects/{PROJECT}/predict  {json.dumps(request)}
Answered  {answer.text}
Model     {PROJECT} version {answer.headers["x-model-version"]} (champion is {version})
Metrics   {shown}

Next
  make ui                      open Airflow, MLflow, MinIO and the model, with their passwords
  kubectl get pods -n {NAMESPACE}   the stages of the run, one pod each
  make down                    remove the cluster"""
    )


def main() -> int:
    """Run the demo; returns the exit status."""
    clock = Clock(time.monotonic())
    try:
        land(clock, PROJECT)
        with airflow() as client:
            state = wait_for_run(client, clock, start_run(client, clock, AS_OF))
        if state != "success":
            raise AccessError(f"the training run ended {state}; `make ui` shows the task's log")
        report(*champion())
    except (AccessError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
