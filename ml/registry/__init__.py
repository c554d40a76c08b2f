"""MLflow: runs, registered versions and the names that they go by."""

__all__ = [
    "aliases",
    "model_registry",
    "tracking",
]
