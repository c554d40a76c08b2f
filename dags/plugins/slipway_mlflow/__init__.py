"""MLflow as Airflow sees it: a connection type, questions to the server, operators and sensors."""

__all__ = ["api", "hook", "links", "operators", "sensors"]
