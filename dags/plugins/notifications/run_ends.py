"""How a run ended, read from Airflow's database within the transaction that ends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.orm import object_session

from notifications.notices import RunEnd, TaskEnd

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

FAILURE_KEY = "failure"
"""The XCom in which a failed task leaves its sentence."""

_DAY = re.compile(r"/dt=(\d{4}-\d{2}-\d{2})/")


def run_end(dag_run: DagRun, cause: str, *, succeeded: bool) -> RunEnd:
    """Return a run's end as plain data, read within the transaction that ends it."""
    params = _params_of(dag_run)
    tasks = _tasks_of(dag_run)
    records = [str(task.said["record"]) for task in tasks if "record" in task.said]
    found = [day[1] for record in records if (day := _DAY.search(record))]
    return RunEnd(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        succeeded=succeeded,
        cause=cause,
        project=str(params.get("project") or ""),
        day=str(params.get("as_of") or next(iter(found), _logical_day(dag_run))),
        tasks=tasks,
    )


def _logical_day(dag_run: DagRun) -> str:
    """Return the day of a run's logical date on the clocks of its DAG, which are its project's."""
    if not dag_run.logical_date:
        return ""
    return str(dag_run.logical_date.astimezone(getattr(dag_run.dag, "timezone", UTC)).date())


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
