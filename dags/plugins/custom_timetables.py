"""Timetables whose runs stand for days, also of DAGs that something else than the clock starts.

A day is one of the timetable's zone, whatever Airflow's clocks show: see `named_day`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo
from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import timezone
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import DateTime

if TYPE_CHECKING:
    from collections.abc import Iterator


def named_day(moment: datetime, zone: tzinfo) -> date | None:
    """Return the date that somebody means who gives a date without a time; None for a time.

    Airflow makes a moment of it: the midnight of its own clocks (`core.default_timezone`) in its
    commands, that of UTC in its UI and for most callers of its API, that of `zone` in a schedule.
    """
    for clock in _clocks(zone):
        local = moment.astimezone(clock)
        if local.time() == time():
            return local.date()
    return None


def _clocks(zone: tzinfo) -> Iterator[tzinfo]:
    yield zone
    if airflows := timezone.parse("1970-01-01").tzinfo:
        yield airflows
    yield UTC


class DaysTimetable(CronDataIntervalTimetable):
    """A cron expression whose runs each stand for a day of the timetable's zone.

    As Airflow's own, but that the ends of a backfill are days: `--from-date 2013-03-01` begins with
    that day of the zone, and `--to-date` ends with one, wherever Airflow's clocks are.
    """

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """Return the next run."""
        if restriction.catchup:  # as of our DAGs, which have `catchup=False`, only a backfill asks
            first = self._end_of(restriction.earliest, time())
            last = self._end_of(restriction.latest, time.max)
            restriction = TimeRestriction(first, last, catchup=True)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )

    def _end_of(self, moment: DateTime | None, at: time) -> DateTime | None:
        day = named_day(moment, self._timezone) if moment else None
        if day is None:
            return moment
        return DateTime.instance(datetime.combine(day, at), tz=self._timezone)


class BackfillTimetable(DaysTimetable):
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
    timetables = [BackfillTimetable, DaysTimetable]  # noqa: RUF012 - Airflow wants a list
