"""Predictions for whole days, in files."""

__all__: list[str] = []
