"""Each end of a run is told once, whatever the DAG; receivers can do a run no harm."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.observability import stats
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import mask_secret
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from notifications.listener import Notifications, failure_of
from notifications.notices import Event, Notice
from notifications.outbox import Outbox
from notifications.subscription import Subscription
from sqlalchemy import update

from tests.dags.airflow_database import copy_database
from tests.dags.bench import DAY, Bench, bench
from tests.dags.conftest import REPO, run_here, task_of
from tests.dags.receivers import Receiver, Told, outbox

__all__ = ["bench"]  # a fixture

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")

NOTICE = Notice(Event.FAILURE, "failure: flights 2013-03-04 (ml_training_pipeline)", "The run")


def test_run_that_ends_well_is_told_once(bench: Bench, told: Told) -> None:
    bench.run()
    ((event, title, body),) = told.notices()
    assert event == "success"
    assert title == "success: flights 2013-03-04 (ml_training_pipeline)"
    assert "[Airflow run](http://localhost:8080/dags/ml_training_pipeline/runs/manual__" in body


def test_failed_task_is_told_once_with_its_own_sentence(bench: Bench, told: Told) -> None:
    bench.tell(fault="train")
    bench.run()
    ((event, _, body),) = told.notices()
    assert event == "failure"
    assert "Why: `training_evaluation.train: train failed: train was told to fail`" in body
    assert "/tasks/training_evaluation.train)" in body


def test_task_that_is_tried_three_times_is_told_once(bench: Bench, told: Told) -> None:
    bench.tell(fault="split", fault_code="1")
    bench.run()
    assert told.events() == ["failure"]


def test_refusal_is_told_with_the_gates_reason(bench: Bench, told: Told) -> None:
    bench.tell(decision="refuse")
    bench.run()
    ((event, _, body),) = told.notices()
    assert event == "refused"
    assert "Why: `auc 0.51 is under 0.55`" in body


def test_refusal_of_a_roll_out_is_told_with_its_reason(bench: Bench, told: Told) -> None:
    bench.tell(roll_out_refuses="it was taken back (yesterday, by anna: it drifts)")
    bench.run()
    ((event, _, body),) = told.notices()
    assert event == "refused"
    assert "Why: `it was taken back (yesterday, by anna: it drifts)`" in body


def test_roll_out_that_took_itself_back_is_told_as_that(bench: Bench, told: Told) -> None:
    bench.tell(fault="roll_out", fault_code="4")
    bench.run()
    assert told.events() == ["rolled_back"]


def test_task_that_is_no_stage_is_told_too(bench: Bench, told: Told, tmp_path: Path) -> None:
    (tmp_path / "landing" / "flights" / "dt=2013-03-04" / "manifest.json").unlink()
    waiting = task_of(bench.dag, "wait_for_partition")
    waiting.timeout, waiting.poke_interval = 0.3, 0.1
    bench.run()
    ((event, _, body),) = told.notices()
    assert event == "failure"
    assert "Why: `wait_for_partition: " in body
    assert "no word why" not in body


def test_day_that_was_asked_for_is_told(bench: Bench, told: Told) -> None:
    bench.land_instead("2013-02-01")
    bench.run({"as_of": "2013-02-01"})
    assert told.notices()[0][1] == "success: flights 2013-02-01 (ml_training_pipeline)"


def test_only_the_chosen_events_are_told(bench: Bench, told: Told) -> None:
    bench.monkeypatch.setenv("SLIPWAY_NOTIFICATIONS_EVENTS", "failure,refused")
    bench.run()
    assert told.events() == []
    bench.tell(decision="refuse")
    bench.run()
    assert told.events() == ["refused"]


def test_nothing_is_sent_unless_there_is_a_file(bench: Bench, told: Told) -> None:
    bench.monkeypatch.delenv("SLIPWAY_NOTIFICATIONS_FILE")
    bench.run()
    assert told.events() == []


def test_dead_receiver_fails_no_run(
    bench: Bench, told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "addresses").write_text("json://kim:hunter2hunter2@127.0.0.1:9/0a1b2c3d")
    with caplog.at_level(logging.INFO):
        state, _ = bench.run()
        assert told.events() == []
    assert state == "success"
    (line,) = [one for one in caplog.messages if "did not reach" in one]
    assert line.startswith("the notice `success: flights 2013-03-04 (ml_training_pipeline)`")
    assert "JSON (line 1)" in line
    assert "hunter2" not in caplog.text
    assert "0a1b2c3d" not in caplog.text


def test_dag_authors_command_tells_before_it_ends(receiver: Receiver, tmp_path: Path) -> None:
    """`airflow dags test`, of a DAG that is none of ours and says nothing of notifications."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "tidy_up.py").write_text(
        "from airflow.sdk import dag, task\n"
        "@dag(schedule=None)\n"
        "def tidy_up():\n"
        "    @task\n"
        "    def sweep():\n"
        "        raise ValueError('the broom\\n is broken')\n"
        "    sweep()\n"
        "tidy_up()\n"
    )
    addresses = tmp_path / "addresses"
    addresses.write_text(receiver.address)
    env = {
        **os.environ,
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "SLIPWAY_NOTIFICATIONS_FILE": str(addresses),
        "PYTHONPATH": str(REPO),
    }
    copy_database(tmp_path / "airflow.db")
    done = subprocess.run(
        ["airflow", "dags", "test", "tidy_up", "2013-03-01"],
        env={**env, "PATH": f"{REPO}/.venv/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(receiver.posts) == 1, done.stdout[-4000:] + done.stderr[-4000:]
    body = receiver.posts[0].body
    assert body["title"] == "failure: 2013-03-01 (tidy_up)"
    assert "Why: `sweep: the broom is broken`" in body["message"]


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A StatsD server, to which this process's Airflow sends its metrics."""
    from airflow._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.observability.metrics.stats_utils import get_stats_factory

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.5)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        yield server
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def counted(server: socket.socket) -> list[str]:
    """Return the metrics that have arrived, without their prefix."""
    found = []
    try:
        while True:
            found.append(server.recv(4096).decode().removeprefix("airflow."))
    except TimeoutError:
        return found


def test_what_arrives_and_what_does_not_is_counted(
    receiver: Receiver, statsd: socket.socket, tmp_path: Path
) -> None:
    file = tmp_path / "addresses"
    file.write_text(f"{receiver.address}\njson://127.0.0.1:9/dead\nnonsense://x\n")
    box = Outbox()
    box.put(NOTICE, file)
    box.settle()
    assert sorted(counted(statsd)) == [
        "slipway.notifications.failed:1|c",
        "slipway.notifications.failed:1|c",
        "slipway.notifications.sent:1|c",
    ]


def test_missing_file_is_one_line_and_a_count(
    statsd: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = Outbox()
    box.put(NOTICE, tmp_path / "gone")
    box.settle()
    assert counted(statsd) == ["slipway.notifications.failed:1|c"]
    assert f"SLIPWAY_NOTIFICATIONS_FILE is {tmp_path}/gone, which is not there" in caplog.text


def test_slow_receiver_holds_nobody_up(
    receiver: Receiver, statsd: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.delay_s = 30
    file = tmp_path / "addresses"
    file.write_text(f"{receiver.address}?rto=60")
    box = Outbox(limit=1, room=2)
    started = time.monotonic()
    for _ in range(3):
        box.put(NOTICE, file)
    assert time.monotonic() - started < 0.5
    box.settle()
    assert counted(statsd) == ["slipway.notifications.failed:1|c"] * 3
    assert caplog.text.count("did not reach JSON (line 1): it took too long") == 2
    assert caplog.text.count("too many are waiting") == 1


def test_end_that_airflow_reports_twice_is_told_once(told: Told) -> None:
    """The scheduler repeats a transaction that the database has refused."""
    listener, run = Notifications(outbox()), DagRun("tidy_up", "manual__1")
    for _ in range(2):
        listener.on_dag_run_failed(run, "task_failure")
    assert told.events() == ["failure"]
    run.clear_number += 1  # someone cleared a task, and the run failed again
    listener.on_dag_run_failed(run, "task_failure")
    assert told.events() == ["failure", "failure"]


def skip_all_tasks_of(run: DagRun) -> None:
    """Do what the scheduler does to a run that takes too long, before it tells its listeners."""
    of_run = TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id
    with create_session(scoped=False) as session:
        session.execute(update(TaskInstance).where(*of_run).values(state=TaskInstanceState.SKIPPED))


def test_run_that_times_out_before_any_task_ran_is_told(bench: Bench, told: Told) -> None:
    run = run_here(bench.dag, logical_date=DAY)
    told.forget()
    skip_all_tasks_of(run)
    Notifications(outbox()).on_dag_run_failed(run, "timed_out")
    ((event, _, body),) = told.notices()
    assert event == "failure"
    assert "Why: `the run took longer than its DAG allows a run`" in body


def test_run_that_ends_well_without_any_work_is_not_told(bench: Bench, told: Told) -> None:
    run = run_here(bench.dag, logical_date=DAY)
    told.forget()
    skip_all_tasks_of(run)
    Notifications(outbox()).on_dag_run_success(run, "success")
    assert told.events() == []


def test_misspelt_event_in_the_file_is_one_line_and_a_count(
    statsd: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "addresses"
    file.write_text("faliure=json://hunter2hunter2/x")
    box = Outbox()
    box.put(NOTICE, file)
    box.settle()
    assert counted(statsd) == ["slipway.notifications.failed:1|c"]
    assert "did not reach json (line 1): it names the event `faliure`, and there are" in caplog.text
    assert "hunter2" not in caplog.text


def test_unknown_event_is_one_sentence() -> None:
    env = {"SLIPWAY_NOTIFICATIONS_FILE": "x", "SLIPWAY_NOTIFICATIONS_EVENTS": "failure, disaster"}
    with pytest.raises(
        ValueError, match="SLIPWAY_NOTIFICATIONS_EVENTS has `disaster`: it may have"
    ):
        Subscription.read(env)


def test_all_events_are_told_when_none_is_chosen() -> None:
    subscription = Subscription.read({"SLIPWAY_NOTIFICATIONS_FILE": "x"})
    assert subscription is not None
    assert subscription.events == set(Event)


def test_long_sentence_fits_into_an_xcom() -> None:
    kept = failure_of(AirflowFailException("é " * 5000))
    assert len(json.dumps(kept).encode()) <= 1024
    assert failure_of(KeyError()) == {"error": "KeyError"}
    assert failure_of("killed") == {"error": "killed"}


def test_password_in_a_sentence_is_hidden() -> None:
    mask_secret("hunter2hunter2")
    kept = failure_of(ValueError("no route to https://kim:hunter2hunter2@example.org"))
    assert kept == {"error": "no route to https://kim:***@example.org"}
