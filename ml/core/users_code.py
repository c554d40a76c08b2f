"""Where code of the user runs: whatever it raises is one sentence with the line it comes from."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.core.disk import passes
from ml.core.errors import BadInputError, StageError, Stopped

MODULES = "slipway_project_"
"""How the names of the modules begin that are made of users' files."""


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Run what a user wrote; BadInputError saying that `what` failed, whatever it raises.

    Also what is no Exception: a library's panic, and an exit, which would end the stage as if it
    were done. StageError where only a connection failed.
    """
    try:
        yield
    except (StageError, Stopped, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        kind = StageError if passes(error) else BadInputError
        raise kind(f"{what}{_place(error)}: {_told(error)}") from error


def place_in_users_code(error: BaseException) -> str:
    """Return `model.py:12`, the last line of a user's that an error came through; "" if none."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).startswith(MODULES):
            found = f"{Path(frame.f_code.co_filename).name}:{line}"
    return found


def _place(error: BaseException) -> str:
    place = place_in_users_code(error)
    return f" at {place}" if place else ""


def _told(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process with exit({error.code!r}), which is not its place"
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}".removesuffix(": ")
