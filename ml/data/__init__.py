"""From landed partitions to the frozen parts that teach and test a model."""

__all__ = [
    "daily_features",
    "frames",
    "landing",
    "parts",
    "proofs",
    "raw",
    "recipe",
    "sift",
]
