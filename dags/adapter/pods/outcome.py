"""Turns the end of a stage into the end of its Airflow task."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from adapter.pods.results import NoResultError, StageEnd, result_of
from ml.core.record import Status


class Log(Protocol):
    """The part of a task's logger that is needed here."""

    def log(self, level: int, event: str, *args: object) -> object:
        """Write one line."""


class StageFailedError(AirflowException):
    """A stage failed; its exit code says what kind of failure it was."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class StageFailedForGoodError(StageFailedError, AirflowFailException):
    """A stage failed in a way that no second try can mend."""


def conclude(verb: str, ending: StageEnd, log: Log) -> dict[str, Any]:
    """Return the stage's result.

    Raises StageFailedForGoodError, which is never retried, when a second try cannot help,
    else StageFailedError. Either carries the stage's own sentence.
    """
    try:
        result = result_of(verb, ending)
    except NoResultError as failed:
        log.log(logging.ERROR, "%s", failed)
        kind = StageFailedError if failed.retry else StageFailedForGoodError
        raise kind(str(failed), failed.exit_code) from None
    log.log(logging.INFO, "%s %s: %s", verb, result.get("status", "done"), result["record"])
    return result


def skip_refused(verb: str, result: dict[str, Any]) -> None:
    """End the task of a stage that refused as skipped, and with it all that builds on it.

    Nothing is wrong then, so that the run stays green. To be called when the result is handed
    over, as this leaves by AirflowSkipException.
    """
    if result.get("status") == Status.REFUSED:
        raise AirflowSkipException(f"{verb} refused: {result.get('reason')}")
