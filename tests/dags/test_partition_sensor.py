"""The wait for a day's data: with files, and with the real S3 client against a small server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    TaskDeferred,
)
from custom_sensors import PartitionSensor, PartitionTrigger

MANIFEST = "flights/dt=2013-03-04/manifest.json"


def sensor(landing_url: str, **kwargs: Any) -> PartitionSensor:
    return PartitionSensor(
        task_id="wait_for_partition",
        landing_url=landing_url,
        project="flights",
        as_of="2013-03-04",
        **kwargs,
    )


def land(folder: Path) -> None:
    manifest = folder / MANIFEST
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")


def events(trigger: PartitionTrigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def trigger(url: str, wait_s: float = 10, poll_s: float = 0.05) -> PartitionTrigger:
    return PartitionTrigger(url, "landing", poll_s, time.time() + wait_s)


def found(url: str) -> dict[str, Any]:
    return {"status": "found", "state": f"found {url}", "result": url}


def test_landed_day_is_found_at_once(tmp_path: Path) -> None:
    land(tmp_path)
    assert sensor(str(tmp_path)).execute({}) == f"{tmp_path}/{MANIFEST}"


def test_missing_day_defers_and_says_for_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), pytest.raises(TaskDeferred) as deferred:
        sensor(str(tmp_path), timeout=3600).execute({})
    waiting = deferred.value.trigger
    assert isinstance(waiting, PartitionTrigger)
    assert waiting.manifest_url == f"{tmp_path}/{MANIFEST}"
    assert waiting.give_up_at == pytest.approx(time.time() + 3600, abs=30)


def test_trigger_survives_its_own_serialisation() -> None:
    path, kwargs = trigger("s3://landing/" + MANIFEST).serialize()
    assert path == "waiting.partition.PartitionTrigger"
    assert PartitionTrigger(**kwargs).serialize() == (path, kwargs)


def test_trigger_fires_when_the_day_lands(tmp_path: Path) -> None:
    threading.Timer(0.3, land, [tmp_path]).start()
    assert events(trigger(f"{tmp_path}/{MANIFEST}")) == [found(f"{tmp_path}/{MANIFEST}")]


def test_late_day_fails_once_and_for_all_with_the_way_out(tmp_path: Path) -> None:
    (event,) = events(trigger(f"{tmp_path}/{MANIFEST}", wait_s=0.2))
    assert event["status"] == "timeout"
    with pytest.raises(AirflowSensorTimeout) as failed:
        sensor(str(tmp_path), timeout=43200).execute_complete({}, event)
    assert str(failed.value).endswith("did not land within 12:00:00: land it and clear this task")
    assert str(tmp_path / MANIFEST) in str(failed.value)


def test_poking_sensor_waits_on_its_worker(tmp_path: Path) -> None:
    threading.Timer(0.3, land, [tmp_path]).start()
    waiting = sensor(str(tmp_path), deferrable=False, poke_interval=0.1, timeout=10)
    assert waiting.execute({}) == f"{tmp_path}/{MANIFEST}"


class Store(BaseHTTPRequestHandler):
    """Answers HEAD with one status after the other, and with the last of them from then on."""

    answers: tuple[int, ...] = (404,)

    def do_HEAD(self) -> None:
        now, *later = type(self).answers
        type(self).answers = (*later,) or (now,)
        self.send_response(now)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Store]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    connect(monkeypatch, server.server_port)
    yield Store
    server.shutdown()
    server.server_close()
    Store.answers = (404,)


def connect(monkeypatch: pytest.MonkeyPatch, port: int, *, login: bool = True) -> None:
    extra = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2},
    }
    landing = {"conn_type": "aws", "extra": extra}
    if login:
        landing |= {"login": "airflow", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_LANDING", json.dumps(landing))


def deferred() -> PartitionSensor:
    return sensor("s3://landing")


def on_a_worker(timeout: float = 10) -> PartitionSensor:
    return sensor("s3://landing", deferrable=False, poke_interval=0.1, timeout=timeout)


def rescheduled() -> PartitionSensor:
    return sensor("s3://landing", deferrable=False, mode="reschedule", poke_interval=0.1)


MODES = pytest.mark.parametrize("waiting", [deferred, on_a_worker, rescheduled])
OUTAGES = pytest.mark.parametrize("status", [429, 500, 503])
REFUSALS = pytest.mark.parametrize("status", [400, 401, 403])


def execute(waiting: PartitionSensor) -> object:
    """Execute a sensor as its task's first try, which was never put off before."""
    instance = SimpleNamespace(get_first_reschedule_date=lambda _: datetime.now(UTC))
    return waiting.execute({"ti": instance})  # type: ignore[typeddict-item]


