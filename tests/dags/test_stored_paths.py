"""What Airflow keeps by its path can still be found there after an upgrade.

Tasks wait for hours, and a run's deadline is written down at its start: what a release before has
stored must be found by the next one.
"""

from __future__ import annotations

from typing import Any

import pytest
from adapter.bundle import ImageBundle
from adapter.deadlines import report_late_run
from adapter.pods.pod_trigger import StagePodTrigger
from airflow.sdk._shared.module_loading import import_string
from custom_timetables import BackfillTimetable
from slipway_mlflow.conditions import AliasSet, stored
from slipway_mlflow.sensors import MlflowTrigger
from waiting.partition import PartitionTrigger

TIMES = {"poke_interval": 30.0, "give_up_at": 1.0}
PARTITION = {"manifest_url": "s3://landing/x", "aws_conn_id": "landing", **TIMES}
CONDITION = {
    "condition": stored(AliasSet("flights", "champion")),
    "mlflow_conn_id": "mlflow",
    **TIMES,
}


@pytest.mark.parametrize(
    ("path", "thing"),
    [
        ("adapter.bundle.ImageBundle", ImageBundle),
        ("adapter.deadlines.report_late_run", report_late_run),
        ("adapter.pod_trigger.StagePodTrigger", StagePodTrigger),
        ("adapter.pods.pod_trigger.StagePodTrigger", StagePodTrigger),
        ("custom_sensors.MlflowTrigger", MlflowTrigger),
        ("custom_sensors.PartitionTrigger", PartitionTrigger),
        ("custom_timetables.BackfillTimetable", BackfillTimetable),
        ("slipway_mlflow.sensors.MlflowTrigger", MlflowTrigger),
        ("waiting.partition.PartitionTrigger", PartitionTrigger),
    ],
)
def test_stored_path_leads_to_it(path: str, thing: Any) -> None:  # noqa: ANN401
    """By its home and name: Airflow loads a plugin's module of its own accord, once more."""
    found = import_string(path)
    assert (found.__module__, found.__qualname__) == (thing.__module__, thing.__qualname__)


@pytest.mark.parametrize(
    ("trigger", "kwargs"), [(PartitionTrigger, PARTITION), (MlflowTrigger, CONDITION)]
)
def test_stored_trigger_is_made_again(trigger: Any, kwargs: dict[str, Any]) -> None:  # noqa: ANN401
    assert trigger(**kwargs).serialize()[1] == kwargs
