"""What Helm asks of a cluster's API while it renders, answered with the objects of a test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from tests.chart.rendering import Object

FORBIDDEN: Object = {"forbidden": True}
"""In place of an object: who asks may not see it."""
_KINDS = {
    "v1": ("ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "batch/v1": ("CronJob", "Job"),
    "discovery.k8s.io/v1": ("EndpointSlice",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding"),
}


@contextmanager
def kubernetes_api(objects: Mapping[str, Object], folder: Path) -> Iterator[Path]:
    """Serve objects by their paths, such as `/api/v1/namespaces/default/services/kubernetes`.

    Gives the file by which Helm finds it.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, answer = _answer(self.path.partition("?")[0], objects)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield _kubeconfig(f"http://127.0.0.1:{server.server_address[1]}", folder)
    finally:
        server.shutdown()
        server.server_close()


def _kubeconfig(url: str, folder: Path) -> Path:
    file = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": url}}],
        "users": [{"name": "one", "user": {"token": "any"}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
    file.write_text(yaml.safe_dump(config))
    return file


def _answer(path: str, objects: Mapping[str, Object]) -> tuple[int, Object]:
    if path == "/version":
        return 200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return 200, {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [_group(version) for version in _KINDS if "/" in version]
        return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version in _KINDS:
        found = [_resource(kind) for kind in _KINDS[version]]
        return 200, {"kind": "APIResourceList", "groupVersion": version, "resources": found}
    if path not in objects:
        return 404, _status(404, "NotFound", f"{path} not found")
    if objects[path] is FORBIDDEN:
        *_, kind, name = path.split("/")
        return 403, _status(403, "Forbidden", f'{kind} "{name}" is forbidden: User "me" cannot get')
    return 200, objects[path]


def _group(group_version: str) -> Object:
    group, _, version = group_version.partition("/")
    entry = {"groupVersion": group_version, "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _resource(kind: str) -> Object:
    plural = "networkpolicies" if kind == "NetworkPolicy" else f"{kind.lower()}s"
    return {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get", "list"]}


def _status(code: int, reason: str, message: str) -> Object:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return status | {"message": message, "reason": reason, "code": code}
