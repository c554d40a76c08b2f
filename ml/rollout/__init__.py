"""From a registered version to the one that users reach, and back."""

__all__ = [
    "give_back",
    "history",
    "roll_back",
]
