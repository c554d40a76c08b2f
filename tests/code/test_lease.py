"""The lease of a roll-out, where the network loses a reply, and where another takes it."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ml.rollout.target import ReplacedError, TargetError
from ml.rollout.targets import lease as module
from ml.rollout.targets.lease import Lease


class Leases:
    """One lease in a server that refuses writes to what has changed since it was read."""

    def __init__(self) -> None:
        self.kept: Any = None
        self.renewals = 0
        self.renewed = threading.Event()
        self.loses_a_reply = False
        self.trouble: Exception | None = None
        self.lock = threading.Lock()

    def taken_by(self, holder: str | None) -> Any:  # noqa: ANN401
        """Let another write itself into the lease, as it may once it has run out."""
        if holder is None:
            self.kept = None
        else:
            self.kept.spec.holder_identity = holder
            self.kept.metadata.resource_version += "2"
        return copy.deepcopy(self.kept)

    def read_namespaced_lease(self, *_: str, **__: float) -> Any:  # noqa: ANN401
        if self.trouble:
            raise self.trouble
        if self.kept is None:
            raise ApiException(status=404)
        return copy.deepcopy(self.kept)

    def create_namespaced_lease(self, _: str, body: Any, **__: float) -> Any:  # noqa: ANN401
        body.metadata = client.V1ObjectMeta(resource_version="1")
        self.kept = body
        return copy.deepcopy(body)

    def replace_namespaced_lease(self, _n: str, _s: str, body: Any, **__: float) -> Any:  # noqa: ANN401
        with self.lock:
            if self.kept is None:
                raise ApiException(status=404)
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


def lease_in(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> Lease:
    lease = Lease(client.ApiClient(), {"name": "flights", "namespace": "slipway"}, "me")
    monkeypatch.setattr(lease, "_leases", leases)
    return lease


def test_lost_reply_of_a_renewal_does_not_lose_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW", 0.01)
    leases = Leases()
    leases.loses_a_reply = True
    with lease_in(leases, monkeypatch).held() as insist:
        assert leases.renewed.wait(10), "no renewal got through after the one that was lost"
        assert leases.kept.spec.holder_identity == "me"
        insist()
    assert not leases.kept.spec.holder_identity


def test_who_asks_has_the_lease_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next change is made well within the time that it lasts from here."""
    leases = Leases()
    with lease_in(leases, monkeypatch).held() as insist:
        before = leases.kept.spec.renew_time
        insist()
        assert leases.kept.spec.renew_time > before


@pytest.mark.parametrize("renew", [0.01, 60])
@pytest.mark.parametrize("successor", ["another", "", None])
def test_a_holder_that_was_replaced_is_told_and_leaves_the_lease_alone(
    monkeypatch: pytest.MonkeyPatch, successor: str | None, renew: float
) -> None:
    monkeypatch.setattr(module, "_RENEW", renew)
    leases = Leases()
    with lease_in(leases, monkeypatch).held() as insist:
        with leases.lock:
            taken = leases.taken_by(successor)
        for _ in range(2):
            with pytest.raises(ReplacedError, match=f"was lost to {successor or 'nobody'} while"):
                insist()
    assert leases.kept == taken


@pytest.mark.parametrize("trouble", [ApiException(status=500), urllib3.exceptions.HTTPError("x")])
def test_a_lease_that_can_not_be_asked_for_is_no_leave_to_go_on(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    leases = Leases()
    with lease_in(leases, monkeypatch).held() as insist:
        leases.trouble = trouble
        with pytest.raises(TargetError, match="the lease of the roll-out can't be had"):
            insist()
        leases.trouble = None
        insist()
