"""Tells people how runs end, and which are late: one notice each to chat, mail or webhooks.

Listens to Airflow itself, so it works for any DAG, on the cluster and in `airflow dags test`, and a
DAG file has nothing to say about it. Off until SLIPWAY_NOTIFICATIONS_FILE names a file with
addresses. What happens where:

- in a task's process: when it fails, its sentence is kept as the XCom `failure`;
- in the scheduler: when a run ends, its notice is written and put into the outbox;
- in the triggerer: when a run misses its deadline, the same;
- in `send_notice.py`, a process of its own: the addresses are read and the notice is sent.

No receiver can fail or delay a run. What did not get through is counted and logged.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.utils.session import create_session
from mlflow_links import mlflow_ui_url
from notices import Event, LateRun, Notice, Places, RunEnd, TaskEnd, late_notice_of, notice_of
from sqlalchemy import select
from sqlalchemy.orm import object_session

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

FAILURE_KEY = "failure"
"""The XCom in which a failed task leaves its sentence."""

SENTENCE_BYTES = 900
"""The most of it that is kept: an XCom may have 1 KiB."""

SENDER = Path(__file__).with_name("send_notice.py")
_DAY = re.compile(r"/dt=(\d{4}-\d{2}-\d{2})/")
# All that the sending process gets to know of this one's environment.
_HANDED_ON = re.compile(
    r"(?i)^(https?_proxy|no_proxy|ssl_cert_(file|dir)|requests_ca_bundle|lang)$"
)
_APPRISE_TYPE = {
    Event.SUCCESS: "success",
    Event.FAILURE: "failure",
    Event.REFUSED: "info",
    Event.ROLLED_BACK: "warning",
    Event.DRIFT: "warning",
    Event.LATE: "warning",
}


@dataclass(frozen=True)
class Settings:
    """Where the addresses are, which events are sent, and where people find the interfaces."""

    file: Path
    events: frozenset[Event]
    places: Places

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Settings | None:
        """Read SLIPWAY_NOTIFICATIONS_FILE, SLIPWAY_NOTIFICATIONS_EVENTS, SLIPWAY_MLFLOW_UI_URL.

        None when there is no file, so nothing is to be sent; no events means all of them.
        Raises ValueError when an event is none of those there are.
        """
        if not (file := env.get("SLIPWAY_NOTIFICATIONS_FILE")):
            return None
        names = env.get("SLIPWAY_NOTIFICATIONS_EVENTS", "").replace(",", " ").split()
        airflow = conf.get("api", "base_url", fallback="") or "http://localhost:8080"
        places = Places(airflow.rstrip("/"), mlflow_ui_url(env))
        return cls(
            Path(file), frozenset(_event(name) for name in names) or frozenset(Event), places
        )


def _event(name: str) -> Event:
    try:
        return Event(name)
    except ValueError:
        known = ", ".join(Event)
        raise ValueError(
            f"SLIPWAY_NOTIFICATIONS_EVENTS has `{name}`: it may have {known}"
        ) from None


class Outbox:
    """Sends notices one after the other, beside whatever this process does.

    `limit` is how many seconds a receiver may take; beyond `room` waiting notices, new ones are
    dropped, and that is counted too.
    """

    def __init__(self, limit: float = 15, room: int = 100) -> None:
        self.limit = limit
        self._room = threading.Semaphore(room)
        # Its thread starts with the first notice, and the interpreter waits for it at its end.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="notifications")

    def put(self, notice: Notice, file: Path) -> None:
        """Have the notice sent, soon, to the addresses in `file`."""
        if not self._room.acquire(blocking=False):
            _count("failed")
            log.warning("dropped the notice `%s`: too many are waiting", notice.title)
            return
        self._pool.submit(self._send, notice, file)

    def settle(self) -> None:
        """Return once everything that was put has been sent, or has failed."""
        self._pool.submit(int).result()

    def _send(self, notice: Notice, file: Path) -> None:
        try:
            for line in self._sent(notice, file).splitlines():
                _tell(notice, json.loads(line))
        except Exception as error:
            _count("failed")
            log.warning("the notice `%s` could not be sent: %s", notice.title, error)
        finally:
            self._room.release()

    def _sent(self, notice: Notice, file: Path) -> str:
        """Return what the sending process says; it does not outlive its time."""
        message = {
            "event": notice.event,
            "events": list(Event),
            "type": _APPRISE_TYPE[notice.event],
            "title": notice.title,
            "body": notice.body,
        }
        if not file.is_file():
            raise FileNotFoundError(f"SLIPWAY_NOTIFICATIONS_FILE is {file}, which is not there")
        # Its error output may hold an address.
        done = subprocess.run(
            [sys.executable, "-I", str(SENDER), str(file), str(self.limit)],
            input=f"{json.dumps(message)}\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=self.limit + 30,
            env={name: text for name, text in os.environ.items() if _HANDED_ON.fullmatch(name)},
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the sending process ended with exit code {done.returncode}")
        return done.stdout


OUTBOX = Outbox()
"""What this process tells, of ends and of late runs, goes through one."""


def _tell(notice: Notice, delivery: dict[str, Any]) -> None:
    where = f"{delivery['service']} (line {delivery['number']})"
    if delivery["ok"]:
        _count("sent")
        log.info("sent the notice `%s` to %s", notice.title, where)
    else:
        _count("failed")
        log.warning("the notice `%s` did not reach %s: %s", notice.title, where, delivery["why"])


def _count(outcome: str) -> None:
    from airflow.observability import stats

    stats.incr(f"slipway.notifications.{outcome}")


class Notifications:
    """Listens for the end of runs, and for tasks that fail."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._told: deque[object] = deque(maxlen=1000)

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """Tell that a run ended well, or what it decided."""
        self._ended(dag_run, msg, succeeded=True)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Tell that a run failed, and which task and why."""
        self._ended(dag_run, msg, succeeded=False)

    @hookimpl
    def on_task_instance_failed(
        self,
        task_instance: Any,  # noqa: ANN401 - one of two unrelated classes
        error: str | BaseException | None,
    ) -> None:
        """Keep the sentence of a task that failed, where the notice of its run finds it."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        # The other class: someone marked the task as failed by hand, in the API server.
        if isinstance(task_instance, RuntimeTaskInstance) and error:
            task_instance.xcom_push(FAILURE_KEY, failure_of(error))

    def _ended(self, dag_run: DagRun, cause: str, *, succeeded: bool) -> None:
        settings = Settings.read()
        # The scheduler calls again when its transaction had to be repeated.
        end = (dag_run.id, dag_run.created_at, dag_run.clear_number, succeeded)
        if settings is None or end in self._told:
            return
        run = run_end(dag_run, cause, succeeded=succeeded)
        self._told.append(end)
        if run.idle:
            return
        notice = notice_of(run, settings.places)
        if notice.event in settings.events:
            self.outbox.put(notice, settings.file)


