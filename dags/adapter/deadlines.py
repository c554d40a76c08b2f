"""What happens when a run is late."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from adapter.environment import DagEnvironment, StagePlace
from adapter.schedule.project_facts import zone_of
from ml.core.errors import BadInputError

log = logging.getLogger(__name__)


GOES_ON = ("queued", "running")


def late_after(limit: timedelta, project: str) -> DeadlineAlert | None:
    """Return the alert of a DAG whose runs should take at most `limit` more than they usually do.

    `project` is the one that runs are about which name none. Usually is the average of ten green
    runs that Airflow picks, once there are three. A deadline counted from
    the moment a run was queued would be simpler, but Airflow 3.3.2 then can't clear a task of the
    run any more: the API answers 500, as it reads the stored interval as a number.
    Local runs have none: `airflow dags test` of Airflow 3.3.2 breaks off at the end of a run whose
    DAG has a deadline, as it looks for an alert that only the DAG processor writes.
    """
    if DagEnvironment.read().place is StagePlace.LOCAL:
        return None
    # The callback runs in the triggerer: the KubernetesExecutor runs none.
    callback = AsyncCallback(report_late_run, {"project": project})
    usual = DeadlineReference.AVERAGE_RUNTIME(max_runs=10, min_runs=3)
    return DeadlineAlert(usual, limit, callback)


async def report_late_run(context: dict[str, Any], project: str, **_: object) -> None:
    """Say in the triggerer's log which run has missed its deadline, and tell people of it.

    Airflow forgets the deadline of a run that ended well, but not of one that failed or was ended
    by hand: of those nobody is told again.
    """
    # Here and not above: a DAG file that says when it is late need not load what tells of it.
    from notifications.notices import LateRun
    from notifications.outbox import tell_late

    run, due = context["dag_run"], context["deadline"]["deadline_time"]
    if run["state"] not in GOES_ON:
        return
    log.warning("run %s of %s has missed its deadline", run["dag_run_id"], run["dag_id"])
    conf = run.get("conf") or {}
    late = LateRun(
        dag_id=run["dag_id"],
        run_id=run["dag_run_id"],
        due=due if isinstance(due, datetime) else datetime.fromisoformat(due),
        project=str(conf.get("project") or project),
        day=str(conf.get("as_of") or _day_of(run.get("logical_date") or "", project)),
    )
    tell_late(late)


def _day_of(logical: str, project: str) -> str:
    """Return the day of a logical date, in writing, on the clocks of the DAG's project."""
    if not logical:
        return ""
    try:
        zone = zone_of(project)
    except BadInputError:  # people are told in any case
        zone = "UTC"
    moment = datetime.fromisoformat(logical.replace("Z", "+00:00"))
    return str(moment.astimezone(ZoneInfo(zone)).date())
