"""Deploy to Kubernetes: a Deployment per side, one Service per project that selects a side.

Objects come from the chart's template and are owned by it, so they stay through `helm upgrade`
and go with `helm uninstall`. This is the only module that talks to a cluster.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from ml.core.errors import BadInputError
from ml.rollout.target import (
    Answer,
    Insist,
    Progress,
    Release,
    Side,
    TargetError,
    UnansweredError,
    View,
)
from ml.rollout.targets import manifests
from ml.rollout.targets.lease import Lease
from ml.rollout.targets.manifests import KubeObject, Templates, object_name
from ml.serving.manifest import Row

FIELD_MANAGER = "slipway-roll-out"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# Seconds for one call to the API, and for one look at a side that does not change.
_CALL = 30
_LOOK = 1
_PREDICT = urllib3.Timeout(connect=5, read=20)
# A pod's network may need some seconds before it lets the first connection through.
_RETRY = urllib3.Retry(total=None, connect=6, read=0, redirect=0, status=0, backoff_factor=0.2)


@contextmanager
def _doing(what: str) -> Iterator[None]:
    """Turn the cluster's errors into one sentence."""
    try:
        yield
    except ApiException as error:
        raise TargetError(f"Kubernetes refused to {what}: {_reason(error)}") from error
    except urllib3.exceptions.HTTPError as error:
        raise TargetError(f"Kubernetes could not be reached to {what}: {error}") from error


def _reason(error: ApiException) -> str:
    with suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body)["message"])
    return f"{error.status} {error.reason}"


