"""From a registered version to the one that users reach, and back."""

__all__ = [
    "roll_back",
]
