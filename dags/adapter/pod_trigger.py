"""Where Airflow's database has the trigger of stages that wait since before an upgrade.

A training waits for hours. Were its trigger not found any more, its task would fail and use up
a try; so this path stays as long as releases are upgraded that stored it.
"""

from adapter.pods.pod_trigger import StagePodTrigger

__all__ = ["StagePodTrigger"]
