"""How a stage becomes a pod, or a process where there is no cluster, and how its end is read."""

__all__ = ["local_stage", "pod_stage", "pod_trigger"]