@dataclass(frozen=True)
class KubernetesTarget:
    """One namespace of one cluster."""

    api: client.ApiClient
    namespace: str
    template: str
    identity: str

    @classmethod
    def from_environment(cls) -> KubernetesTarget:
        """Use the pod's own service account, or the current kubeconfig outside a cluster."""
        try:
            config.load_incluster_config()
        except config.ConfigException:
            _load_kubeconfig()
        return cls(
            api=client.ApiClient(),
            namespace=os.environ.get("SLIPWAY_NAMESPACE") or _own_namespace(),
            template=os.environ.get("SLIPWAY_SERVING_TEMPLATE", "slipway-serving-template"),
            identity=f"{socket.gethostname()}-{os.getpid()}",
        )

    @contextmanager
    def hold(self, project: str) -> Iterator[Insist]:
        """Hold the project's Lease; BusyError when another roll-out keeps it."""
        name = f"{FIELD_MANAGER}-{object_name(project)}"
        body = {"name": name, "namespace": self.namespace, "ownerReferences": [self._owner]}
        with Lease(self.api, body, self.identity).held() as insist:
            yield insist

    def view(self, project: str) -> View:
        """Read the project's Service and both Deployments."""
        live = manifests.live_side(self._service(project))
        found = {side: self._deployment(project, side) for side in Side}
        return View(live, {side: manifests.deployed(state) for side, state in found.items()})

    def deploy(self, release: Release, side: Side) -> None:
        """Apply the side's Deployment and its PodDisruptionBudget."""
        self._deployment(release.project, side)  # raises when the name is someone else's
        made = manifests.deployment(self._templates, release, side)
        budget = manifests.budget(self._templates, release.project, side)
        with _doing(f"deploy {made['metadata']['name']}"):
            self._apply(client.PolicyV1Api(self.api).patch_namespaced_pod_disruption_budget, budget)
            self._apply(client.AppsV1Api(self.api).patch_namespaced_deployment, made)

    def progress(self, release: Release, side: Side) -> Iterator[Progress]:
        """Yield the side's state at every change of its pods, and every few seconds."""
        name = object_name(release.project, side)
        while True:
            with _doing(f"watch {name}"):
                found = self._deployment(release.project, side)
                if found is None:
                    raise TargetError(f"the Deployment {name} has gone")
                pods, seen = self._pods(found["spec"]["template"]["metadata"]["labels"])
                yield manifests.assess(found, pods)
                self._wait_for_change(found["spec"]["selector"]["matchLabels"], seen)

    def ask_side(self, project: str, side: Side, rows: Sequence[Row]) -> Sequence[Answer]:
        """Have every ready pod of the side predict, each by its own address."""
        with _doing(f"list the pods of {object_name(project, side)}"):
            pods, _ = self._pods({manifests.PROJECT: project, manifests.SIDE: str(side)})
        ready = [pod for pod in pods if manifests.is_ready(pod)]
        return [
            self._predict(f"pod {pod['metadata']['name']}", _address(pod), project, rows)
            for pod in ready
        ]

    def ask_users_way(self, project: str, rows: Sequence[Row]) -> Answer:
        """Predict through the project's Service."""
        host = self.endpoint(project).removeprefix("http://").partition("/")[0]
        return self._predict(f"Service {object_name(project)}", host, project, rows)

    def select(self, project: str, side: Side | None) -> None:
        """Apply the project's Service with the side in its selector."""
        self._service(project)  # raises when the name is someone else's
        made = manifests.service(self._templates, project, side)
        with _doing(f"point the Service {made['metadata']['name']} at {side or 'no side'}"):
            self._apply(client.CoreV1Api(self.api).patch_namespaced_service, made)

    def stop(self, project: str, side: Side) -> None:
        """Scale the side's Deployment to nothing, if there is one."""
        if self._deployment(project, side) is None:
            return
        name = object_name(project, side)
        with _doing(f"stop {name}"):
            client.AppsV1Api(self.api).patch_namespaced_deployment(
                name,
                self.namespace,
                {"spec": {"replicas": 0}},
                field_manager=FIELD_MANAGER,
                _content_type=_MERGE,
                _request_timeout=_CALL,
            )

    def endpoint(self, project: str) -> str:
        """The address inside the cluster."""
        port = self._templates.service["spec"]["ports"][0]["port"]
        host = f"{object_name(project)}.{self.namespace}.svc:{port}"
        return f"http://{host}/v1/projects/{project}/predict"

    @cached_property
    def _template_map(self) -> KubeObject:
        with _doing(f"read the ConfigMap {self.template}"):
            found = client.CoreV1Api(self.api).read_namespaced_config_map(
                self.template, self.namespace, _request_timeout=_CALL
            )
        return self._plain(found)

    @cached_property
    def _owner(self) -> KubeObject:
        metadata = self._template_map["metadata"]
        names = {"name": metadata["name"], "uid": metadata["uid"]}
        return {"apiVersion": "v1", "kind": "ConfigMap", **names}

    @cached_property
    def _templates(self) -> Templates:
        return Templates(
            deployment=self._template_named("deployment.yaml"),
            service=self._template_named("service.yaml"),
            budget=self._template_named("pdb.yaml"),
            owner=self._owner,
            namespace=self.namespace,
        )

    def _template_named(self, name: str) -> KubeObject:
        try:
            made = yaml.safe_load(self._template_map["data"][name])
        except (KeyError, TypeError, yaml.YAMLError):
            made = None
        if not isinstance(made, dict) or not isinstance(made.get("spec"), dict):
            raise BadInputError(
                f"the ConfigMap {self.template} has no usable {name}: install the chart again"
            )
        return made

    def _plain(self, model: Any) -> KubeObject:  # noqa: ANN401 - any of the client's many types
        plain: KubeObject = self.api.sanitize_for_serialization(model)
        return plain

    def _apply(self, patch: Callable[..., Any], made: KubeObject) -> None:
        patch(
            made["metadata"]["name"],
            self.namespace,
            made,
            field_manager=FIELD_MANAGER,
            force=True,
            _content_type=_APPLY,
            _request_timeout=_CALL,
        )

    def _deployment(self, project: str, side: Side) -> KubeObject | None:
        read = client.AppsV1Api(self.api).read_namespaced_deployment
        return self._own(read, "Deployment", object_name(project, side), project)

    def _service(self, project: str) -> KubeObject | None:
        read = client.CoreV1Api(self.api).read_namespaced_service
        return self._own(read, "Service", object_name(project), project)

    def _own(
        self, read: Callable[..., Any], kind: str, name: str, project: str
    ) -> KubeObject | None:
        """Read an object, None when absent; BadInputError when it is not this project's."""
        with _doing(f"read the {kind} {name}"):
            try:
                found = self._plain(read(name, self.namespace, _request_timeout=_CALL))
            except ApiException as error:
                if error.status == 404:
                    return None
                raise
        if (found["metadata"].get("labels") or {}).get(manifests.PROJECT) != project:
            raise BadInputError(
                f"the {kind} {name} is not a part of project {project}: give the project "
                "another name"
            )
        return found

    def _pods(self, labels: Mapping[str, str]) -> tuple[list[KubeObject], str]:
        listed = client.CoreV1Api(self.api).list_namespaced_pod(
            self.namespace, label_selector=_selector(labels), _request_timeout=_CALL
        )
        return [self._plain(pod) for pod in listed.items], listed.metadata.resource_version

    def _wait_for_change(self, labels: Mapping[str, str], seen: str) -> None:
        events = watch.Watch().stream(
            client.CoreV1Api(self.api).list_namespaced_pod,
            self.namespace,
            label_selector=_selector(labels),
            resource_version=seen,
            timeout_seconds=_LOOK,
            _request_timeout=_CALL,
        )
        next(iter(events), None)

    def _predict(self, source: str, host: str, project: str, rows: Sequence[Row]) -> Answer:
        url = f"http://{host}/v1/projects/{project}/predict"
        try:
            reply = self._http.request(
                "POST", url, body=json.dumps({"rows": list(rows)}), headers=_HEADERS
            )
        except urllib3.exceptions.HTTPError as error:
            raise UnansweredError(f"{source} did not answer a prediction: {error}") from error
        if reply.status != 200:
            raise UnansweredError(f"{source} answered a prediction with status {reply.status}")
        try:
            content = reply.json()
            return Answer(source, str(content["model_version"]), content["predictions"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnansweredError(f"{source} did not answer with predictions") from error

    @cached_property
    def _http(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(timeout=_PREDICT, retries=_RETRY)


# A connection of its own for every prediction: a kept one would stay with the side it knows.
_HEADERS = {"content-type": "application/json", "connection": "close"}


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _address(pod: KubeObject) -> str:
    address = pod["status"]["podIP"]
    containers = pod["spec"]["containers"]
    serving = next(c for c in containers if c["name"] == manifests.CONTAINER)
    port = serving["ports"][0]["containerPort"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _load_kubeconfig() -> None:
    try:
        config.load_kube_config()
    except config.ConfigException as error:
        raise BadInputError(
            f"SLIPWAY_TARGET is kubernetes, but there is no cluster to talk to: {error}"
        ) from error


def _own_namespace() -> str:
    with suppress(OSError):
        return _SERVICE_ACCOUNT.read_text().strip()
    return "slipway"
