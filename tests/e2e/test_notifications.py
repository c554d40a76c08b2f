"""A run on the cluster that fails, or is late, is told to a receiver once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.access import AccessError, Airflow, kubectl, kubectl_json
from k8s.demo import AS_OF
from k8s.demo import DAG_ID as TRAINING
from tests.e2e.release import (
    finished_run,
    pods,
    run_state,
    sql,
    train,
    upgrade,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

NAME = "notices-receiver"
DAG_ID = "batch_prediction_pipeline"
PORT = 8080
RECEIVE = f"""
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", {PORT}), Handler).serve_forever()
"""

# Airflow sets a deadline hours ahead; that time is all that is made up.
DUE_NOW = """
update deadline set deadline_time = now() from dag_run
where dag_run.id = deadline.dagrun_id and dag_run.run_id like 'late\\_\\_%' and not missed
returning 1
"""


def receiver_pod() -> dict[str, Any]:
    """Return a pod that prints what is posted to it, from the image that stages have."""
    template = yaml.safe_load(kubectl_json("get", "cm", "slipway-stage-pods")["data"]["data.yaml"])
    base = template["spec"]["containers"][0]
    kept = ("image", "imagePullPolicy", "securityContext", "resources")
    container = {name: base[name] for name in kept if name in base}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": template["spec"]["securityContext"],
            "containers": [{"name": "base", "command": ["python", "-c", RECEIVE], **container}],
        },
    }


def received() -> list[dict[str, Any]]:
    """Return what was posted, in order; the rest of the pod's log is about requests."""
    lines = kubectl("logs", NAME).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def reaches(process: str, ip: str) -> bool:
    """Whether the only one left of a process, the one before being gone, reaches the receiver."""
    found = pods(f"app.kubernetes.io/component=airflow-{process}")
    if len(found) != 1:
        return False
    connect = f"import socket; socket.create_connection(('{ip}', {PORT}), 2)"
    into = ["exec", found[0]["metadata"]["name"], "-c", process, "--"]
    try:
        kubectl(*into, "python", "-c", connect)
    except AccessError:
        return False
    return True


@pytest.fixture
def told(client: Airflow, tmp_path: Path) -> Iterator[Airflow]:
    """A release that tells a receiver in the cluster how runs end."""
    kubectl("apply", "-f", "-", stdin=json.dumps(receiver_pod()))
    kubectl("wait", "pod", NAME, "--for=condition=Ready", "--timeout=120s")
    ip = kubectl_json("get", "pod", NAME)["status"]["podIP"]
    address = f"json://{ip}:{PORT}/hook"
    kubectl("create", "secret", "generic", NAME, f"--from-literal=addresses={address}")
    notifications = {"existingSecret": NAME, "ports": [PORT]}
    upgrade({"airflow": {"notifications": notifications}}, tmp_path)
    # A notice is sent once: not before each of the two that send any is let through.
    for process in ("scheduler", "triggerer"):
        wait_until(f"the {process} to reach the receiver", partial(reaches, process, ip), 120)
    yield client
    upgrade({"airflow": {"notifications": {"existingSecret": "", "ports": [443]}}}, tmp_path)
    kubectl("delete", "pod,secret", NAME, "--ignore-not-found", "--wait=false")


def test_failed_run_is_told_once_with_its_reason_and_links(told: Airflow) -> None:
    run_id = f"told__{time.time():.0f}"
    told.unpause(DAG_ID)
    told.trigger(DAG_ID, run_id, None, {"first": "2013-03-02", "last": "2013-03-01"})
    wait_until(
        "the run to fail",
        lambda: told.get(f"/dags/{DAG_ID}/dagRuns/{run_id}")["state"] == "failed",
        240,
    )
    wait_until("the notice", lambda: any(run_id in str(post) for post in received()), 60)
    time.sleep(5)  # a second one would come at once
    (notice,) = [post for post in received() if run_id in str(post)]
    assert notice["type"] == "failure"
    assert notice["title"].startswith("failure: flights ")
    assert "Why: `days: 'first', 2013-03-02, is after 'last', 2013-03-01`" in notice["message"]
    assert f"/dags/{DAG_ID}/runs/{run_id}/tasks/days" in notice["message"]
    logs = kubectl("logs", "deploy/slipway-airflow-scheduler", "-c", "scheduler", "--since=5m")
    assert "sent the notice" in logs
    assert "json://" not in logs


def test_late_run_is_told_while_it_goes_on(told: Airflow) -> None:
    know_how_long_a_run_takes(told)
    run_id = train(told, "flights", "2013-11-29", "late")  # a day that never lands: it waits
    try:
        wait_until("a deadline", lambda: sql(DUE_NOW, "airflow").strip() or None, 60)
        wait_until("the notice", lambda: any(run_id in str(post) for post in received()), 120)
        time.sleep(5)  # a second one would come at once
        (notice,) = [post for post in received() if run_id in str(post)]
        assert notice["title"] == f"late: flights 2013-11-29 ({TRAINING})"
        assert notice["type"] == "warning"
        assert run_state(told, run_id) == "running"
    finally:
        told.send("PATCH", f"/dags/{TRAINING}/dagRuns/{run_id}", {"state": "failed"})


def know_how_long_a_run_takes(client: Airflow) -> None:
    """Make sure of three green runs: from the third on, there are deadlines."""
    green = client.get(f"/dags/{TRAINING}/dagRuns", state="success", limit=3)["dag_runs"]
    for _ in range(3 - len(green)):
        assert finished_run(client, train(client, "flights", AS_OF, "usual")) == "success"


def test_stages_have_a_pool_of_the_charts_size(client: Airflow) -> None:
    pool = client.get("/pools/stages")
    assert (pool["slots"], pool["include_deferred"]) == (8, True)


def test_versions_of_dags_name_the_image_they_came_from(client: Airflow) -> None:
    read = ["exec", "deploy/slipway-airflow-scheduler", "-c", "scheduler", "--", "printenv"]
    revision = kubectl(*read, "SLIPWAY_REVISION").strip()
    for dag in client.get("/dags")["dags"]:
        found = client.get(f"/dags/{dag['dag_id']}/dagVersions")["dag_versions"]
        newest = max(found, key=lambda version: int(version["version_number"]))
        assert newest["bundle_version"] == revision, dag["dag_id"]
