"""MLflow: runs, registered versions and the names that they go by."""

__all__ = [
    "aliases",
    "mlflow_client",
    "model_registry",
    "tracking",
]
