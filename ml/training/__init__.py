"""From a frozen split to a measured candidate, and the gate's decision about it."""

__all__ = [
    "clusters",
    "evaluation",
    "intervals",
]
