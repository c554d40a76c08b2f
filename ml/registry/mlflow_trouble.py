"""What MLflow's errors mean: which of them a person must mend, and how.

The same for its client, its server, its database and the store of its artifacts, each of which
raises errors of its own.
"""

from ml.core.disk import told as refused
from ml.core.errors import BadInputError, StageError, first_line
from ml.registry.mlflow_login import without_password

LONGEST = 600
# Of two who write one row at once the second is told this, and finds the row when it tries anew.
AT_ONCE = "BAD_REQUEST"
TRIED_AGAIN = frozenset({408, 409, 425, 429})
GONE = (
    "if it was deleted, restore it in MLflow, or remove the records of train and register of that "
    "day and run the day again"
)
DAMAGED = "restore it from a backup, or move it away, and an empty one is begun"
PLACE = "make room, or give this user the right to write there, or name another MLFLOW_TRACKING_URI"
LOGIN = "check the login in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD and its rights"
WAYS_OUT = {
    "deleted": "restore it in MLflow, then try again",
    "not a database": DAMAGED,
    "malformed": DAMAGED,
    "no such table": DAMAGED,
    "no such column": DAMAGED,
    "unexpected state": DAMAGED,
    "out-of-date database schema": "it is of another release of MLflow: use that one, or upgrade "
    "the database with `mlflow db upgrade`",
    "Can't locate revision": "it is of a newer release of MLflow: use that one",
    "readonly database": PLACE,
    "unable to open database": PLACE,
    "disk is full": PLACE,
    "disk I/O error": PLACE,
    "Invalid Host": "add this name to the server's allowed hosts",
}
"""What to do, by words of the error's; nothing of it mends itself."""


class TrackingError(StageError):
    """MLflow said no, or nothing at all; `error_code` is its word for it, if it gave one."""

    def __init__(self, message: str, error_code: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code


class TrackingRefusedError(TrackingError, BadInputError):
    """MLflow said no, and will say so again until a person mends something."""


def trouble(uri: str, text: str, *, code: str = "", status: int = 0) -> TrackingError:
    """Say what MLflow at an address said; `code` is its word for it, `status` HTTP's."""
    said = without_password(f"MLflow at {uri}: {' '.join(text.split())}")[:LONGEST]
    if way_out := _way_out(text, code, status):
        return TrackingRefusedError(f"{said}: {way_out}", code)
    final = 400 <= status < 500 and status not in TRIED_AGAIN and code != AT_ONCE
    return (TrackingRefusedError if final else TrackingError)(said, code)


def _way_out(text: str, code: str, status: int) -> str:
    for words, way_out in WAYS_OUT.items():
        if words in text:
            return way_out
    if code == "RESOURCE_DOES_NOT_EXIST":
        return GONE
    return LOGIN if status in (401, 403) else ""


def told(uri: str, error: Exception) -> StageError | None:
    """Say in one sentence what an error of MLflow's client means; None for one of others."""
    family = type(error).__module__.partition(".")[0]
    said = first_line(error)
    if family == "mlflow":
        code = str(getattr(error, "error_code", ""))
        status = getattr(error, "get_http_status_code", lambda: 0)()
        return trouble(uri, said, code=code, status=status)
    if family in ("sqlalchemy", "sqlite3", "alembic"):
        return trouble(uri, said)
    if family in ("requests", "botocore", "boto3"):
        return trouble(uri, said, status=_status(error))
    return refused(error) if isinstance(error, OSError) else None


def _status(error: Exception) -> int:
    """Return the status that an artifact's store answered with, 0 where it did not answer."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return int(getattr(answer, "status_code", 0))
