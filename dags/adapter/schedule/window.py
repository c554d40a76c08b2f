"""The wait of a training that features start: for the day's data, if a model can be made of it."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException
from waiting.partition import PartitionSensor

from adapter.schedule.project_facts import spec_of


class WindowSensor(PartitionSensor):
    """Wait for the day's partition, unless the project has no whole window of days by then.

    Features of a project's first days are built as any others, and start the training as those do.
    Nothing can be trained on them yet, which is nobody's fault: the run is skipped. A run that
    somebody asked for goes on, and fails with the day that is missing.
    """

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - the sensor's own
        """Skip the run, or wait; AirflowFailException when the project cannot be read."""
        by_features = context.get("triggering_asset_events")
        first = spec_of(self.project).days.first_model if by_features else None
        if first and date.fromisoformat(self.as_of) < first:
            raise AirflowSkipException(
                f"{self.project} has a whole window of days from {first} on: "
                f"nothing to train for {self.as_of}"
            )
        return super().execute(context)
