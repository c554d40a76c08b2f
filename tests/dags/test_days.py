"""A run's day is its project's, wherever Airflow's own clocks are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from adapter.deadlines import _day_of
from adapter.pods.local_stage import LocalStageOperator
from adapter.schedule.features import on_days, on_features
from adapter.schedule.own_day import own_day
from adapter.schedule.project_facts import days_of
from airflow.sdk import DAG, timezone
from airflow.timetables.base import TimeRestriction
from custom_timetables import DaysTimetable, named_day

from tests.dags.conftest import REPO, load_dag, run_here

pytestmark = pytest.mark.filterwarnings("default")

CLOCKS = ("UTC", "Asia/Tokyo", "America/New_York", "Pacific/Auckland")
PROJECTS = ("UTC", "America/New_York", "Asia/Tokyo")
YAML = "title: t\ntarget: y\ntimezone: {zone}\ndays: {{start: 2013-01-01, end: 2013-12-30}}\n"


@pytest.fixture(params=CLOCKS)
def clocks(request: pytest.FixtureRequest) -> Iterator[str]:
    """Airflow's `core.default_timezone`, set as Airflow itself sets it."""
    from airflow._shared.timezones import timezone as of_core
    from airflow.sdk._shared.timezones import timezone as of_tasks

    for initialize in (of_core.initialize, of_tasks.initialize):
        initialize(request.param)
    yield request.param
    for initialize in (of_core.initialize, of_tasks.initialize):
        initialize("UTC")


@pytest.fixture(params=PROJECTS)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ZoneInfo]:
    """A project, and the zone whose days are its."""
    text = YAML.format(zone=request.param) + "tables: {rows: {columns: {y: bool}}}\n"
    (tmp_path / "elsewhere.project.yaml").write_text(text)
    monkeypatch.setenv("SLIPWAY_PROJECTS_PATH", str(tmp_path))
    return "elsewhere", ZoneInfo(request.param)


def run_of(moment: datetime | None, run_type: str = "manual") -> Any:  # noqa: ANN401
    # Seven in the evening in New York, and the next day in Tokyo.
    now = datetime(2013, 3, 2, 0, 0, 0, 1, tzinfo=UTC)
    return SimpleNamespace(logical_date=moment, run_after=now, run_type=run_type)


def test_a_date_that_somebody_gives_is_that_date(
    clocks: str, project: tuple[str, ZoneInfo]
) -> None:
    """As `airflow dags test`, `airflow dags trigger` and callers of the API give one."""
    del clocks
    for typed in ("2013-03-01", "2013-03-01T00:00:00Z", "2013-07-01"):
        assert own_day(run_of(timezone.parse(typed)), project[0]) == typed[:10]


def test_a_moment_is_the_day_on_the_projects_clocks(
    clocks: str, project: tuple[str, ZoneInfo]
) -> None:
    del clocks
    name, zone = project
    late = datetime(2013, 3, 1, 23, 30, tzinfo=UTC)
    wanted = {"UTC": "2013-03-01", "America/New_York": "2013-03-01", "Asia/Tokyo": "2013-03-02"}
    assert own_day(run_of(late), name) == wanted[zone.key]
    today = {"UTC": "2013-03-02", "America/New_York": "2013-03-01", "Asia/Tokyo": "2013-03-02"}
    assert own_day(run_of(None), name) == today[zone.key]


def test_scheduled_runs_are_for_the_projects_days(
    clocks: str, project: tuple[str, ZoneInfo]
) -> None:
    """Over the night in which New York's clocks go forward, too."""
    del clocks
    name, zone = project
    for cron in ("@daily", "0 14 * * *"):
        timetable = on_days(cron, name)
        first = timezone.coerce_datetime(datetime(2013, 3, 9, tzinfo=zone))
        interval, found = None, []
        restriction = TimeRestriction(first, None, catchup=True)
        for _ in range(3):
            info = timetable.next_dagrun_info(
                last_automated_data_interval=interval, restriction=restriction
            )
            interval = info.data_interval
            found.append(own_day(run_of(info.logical_date, "scheduled"), name))
        assert found == ["2013-03-09", "2013-03-10", "2013-03-11"], cron


@pytest.mark.parametrize("form", ["{}", "{}T00:00:00Z"], ids=["command line", "API"])
@pytest.mark.parametrize("cron", ["@daily", "0 14 * * *"])
def test_a_backfill_makes_the_days_that_were_asked_for(
    clocks: str, project: tuple[str, ZoneInfo], cron: str, form: str
) -> None:
    del clocks
    name, zone = project
    timetable = DaysTimetable(cron, timezone=zone.key)
    ends = [timezone.parse(form.format(day)) for day in ("2013-03-09", "2013-03-11")]
    restriction = TimeRestriction(ends[0], ends[1], catchup=True)
    interval, found = None, []
    while info := timetable.next_dagrun_info(
        last_automated_data_interval=interval, restriction=restriction
    ):
        interval = info.data_interval
        found.append(own_day(run_of(info.logical_date, "backfill"), name))
    assert found == ["2013-03-09", "2013-03-10", "2013-03-11"]


def test_a_dag_begins_and_ends_with_its_projects_days(
    clocks: str, project: tuple[str, ZoneInfo]
) -> None:
    del clocks
    name, zone = project
    with DAG("d", schedule=on_features(name), **days_of(name)) as dag:
        pass
    assert dag.start_date == datetime(2013, 1, 1, tzinfo=zone)
    assert dag.end_date == datetime(2013, 12, 30, tzinfo=zone)
    assert _day_of(f"{dag.start_date.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", name) == "2013-01-01"


def test_a_late_run_is_told_of_though_its_project_cannot_be_read() -> None:
    assert _day_of("2013-03-01T00:00:00Z", "nothere") == "2013-03-01"


def test_a_time_of_day_names_no_day() -> None:
    assert named_day(datetime(2013, 3, 1, 12, tzinfo=UTC), UTC) is None
    assert named_day(datetime(2013, 3, 1, tzinfo=UTC), UTC) == date(2013, 3, 1)


@pytest.mark.parametrize("clocks", ["Asia/Tokyo", "America/New_York"], indirect=True)
def test_the_features_of_a_day_are_that_days(
    clocks: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: None,
) -> None:
    """Through Airflow's own database: green for another day is worse than red."""
    del clocks, airflow_db
    monkeypatch.setenv("SLIPWAY_STAGES", "local")
    monkeypatch.setenv("SLIPWAY_LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    canned = (sys.executable, "-m", "tests.dags.canned_stage")
    monkeypatch.setattr(LocalStageOperator, "COMMAND", canned)
    manifest = tmp_path / "landing/flights/dt=2013-03-01/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    run = run_here(load_dag("etl_feature_engineering"), logical_date=timezone.parse("2013-03-01"))
    assert run.state == "success"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "ingest --project flights --as-of 2013-03-01 --days 1"
    assert {call.split("--as-of ")[1][:10] for call in calls} == {"2013-03-01"}


def test_airflow_reads_a_date_on_its_own_clocks() -> None:
    """What makes the tests above needed, asked of Airflow as it starts with that setting."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from airflow.sdk import timezone as t; print(t.parse('2013-03-01'))",
        ],
        cwd=REPO,
        env=os.environ | {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "2013-03-01 00:00:00+09:00"
