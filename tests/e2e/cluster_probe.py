"""Small pods that listen and connect, to ask a cluster what its network really does."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
IMAGE = "slipway/probe:bookworm"
BASE_IMAGE = "debian:bookworm-slim"
PORT = 8080
CONNECT_SECONDS = 3
READY_SECONDS = 90
# Perl is in every Debian image: answers each connection with its own name.
SERVER = (
    "use IO::Socket::INET; $SIG{TERM} = sub { exit };"
    f" my $s = IO::Socket::INET->new(LocalPort => {PORT}, Listen => 9, ReuseAddr => 1) or die $!;"
    " while (my $c = $s->accept) { print $c `hostname`; close $c }"
)


def load_image(cluster: str) -> None:
    """Put the probe's image on every node of the cluster."""
    subprocess.run([REPO / "k8s/engine/base-image"], check=True)
    subprocess.run(["docker", "tag", BASE_IMAGE, IMAGE], check=True)
    subprocess.run(
        ["kind", "load", "docker-image", "--quiet", "--name", cluster, IMAGE], check=True
    )


@dataclass(frozen=True)
class Cluster:
    """One kubeconfig context and a namespace in it."""

    context: str
    namespace: str

    @property
    def _kubectl(self) -> list[str]:
        return ["kubectl", "--context", self.context, "--namespace", self.namespace]

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed; its complaint is the error."""
        command = [*self._kubectl, *args]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *args: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *args, "-o", "json"))
        return found

    def apply(self, *manifests: dict[str, Any]) -> None:
        listing = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listing))

    def wait_ready(self, *pods: str) -> None:
        names = [f"pod/{pod}" for pod in pods]
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={READY_SECONDS}s", *names)

    def shell(self, pod: str, script: str) -> tuple[int, str]:
        """Run a script in a pod; return its exit code and output."""
        done = subprocess.run(
            [*self._kubectl, "exec", pod, "--", "bash", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    def connect(self, pod: str, host: str) -> str:
        """Return the name that answers, or `timed out`, or `refused or unknown`."""
        script = f"timeout {CONNECT_SECONDS} bash -c 'cat </dev/tcp/{host}/{PORT}'"
        code, answer = self.shell(pod, script)
        if code == 124:  # what timeout(1) says of a command it had to end
            return "timed out"
        return answer if code == 0 else "refused or unknown"


def pod(name: str, node: str | None = None, **spec: Any) -> dict[str, Any]:
    """Return a pod that listens, labelled with its name, on a node of one's choice."""
    container = {
        "name": "probe",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["perl", "-e", SERVER],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    } | spec.pop("container", {})
    place = {"nodeName": node} if node else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"probe": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0} | place | spec,
    }


def service(name: str) -> dict[str, Any]:
    """Return a Service in front of the pod of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"probe": name}, "ports": [{"port": PORT}]},
    }


def policy(name: str, **spec: Any) -> dict[str, Any]:
    """Return a NetworkPolicy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }
