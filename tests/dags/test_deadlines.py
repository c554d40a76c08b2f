"""A run that misses its deadline: people are told, by the trigger that Airflow runs for it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from adapter.deadlines import report_late_run
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.triggers.callback import CallbackTrigger

from tests.dags.receivers import Told

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")

RUN = {
    "dag_id": "ml_training_pipeline",
    "dag_run_id": "scheduled__2013-03-04",
    "logical_date": "2013-03-04T00:00:00Z",
    "state": "running",
    "conf": {},
}
DUE = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


def missed(**different: object) -> list[Any]:
    """Run the callback as the triggerer does; return the states it went through."""
    context = {"dag_run": RUN | different, "deadline": {"id": "1", "deadline_time": DUE}}
    callback = AsyncCallback(report_late_run, {"project": "flights"})
    trigger = CallbackTrigger(callback.path, {**(callback.kwargs or {}), "context": context})

    async def states() -> list[Any]:
        return [event.payload["state"] async for event in trigger.run()]

    return asyncio.run(states())


def test_late_run_is_told_once(told: Told) -> None:
    assert missed() == ["running", "success"]
    ((event, title, body),) = told.notices()
    assert event == "late"
    assert title == "late: flights 2013-03-04 (ml_training_pipeline)"
    assert "Model: `flights`" in body
    assert "Why: `it should have ended by 2026-03-04 09:30 UTC`" in body
    assert "/dags/ml_training_pipeline/runs/scheduled__2013-03-04)" in body


@pytest.mark.parametrize("conf", [{"project": "parcels", "as_of": "2013-03-05"}, {}])
def test_late_run_without_a_date_is_named_by_what_it_was_asked_for(
    told: Told, conf: dict[str, str]
) -> None:
    missed(logical_date=None, conf=conf)
    ((_, title, _),) = told.notices()
    about = " ".join(conf.values()) or "flights"
    assert title == f"late: {about} (ml_training_pipeline)"


@pytest.mark.parametrize("state", ["failed", "success"])
def test_run_that_has_ended_since_is_not_told(told: Told, state: str) -> None:
    assert missed(state=state) == ["running", "success"]
    assert told.events() == []


def test_late_run_is_only_logged_when_nobody_is_to_be_told(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS_EVENTS", "failure")
    with caplog.at_level(logging.WARNING):
        assert missed() == ["running", "success"]
    assert (
        "run scheduled__2013-03-04 of ml_training_pipeline has missed its deadline" in caplog.text
    )
    assert told.events() == []


def test_dead_receiver_does_not_fail_the_callback(
    told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "addresses").write_text("json://kim:hunter2hunter2@127.0.0.1:9/0a1b2c3d")
    with caplog.at_level(logging.INFO):
        assert missed() == ["running", "success"]
    assert told.events() == []
    assert "did not reach" in caplog.text
    assert "hunter2" not in caplog.text
