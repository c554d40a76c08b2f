"""Be the only one: a Kubernetes Lease that is taken, renewed, asked for and given back.

A holder that was paused for longer than the lease lasts may find that another has taken it. So the
lease is renewed before every change, and who can't renew it changes nothing any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ml.rollout.target import BusyError, Insist, ReplacedError, TargetError

_DURATION = 30
_RENEW = 8
# Longer than the duration, so that a holder that was killed is outlived.
_WAIT = 75
_PAUSE = 2
_CALL = 10


class Lease:
    """One named Lease and the identity that wants it."""

    def __init__(self, api: client.ApiClient, metadata: dict[str, Any], identity: str) -> None:
        self._leases = client.CoordinationV1Api(api)
        self._metadata = metadata
        self._identity = identity
        self._done = threading.Event()
        self._writing = threading.Lock()
        self._mine: Any = None

    @contextmanager
    def held(self) -> Iterator[Insist]:
        """Hold the lease for the length of the block; BusyError when someone else keeps it.

        Gives what to ask before a change: it returns with the lease renewed, or raises TargetError
        when that can't be had, ReplacedError when the lease is someone else's by now.
        """
        self._mine = self._take()
        renewing = threading.Thread(target=self._renew, daemon=True)
        renewing.start()
        try:
            yield self._insist
        finally:
            self._done.set()
            renewing.join()
            self._give_back()

    def _take(self) -> Any:  # noqa: ANN401 - the client's type has no stubs
        limit = time.monotonic() + _WAIT
        seen: tuple[Any, Any, float] | None = None
        while True:
            found = self._read()
            if found is None or not found.spec.holder_identity:
                taken = self._write(found)
            else:
                seen = _watch(seen, found)
                stale = time.monotonic() - seen[2] > _DURATION
                taken = self._write(found) if stale else None
            if taken is not None:
                return taken
            if found is not None and time.monotonic() > limit:
                raise BusyError(
                    f"another roll-out holds {self._metadata['name']} (pod "
                    f"{found.spec.holder_identity}, since {found.spec.acquire_time:%H:%M:%S} UTC)"
                )
            time.sleep(_PAUSE)

    def _read(self) -> Any:  # noqa: ANN401
        try:
            return self._leases.read_namespaced_lease(
                self._metadata["name"], self._metadata["namespace"], _request_timeout=_CALL
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise _sentence(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _sentence(error) from error

    def _write(self, found: Any) -> Any:  # noqa: ANN401
        """Write ourselves into the lease; None when someone else was faster."""
        now = _now()
        spec = client.V1LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=_DURATION,
            acquire_time=now,
            renew_time=now,
        )
        namespace = self._metadata["namespace"]
        try:
            if found is None:
                body = client.V1Lease(metadata=self._metadata, spec=spec)
                return self._leases.create_namespaced_lease(namespace, body, _request_timeout=_CALL)
            found.spec = spec
            return self._replace(found)
        except ApiException as error:
            if error.status == 409:
                return None
            raise _sentence(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _sentence(error) from error

    def _replace(self, lease: Any) -> Any:  # noqa: ANN401
        # The resource version inside makes the server refuse a write that lost a race.
        return self._leases.replace_namespaced_lease(
            self._metadata["name"], self._metadata["namespace"], lease, _request_timeout=_CALL
        )

    def _renew(self) -> None:
        while not self._done.wait(_RENEW):
            try:
                self._renew_once()
            except ReplacedError:
                return  # whoever makes the next change is told
            except (ApiException, TargetError, urllib3.exceptions.HTTPError):
                continue  # the next try may work; if not, the lease runs out by itself

    def _insist(self) -> None:
        """Renew now, and find out by that whether the lease is still ours."""
        try:
            self._renew_once()
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise _sentence(error) from error

    def _renew_once(self) -> None:
        # One at a time, as the server refuses a write to what has changed since it was read.
        with self._writing:
            found = self._read()
            holder = found.spec.holder_identity if found else None
            if holder != self._identity:
                raise ReplacedError(
                    f"the lease {self._metadata['name']} was lost to {holder or 'nobody'} while "
                    "this one was at work, and whoever holds it goes on from here"
                )
            found.spec.renew_time = _now()
            self._mine = self._replace(found)

    def _give_back(self) -> None:
        # What was written last by us: nothing is given back that another has taken since.
        self._mine.spec.holder_identity = ""
        try:
            self._replace(self._mine)
        except (ApiException, urllib3.exceptions.HTTPError):
            return  # it runs out by itself


def _now() -> datetime:
    # Kubernetes insists on microseconds, and Python leaves them out when they are 0.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond or 1)


def _watch(seen: tuple[Any, Any, float] | None, found: Any) -> tuple[Any, Any, float]:  # noqa: ANN401
    """Since when, by our own clock, the lease has not changed: clocks of nodes differ."""
    state = (found.spec.holder_identity, found.spec.renew_time)
    if seen is not None and seen[:2] == state:
        return seen
    return (*state, time.monotonic())


def _sentence(error: Exception) -> TargetError:
    return TargetError(f"the lease of the roll-out can't be had: {str(error).splitlines()[0]}")
