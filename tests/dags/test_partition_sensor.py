"""The wait for a day's data: with files, and with the real S3 client against a small server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSensorTimeout, TaskDeferred
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
    assert path == "custom_sensors.PartitionTrigger"
    assert PartitionTrigger(**kwargs).serialize() == (path, kwargs)


def test_trigger_fires_when_the_day_lands(tmp_path: Path) -> None:
    threading.Timer(0.3, land, [tmp_path]).start()
    assert events(trigger(f"{tmp_path}/{MANIFEST}")) == [{"status": "found"}]


def test_late_day_fails_once_and_for_all_with_the_way_out(tmp_path: Path) -> None:
    (event,) = events(trigger(f"{tmp_path}/{MANIFEST}", wait_s=0.2))
    assert event == {"status": "timeout"}
    with pytest.raises(AirflowSensorTimeout) as failed:
        sensor(str(tmp_path), timeout=43200).execute_complete({}, event)
    assert str(failed.value).endswith("did not land within 12:00:00: land it and clear this task")
    assert str(tmp_path / MANIFEST) in str(failed.value)


def test_poking_sensor_waits_on_its_worker(tmp_path: Path) -> None:
    threading.Timer(0.3, land, [tmp_path]).start()
    found = sensor(str(tmp_path), deferrable=False, poke_interval=0.1, timeout=10).execute({})
    assert found == f"{tmp_path}/{MANIFEST}"


class Store(BaseHTTPRequestHandler):
    """Answers HEAD like an object store that holds one key, or that refuses its user."""

    status = 404

    def do_HEAD(self) -> None:
        self.send_response(type(self).status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Store]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connect(monkeypatch, server.server_port)
    yield Store
    server.shutdown()
    server.server_close()
    Store.status = 404


def connect(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    extra = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 2},
    }
    landing = {"conn_type": "aws", "login": "airflow", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LANDING", json.dumps(landing))


def test_object_is_waited_for(store: type[Store]) -> None:
    def appear() -> None:
        store.status = 200

    threading.Timer(0.5, appear).start()
    assert events(trigger("s3://landing/" + MANIFEST)) == [{"status": "found"}]


def test_store_that_refuses_is_not_waited_for(store: type[Store]) -> None:
    store.status = 403
    (event,) = events(trigger("s3://landing/" + MANIFEST))
    assert event["status"] == "error"
    with pytest.raises(AirflowException, match="cannot look for s3://landing/flights/"):
        sensor("s3://landing").execute_complete({}, event)


def test_store_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, 9)  # nothing listens there
    (event,) = events(trigger("s3://landing/" + MANIFEST, wait_s=0.5))
    assert event == {"status": "timeout"}