def test_object_is_waited_for(store: type[Store]) -> None:
    store.answers = (404, 404, 200)
    assert events(trigger("s3://landing/" + MANIFEST)) == [found("s3://landing/" + MANIFEST)]


@OUTAGES
def test_trigger_waits_for_a_store_that_is_starting(store: type[Store], status: int) -> None:
    store.answers = (status, status, 404, 200)
    assert events(trigger("s3://landing/" + MANIFEST)) == [found("s3://landing/" + MANIFEST)]


@OUTAGES
def test_worker_waits_for_a_store_that_is_starting(store: type[Store], status: int) -> None:
    store.answers = (status, status, 404, 200)
    assert execute(on_a_worker()) == f"s3://landing/{MANIFEST}"


@OUTAGES
def test_first_look_at_a_store_that_is_starting_defers(store: type[Store], status: int) -> None:
    store.answers = (status,)
    with pytest.raises(TaskDeferred):
        execute(deferred())


@OUTAGES
def test_look_at_a_store_that_is_starting_is_rescheduled(store: type[Store], status: int) -> None:
    store.answers = (status,)
    with pytest.raises(AirflowRescheduleException):
        execute(rescheduled())


@pytest.mark.parametrize(
    ("waiting", "outcome"),
    [
        (deferred, TaskDeferred),
        (lambda: on_a_worker(timeout=0.5), AirflowSensorTimeout),
        (rescheduled, AirflowRescheduleException),
    ],
    ids=["deferred", "on_a_worker", "rescheduled"],
)
def test_store_that_is_away_is_waited_for_in_every_mode(
    waiting: Callable[[], PartitionSensor],
    outcome: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    connect(monkeypatch, 9)  # nothing listens there
    with pytest.raises(outcome) as ended:
        execute(waiting())
    assert ended.type is outcome
    assert f"cannot reach the store of s3://landing/{MANIFEST}" in capfd.readouterr().out


def test_trigger_waits_for_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, 9)  # nothing listens there
    (event,) = events(trigger("s3://landing/" + MANIFEST, wait_s=0.5))
    assert event["status"] == "timeout"


def assert_refused(failed: pytest.ExceptionInfo[AirflowException]) -> None:
    """Check that no retry follows, and that people read what to do."""
    assert failed.type is AirflowFailException
    for said in (f"s3://landing/{MANIFEST}", "connection `landing`", "bucket `landing`"):
        assert said in str(failed.value)


@MODES
@REFUSALS
def test_store_that_refuses_fails_the_task_in_every_mode(
    waiting: Callable[[], PartitionSensor], status: int, store: type[Store]
) -> None:
    store.answers = (status,)
    with pytest.raises(AirflowException) as failed:
        execute(waiting())
    assert_refused(failed)


@REFUSALS
def test_store_that_refuses_later_ends_the_trigger_and_the_task(
    store: type[Store], status: int
) -> None:
    store.answers = (404, status)
    (event,) = events(trigger("s3://landing/" + MANIFEST))
    assert event["status"] == "refused"
    with pytest.raises(AirflowException) as failed:
        deferred().execute_complete({}, event)
    assert_refused(failed)


@MODES
def test_missing_login_fails_the_task_in_every_mode(
    waiting: Callable[[], PartitionSensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connect(monkeypatch, 9, login=False)
    with pytest.raises(AirflowException) as failed:
        execute(waiting())
    assert_refused(failed)


def test_address_that_no_store_takes_is_not_waited_for() -> None:
    (event,) = events(trigger("s3://no bucket/" + MANIFEST))
    assert event["status"] == "refused"
    assert "Invalid bucket name" in event["state"]


def test_trigger_that_breaks_leaves_it_to_a_retry() -> None:
    event = {"status": "error", "state": "no such thing"}
    with pytest.raises(AirflowException, match="cannot look for s3://landing/flights/") as failed:
        deferred().execute_complete({}, event)
    assert failed.type is AirflowException
