"""A pod that is told of runs, as a chat's or a ticket system's webhook would be."""

from __future__ import annotations

import json
import time
from typing import Any

import yaml

from k8s.access import AccessError, kubectl, kubectl_json
from tests.e2e.release import pods, wait_until

NAME = "notices-receiver"
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


def start_receiver() -> dict[str, Any]:
    """Start the pod, and return the values of a release that tells it of runs."""
    kubectl("delete", "pod,secret", NAME, "--ignore-not-found", "--grace-period=0", "--force")
    kubectl("create", "-f", "-", stdin=json.dumps(_pod()))
    kubectl("wait", "pod", NAME, "--for=condition=Ready", "--timeout=60s")
    address = f"json://{ip()}:{PORT}/hook"
    kubectl("create", "secret", "generic", NAME, f"--from-literal=addresses={address}")
    return {"existingSecret": NAME, "ports": [PORT]}


def _pod() -> dict[str, Any]:
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


def ip() -> str:
    """Return the pod's address."""
    return str(kubectl_json("get", "pod", NAME)["status"]["podIP"])


def received() -> list[dict[str, Any]]:
    """Return what was posted, in order; the rest of the pod's log is about requests."""
    lines = kubectl("logs", NAME).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def told_of(run_id: str) -> list[dict[str, Any]]:
    """Wait for word of a run, and for a second one, which would come at once."""
    wait_until("the notice", lambda: any(run_id in str(post) for post in received()), 120)
    time.sleep(3)
    return [post for post in received() if run_id in str(post)]


def reaches(process: str) -> bool:
    """Whether the only one left of a process, the one before being gone, reaches the receiver."""
    found = pods(f"app.kubernetes.io/component=airflow-{process}")
    if len(found) != 1:
        return False
    connect = f"import socket; socket.create_connection(('{ip()}', {PORT}), 2)"
    into = ["exec", found[0]["metadata"]["name"], "-c", process, "--"]
    try:
        kubectl(*into, "python", "-c", connect)
    except AccessError:
        return False
    return True
