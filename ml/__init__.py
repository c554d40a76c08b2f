"""Slipway's work itself: the verbs of a training pipeline, free of Airflow and Kubernetes."""
