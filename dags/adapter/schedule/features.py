"""A project's features as an Airflow asset: who makes them says so, who needs them waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, AssetAlias, AssetOrTimeSchedule, Context
from custom_timetables import BackfillTimetable, DaysTimetable

from adapter.schedule.project_facts import zone_of

FEATURES = AssetAlias("features")
"""The outlet of a task that builds features; which project's, only its run knows."""


ANNOUNCED: dict[str, Any] = {
    "outlets": [FEATURES],
    # One at a time: where two tell of a project's first features at the same moment, both add the
    # asset to the alias, and Airflow 3.3 sets the second task to failed though its work is done.
    "max_active_tis_per_dag": 1,
}
"""What a task is given that tells of the features it has built."""


def features_of(project: str) -> Asset:
    """Return the asset that has an event for every day of a project's features."""
    # Not `s3://`: to look that over, Airflow loads boto3 each time a DAG file is parsed.
    return Asset(name=f"features/{project}", uri=f"x-slipway://data/{project}/build_features")


def on_features(project: str) -> AssetOrTimeSchedule:
    """Return the schedule of a DAG that runs whenever a day's features of a project are built.

    No run is made by the clock, but `airflow backfill create` takes any range of days.
    """
    # Airflow takes a registered timetable here too, which its annotation does not say.
    days: Any = BackfillTimetable("@daily", timezone=zone_of(project))
    return AssetOrTimeSchedule(timetable=days, assets=[features_of(project)])


def on_days(cron: str, project: str) -> Any:  # noqa: ANN401 - what a DAG takes as its schedule
    """Return the schedule of a DAG that runs once for each of a project's days, as `cron` says."""
    return DaysTimetable(cron, timezone=zone_of(project))


def announce(
    outlets: Sequence[object], context: Context, project: str, as_of: str, result: dict[str, Any]
) -> None:
    """Tell Airflow that a day's features are there, if that is what the task is for.

    Features that were found, not built, are told too: the try that built them may have died
    before it could say so.
    """
    if FEATURES in outlets:
        event = {"as_of": as_of, "record": result["record"]}
        context["outlet_events"][FEATURES].add(features_of(project), extra=event)
