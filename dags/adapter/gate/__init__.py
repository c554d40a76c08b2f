"""Where a run's way parts: whether a candidate is deployed, and whether a training is started."""

__all__ = ["deployment_gate", "training_gate"]
