"""Timetables for DAGs whose runs something else than the clock starts."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable


class BackfillTimetable(CronDataIntervalTimetable):
    """The days of a cron expression, for `airflow backfill create` alone.

    The scheduler makes no run from it. Together with an asset, in an `AssetOrTimeSchedule`, it
    gives a DAG that runs when the asset is updated and can still be run for days of the past,
    which a schedule of assets alone does not allow. The DAG must have `catchup=False`: that is
    how the scheduler's question differs from a backfill's.
    """

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """Return the next day of a backfill; None to the scheduler."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


class TimetablesPlugin(AirflowPlugin):
    """Registers the timetables with Airflow, which stores them by name."""

    name = "custom_timetables"
    timetables = [BackfillTimetable]  # noqa: RUF012 - Airflow wants a list
