"""The lease of a roll-out, where the network loses a reply."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ml.rollout.targets import lease as module
from ml.rollout.targets.lease import Lease


class Leases:
    """One lease in a server that refuses writes to what has changed since it was read."""

    def __init__(self) -> None:
        self.kept: Any = None
        self.renewals = 0
        self.renewed = threading.Event()
        self.loses_a_reply = False

    def read_namespaced_lease(self, *_: str, **__: float) -> Any:  # noqa: ANN401
        if self.kept is None:
            raise ApiException(status=404)
        return copy.deepcopy(self.kept)

    def create_namespaced_lease(self, _: str, body: Any, **__: float) -> Any:  # noqa: ANN401
        body.metadata = client.V1ObjectMeta(resource_version="1")
        self.kept = body
        return copy.deepcopy(body)

    def replace_namespaced_lease(self, _n: str, _s: str, body: Any, **__: float) -> Any:  # noqa: ANN401
        if body.metadata.resource_version != self.kept.metadata.resource_version:
            raise ApiException(status=409)
        self.kept = copy.deepcopy(body)
        self.kept.metadata.resource_version += "1"
        if self.loses_a_reply:
            self.loses_a_reply = False
            raise urllib3.exceptions.HTTPError("the reply got lost")
        self.renewals += 1
        self.renewed.set()
        return copy.deepcopy(self.kept)


def test_lost_reply_of_a_renewal_does_not_lose_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW", 0.01)
    leases = Leases()
    lease = Lease(client.ApiClient(), {"name": "flights", "namespace": "slipway"}, "me")
    monkeypatch.setattr(lease, "_leases", leases)
    leases.loses_a_reply = True
    with lease.held():
        assert leases.renewed.wait(10), "no renewal got through after the one that was lost"
        assert leases.kept.spec.holder_identity == "me"
    assert not leases.kept.spec.holder_identity
