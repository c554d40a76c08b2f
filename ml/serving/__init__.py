"""The HTTP server that answers predictions, and the model files it reads; it knows nothing else."""

__all__ = [
    "artifact",
    "inputs",
    "manifest",
    "predictors",
    "refusals",
    "rows",
]
