"""What a DAG takes from the projects' YAML: the choice of projects, and the days with data."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import TypedDict
from zoneinfo import ZoneInfo

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException

from ml.core.errors import BadInputError
from ml.core.project import ProjectSpec, find_projects, read_project

# A schedule needs a first day, and a project need not name one.
_FIRST_DAY = date(2020, 1, 1)


class RunDays(TypedDict):
    """The days for which a DAG makes runs; no `end_date` when there is always a next one."""

    start_date: datetime
    end_date: datetime | None


def days_of(project: str) -> RunDays:
    """Return the first and last day with data as a DAG's `start_date` and `end_date`.

    A project of the past has an end, after which no run is scheduled. Raises BadInputError
    when the project's YAML cannot be read.
    """
    spec = read_project(project).spec
    return {
        "start_date": _midnight(spec.days.start or _FIRST_DAY, spec),
        "end_date": _midnight(spec.days.end, spec) if spec.days.end else None,
    }


def zone_of(project: str) -> str:
    """Return the time zone whose days a project's are; BadInputError as `days_of`."""
    return read_project(project).spec.timezone


def project_params(default: str) -> dict[str, Param]:
    """Return the parameters of a run: the project, and the day unless it is the run's own."""
    return {
        "project": Param(
            default,
            type="string",
            enum=find_projects(),
            title="Project",
            description="The project to work on: a folder with `project.yaml` and `model.py`.",
        ),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="The last day of data to use, as YYYY-MM-DD. "
            "Empty: that of the run's logical date, or today, on the clocks of the project.",
        ),
    }


def spec_of(project: str) -> ProjectSpec:
    """Read a running task's project; AirflowFailException when it cannot be read."""
    try:
        return read_project(project).spec
    except BadInputError as error:
        raise AirflowFailException(str(error)) from None


def _midnight(day: date, spec: ProjectSpec) -> datetime:
    return datetime.combine(day, time(), tzinfo=ZoneInfo(spec.timezone))
