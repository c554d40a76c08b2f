"""When runs are made, and for which project and which days."""

__all__ = ["batch", "features", "project_facts", "run_days", "window"]