def failure_of(error: str | BaseException) -> dict[str, Any]:
    """Return what is kept of a failure: the sentence, and the exit code where there was one."""
    from airflow.providers.common.compat.sdk import redact

    text = " ".join(str(error).split()) or type(error).__name__
    sentence = str(redact(text))
    while len(json.dumps(sentence)) > SENTENCE_BYTES:
        sentence = sentence[: len(sentence) * 9 // 10]
    kept: dict[str, Any] = {"error": sentence}
    code = getattr(error, "exit_code", None)
    return kept | ({"exit_code": code} if isinstance(code, int) else {})


def tell_late(run: LateRun) -> None:
    """Tell that a run is late, if anybody wants to know; the notice is sent soon."""
    settings = Settings.read()
    if settings is None or Event.LATE not in settings.events:
        return
    OUTBOX.put(late_notice_of(run, settings.places), settings.file)


def run_end(dag_run: DagRun, cause: str, *, succeeded: bool) -> RunEnd:
    """Return a run's end as plain data, read within the transaction that ends it."""
    params = _params_of(dag_run)
    tasks = _tasks_of(dag_run)
    records = [str(task.said["record"]) for task in tasks if "record" in task.said]
    found = [day[1] for record in records if (day := _DAY.search(record))]
    logical = dag_run.logical_date.date().isoformat() if dag_run.logical_date else ""
    return RunEnd(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        succeeded=succeeded,
        cause=cause,
        project=str(params.get("project") or ""),
        day=str(params.get("as_of") or next(iter(found), logical)),
        tasks=tasks,
    )


def _params_of(dag_run: DagRun) -> dict[str, Any]:
    defaults = dag_run.dag.params.dump() if dag_run.dag else {}
    return {**defaults, **(dag_run.conf or {})}


def _tasks_of(dag_run: DagRun) -> list[TaskEnd]:
    from airflow.models.taskinstance import TaskInstance

    with _session_of(dag_run) as session:
        left = _left_by_tasks(dag_run, session)
        columns = TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state
        rows = session.execute(
            select(*columns, TaskInstance.end_date).where(
                TaskInstance.dag_id == dag_run.dag_id, TaskInstance.run_id == dag_run.run_id
            )
        ).all()
    return [
        TaskEnd(
            task_id,
            str(state or ""),
            ended,
            number,
            said=left.get((task_id, number, "return_value"), {}),
            failure=left.get((task_id, number, FAILURE_KEY), {}),
        )
        for task_id, number, state, ended in rows
    ]


@contextmanager
def _session_of(dag_run: DagRun) -> Iterator[Session]:
    """Give the run's own session, to read what its transaction sees, and write nothing.

    `airflow dags test` hands over a run that belongs to none.
    """
    session = object_session(dag_run)
    if session is None:
        with create_session(scoped=False) as session:
            yield session
        return
    with session.no_autoflush:
        yield session


def _left_by_tasks(dag_run: DagRun, session: Session) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Return what the run's tasks have left behind, by task, number and key."""
    from airflow.models.xcom import XComModel

    rows = session.execute(
        select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value).where(
            XComModel.dag_id == dag_run.dag_id,
            XComModel.run_id == dag_run.run_id,
            XComModel.key.in_(("return_value", FAILURE_KEY)),
        )
    )
    left = {(row[0], row[1], row[2]): XComModel.deserialize_value(row) for row in rows}
    return {where: value for where, value in left.items() if isinstance(value, dict)}


class NotificationsPlugin(AirflowPlugin):
    """Registers the listener with Airflow."""

    name = "notifications"
    listeners = [Notifications(OUTBOX)]  # noqa: RUF012 - Airflow wants a list
