"""How a sensor of ours waits, and the wait for a day's data."""

__all__ = ["deferral", "partition"]
