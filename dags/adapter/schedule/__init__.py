"""When runs are made, and for which project and which days."""

__all__ = ["batch", "features", "own_day", "project_facts", "run_days", "window"]
