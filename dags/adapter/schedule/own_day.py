"""Which day a run stands for: one of its project's days, whatever Airflow's clocks show."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from custom_timetables import named_day

from adapter.schedule.project_facts import spec_of


def own_day(dag_run: Any, project: str) -> str:  # noqa: ANN401 - one of Airflow's kinds of runs
    """Return a run's day, as YYYY-MM-DD.

    A run that somebody starts for a date is for that date; any other is for the day that clocks in
    the project's `timezone` show at its logical date, or at its start when it has none. Raises
    AirflowFailException when the project can't be read.
    """
    zone = ZoneInfo(spec_of(project).timezone)
    moment = dag_run.logical_date or dag_run.run_after
    by_hand = getattr(dag_run.run_type, "value", dag_run.run_type) == "manual"
    named = named_day(moment, zone) if by_hand and dag_run.logical_date else None
    return str(named or moment.astimezone(zone).date())


def know_days(task: BaseOperator | MappedOperator) -> None:
    """Let the templates of a task's DAG ask for a run's day, as those of `run_days` do."""
    if dag := task.get_dag():
        dag.user_defined_macros = {**(dag.user_defined_macros or {}), "own_day": own_day}
