"""Sensors that wait without holding a worker: for a day's data, and for MLflow.

- `PartitionSensor`: the manifest of a landing partition is there. It is written after the tables,
  so whoever sees it sees the whole day.
- `MlflowModelVersionSensor`: a model has a version that is ready.
- `MlflowAliasSensor`: an alias is set, or has moved.
- `MlflowMetricSensor`: a metric of a run or of a version is good enough.

Each waits in the triggerer (`deferrable=True`, the default), on a worker (`deferrable=False`), or
on neither between two looks (`deferrable=False, mode="reschedule"`). A server that is away for a
while is waited for too; one that refuses fails the task at once.
"""

from slipway_mlflow.sensors import (
    MlflowAliasSensor,
    MlflowMetricSensor,
    MlflowModelVersionSensor,
    MlflowSensor,
    MlflowTrigger,
)
from waiting.partition import PartitionSensor, PartitionTrigger

# The triggers too: tasks that began to wait before the sensors had rooms of their own are stored
# in Airflow's database with the path `custom_sensors`.
__all__ = [
    "MlflowAliasSensor",
    "MlflowMetricSensor",
    "MlflowModelVersionSensor",
    "MlflowSensor",
    "MlflowTrigger",
    "PartitionSensor",
    "PartitionTrigger",
]
