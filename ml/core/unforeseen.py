"""The last net: what no other place has turned into a sentence is told here, by its kind."""

import traceback
from pathlib import Path

from ml.core.disk import told
from ml.core.errors import BadInputError, StageError
from ml.core.users_code import place_in_users_code

REPORT = (
    "this is a fault of Slipway: SLIPWAY_DEBUG=1 shows all of it, which belongs in a report to "
    "whoever maintains it"
)


def as_sentence(error: BaseException, doing: str) -> StageError:
    """Return the error to tell; `doing` says what was being done."""
    if isinstance(error, StageError):
        return error
    if isinstance(error, OSError):
        return told(error)
    if isinstance(error, ImportError):
        return lacking(error, doing)
    if isinstance(error, MemoryError):
        return BadInputError(f"{doing} needs more memory than it may have: give it more")
    if place := place_in_users_code(error):
        return BadInputError(f"the project's code fails at {place}: {_text(error)}")
    return StageError(f"unexpected {_text(error)}, at {_where(error)} in {doing}; {REPORT}")


def lacking(error: ImportError, doing: str) -> BadInputError:
    """Say which package is not there."""
    name = error.name or " ".join(str(error).split())
    return BadInputError(f"{doing} needs the package {name}, which is not here: install it")


def _text(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if not f.filename.startswith("<")), None)
    return f"{Path(frame.filename).name}:{frame.lineno}" if frame else "no line"
