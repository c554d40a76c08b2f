"""A small project of its own on the cluster: its models, its roll-outs, its callers."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from k8s.access import kubectl, kubectl_json
from k8s.stage_pod import Ending, create, ending_of, manifest
from ml.core.record import Record
from ml.serving.manifest import ArtifactManifest
from ml.stages import Stage
from tests.code.small_model import publish
from tests.e2e.connections import mlflow, object_store
from tests.e2e.forget import forget_models
from tests.e2e.release import version_answering, wait_until

AS_OF = date(2013, 3, 1)
TIMEOUT_S = 420
SETTLES_S = 5
"""As long as a server that is being replaced goes on answering."""


@dataclass
class Parcels:
    """A project that nothing but its tests trains and rolls out."""

    project: str = "parcels-served"
    records: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """The address of the project's predictions inside the cluster."""
        return f"http://{self.project}:8080/v1/projects/{self.project}/predict"

    def register(self, seed: int, *, spoiled: bool = False) -> str:
        """Train, upload and register a model; spoiled ones fail their own self-test."""
        with tempfile.TemporaryDirectory() as folder:
            made = publish(Path(folder), seed=seed, project=self.project)
            artifact = made.manifest
            if spoiled:
                artifact = artifact.model_copy(update={"expected": [0.5] * len(artifact.sample)})
            model = made.model.read_bytes()
        place = f"{self.project}/{artifact.sha256}"
        put("models", f"{place}/{artifact.file}", model)
        put("models", f"{place}/manifest.json", artifact.model_dump_json().encode())
        version = self._create_version(f"s3://models/{place}", artifact.sha256)
        self.records[version] = self._write_record(version, place, artifact)
        return version

    def _create_version(self, source: str, sha256: str) -> str:
        client = mlflow("stages")  # who owns what it registers
        client.post("/api/2.0/mlflow/registered-models/create", json={"name": self.project})
        told = {"slipway.artifact": source, "slipway.sha256": sha256}
        tags = [{"key": key, "value": value} for key, value in told.items()]
        answer = client.post(
            "/api/2.0/mlflow/model-versions/create",
            json={"name": self.project, "source": source, "tags": tags},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"]["version"])

    def _write_record(self, version: str, place: str, artifact: ArtifactManifest) -> str:
        facts = {
            "version": version,
            "decision": "deploy",
            "reason": "a test",
            "run_id": "",
            "artifact": f"s3://models/{place}",
            "sha256": artifact.sha256,
        }
        record = Record(
            stage=Stage.REGISTER,
            project=self.project,
            as_of=AS_OF,
            fingerprint=artifact.sha256[:16],
            facts=facts,
        )
        key = f"{self.project}/register/dt={AS_OF}/{version}/record.json"
        put("data", key, record.model_dump_json().encode())
        return f"s3://data/{key}"

    def start_roll_out(self, version: str) -> str:
        """Start a roll_out pod as the DAG does, and return its name."""
        day = ["--as-of", AS_OF.isoformat(), "--upstream", self.records[version]]
        return create(manifest("roll_out", self.project, ["roll-out", "-p", self.project, *day]))

    def roll_out(self, version: str) -> Ending:
        """Roll a version out and wait for the end."""
        return ending_of(self.start_roll_out(version), TIMEOUT_S)

    @contextmanager
    def callers(self) -> Iterator[Callers]:
        """Call the project's Service without a pause, from a pod, for the length of the block."""
        pod = manifest("roll_out", self.project, ["callers"])
        container = pod["spec"]["containers"][0]
        script = (Path(__file__).parent / "callers.py").read_text()
        body = json.dumps({"rows": [{"copy": 3, "dep delay": 0.5, "carrier": "UA"}]})
        container["command"] = ["tini", "--", "python", "-c", script, self.service, body]
        container["args"] = []
        name = create(pod)
        try:
            started(name)
            callers = Callers(name)
            callers.seen_after(0)
            yield callers
        finally:
            kubectl("delete", "pod", name, "--wait=false", "--grace-period=0", "--force")

    def aliases(self) -> dict[str, str]:
        """Which version has which name."""
        path, query = "/api/2.0/mlflow/registered-models/get", {"name": self.project}
        found = mlflow().get(path, params=query).json()["registered_model"]
        return {entry["alias"]: entry["version"] for entry in found.get("aliases", [])}

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a version."""
        query = {"name": self.project, "version": version}
        answer = mlflow().get("/api/2.0/mlflow/model-versions/get", params=query)
        found = answer.json()["model_version"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}

    def answering(self) -> str:
        """The version that the Service answers with, asked from outside the cluster."""
        return version_answering(self.project)

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """The project's objects of a kind, by name."""
        items = kubectl_json("get", kind, "-l", f"slipway.dev/project={self.project}")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def replicas(self, version: str) -> int:
        """How many instances of a version are wanted."""
        deployments = self.objects("deployment").values()
        labelled = {d["metadata"]["labels"]["slipway.dev/version"]: d for d in deployments}
        return int(labelled[version]["spec"]["replicas"])

    def remove(self) -> None:
        """Take everything of the project away."""
        forget_models(self.project)


@dataclass(frozen=True)
class Callers:
    """A pod that calls, and its reports."""

    pod: str

    def report(self) -> dict[str, Any]:
        """The latest report."""
        lines = kubectl("logs", self.pod, "--tail=1").strip()
        latest: dict[str, Any] = json.loads(lines) if lines.startswith("{") else {}
        return latest

    def seen_after(self, count: int) -> dict[str, Any]:
        """Wait until more than `count` requests were answered; return the report."""

        def report() -> dict[str, Any] | None:
            found = self.report()
            return found if sum(found.get("versions", {}).values()) > count else None

        return wait_until("answers to the callers", report, TIMEOUT_S)

    def settled(self) -> dict[str, Any]:
        """A report some seconds from now, when what has just been done has had its effect."""
        before = sum(self.report()["versions"].values())
        time.sleep(SETTLES_S)
        return self.seen_after(before)


def started(name: str) -> None:
    """Wait until a pod's container runs, and so has a log."""
    kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s", timeout=130)


def put(bucket: str, key: str, content: bytes) -> None:
    """Write an object."""
    object_store().put_object(Bucket=bucket, Key=key, Body=content)
