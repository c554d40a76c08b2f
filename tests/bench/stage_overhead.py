"""How much time a training run spends outside its stages' own code, stage by stage.

    python -m tests.bench.stage_overhead [--run RUN_ID] [--json]

A stage's span begins when the last task before it ended and lasts until the stage's own task
has ended, both as Airflow wrote them down. Its container's time, as the kubelet wrote it down, is
the stage's own; all else is overhead: scheduling, launching, starting the pod, noticing its end.
Kubernetes keeps whole seconds, so a single row is right to one second; the median is closer.
Without `--run` it is the latest successful run.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import median
from typing import Any

from k8s.access import AccessError, Airflow, airflow, kubectl_json
from k8s.demo import DAG_ID

LIMIT_S = 4.0


@dataclass(frozen=True)
class Overhead:
    """The seconds of one stage: its own, and what each step around it cost.

    `launch` is from the end of the task before to the start of this one, `start` from there to
    the start of the container, `notice` from the container's end to the end of the task.
    """

    stage: str
    launch: float
    start: float
    own: float
    notice: float

    @property
    def overhead(self) -> float:
        """Return all seconds that are not the stage's own."""
        return self.launch + self.start + self.notice


def overheads(
    tasks: list[dict[str, Any]], upstream: dict[str, set[str]], pods: list[dict[str, Any]]
) -> list[Overhead]:
    """Return one row per stage that ran as a pod, in the order in which they ran.

    `tasks` are Airflow's task instances, `upstream` the tasks right before each task.
    """
    by_id = {task["task_id"]: task for task in tasks}
    # A task that was tried again has several pods: its times are those of the last.
    last = {task_of(pod): pod for pod in sorted(pods, key=created)}
    rows = []
    for task_id, pod in sorted(last.items(), key=lambda item: created(item[1])):
        task = by_id[task_id]
        ends = [by_id[before]["end_date"] for before in upstream[task_id]]
        rows.append(_row(task, max(seconds(end) for end in ends if end), pod))
    return rows


def _row(task: dict[str, Any], runnable: float, pod: dict[str, Any]) -> Overhead:
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    started, finished = seconds(ended["startedAt"]), seconds(ended["finishedAt"])
    launched = seconds(task["start_date"])
    return Overhead(
        stage=pod["metadata"]["labels"]["slipway.dev/stage"],
        launch=round(launched - runnable, 2),
        start=round(started - launched, 2),
        own=round(finished - started, 2),
        notice=round(seconds(task["end_date"]) - finished, 2),
    )


def task_of(pod: dict[str, Any]) -> str:
    """Return the task that a pod was started for."""
    return str(pod["metadata"]["labels"]["slipway.dev/task"])


def created(pod: dict[str, Any]) -> str:
    """Return when a pod was made, as a text that sorts."""
    return str(pod["metadata"]["creationTimestamp"])


def seconds(when: str) -> float:
    """Return an ISO time as Unix seconds."""
    return datetime.fromisoformat(when).timestamp()


def upstream_of(client: Airflow) -> dict[str, set[str]]:
    """Return, for each task of the DAG, the tasks right before it."""
    tasks = client.get(f"/dags/{DAG_ID}/tasks")["tasks"]
    before: dict[str, set[str]] = {task["task_id"]: set() for task in tasks}
    for task in tasks:
        for after in task["downstream_task_ids"]:
            before[after].add(task["task_id"])
    return before


def latest_run(client: Airflow) -> str:
    """Return the id of the run that started last among the successful ones."""
    found = client.get(f"/dags/{DAG_ID}/dagRuns", state="success", order_by="-start_date", limit=1)[
        "dag_runs"
    ]
    if not found:
        raise AccessError(f"{DAG_ID} has no successful run yet; run `make demo`")
    return str(found[0]["dag_run_id"])


def run_of(pod: dict[str, Any]) -> str | None:
    """Return the run a pod belongs to; its label may be shortened, its variable is not."""
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
    return env.get("SLIPWAY_AIRFLOW_RUN_ID")


def measure(run_id: str | None) -> list[Overhead]:
    """Ask Airflow and Kubernetes about a run, whose pods must still be there."""
    with airflow() as client:
        run_id = run_id or latest_run(client)
        tasks = client.task_instances(DAG_ID, run_id)
        upstream = upstream_of(client)
    found = kubectl_json("get", "pods", "-l", f"slipway.dev/dag={DAG_ID}")["items"]
    pods = [pod for pod in found if run_of(pod) == run_id]
    if not pods:
        raise AccessError(f"run {run_id} has no pods any more; measure a run right after its end")
    return overheads(tasks, upstream, pods)


def table(rows: list[Overhead]) -> str:
    """Return the rows as text, with the median under them."""
    lines = [f"{'stage':<16}{'launch':>8}{'start':>8}{'own':>8}{'notice':>8}{'overhead':>10}"]
    lines += [
        f"{row.stage:<16}{row.launch:>8.2f}{row.start:>8.2f}{row.own:>8.2f}{row.notice:>8.2f}"
        f"{row.overhead:>10.2f}"
        for row in rows
    ]
    middle = median(row.overhead for row in rows)
    return "\n".join([*lines, f"{'median':<48}{middle:>10.2f} s (at most {LIMIT_S:.0f} s)"])


def main() -> int:
    """Print the table, or JSON; return 1 when the median is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", help="id of the run; the latest successful one when not given")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    try:
        rows = measure(options.run)
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    middle = round(median(row.overhead for row in rows), 2)
    as_json = {
        "median_s": middle,
        "stages": [asdict(row) | {"overhead": row.overhead} for row in rows],
    }
    print(json.dumps(as_json) if options.json else table(rows))
    return 0 if middle <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
