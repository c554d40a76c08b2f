"""What a stage says when it ends: a small JSON object, or one sentence about what went wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

LIMIT = 1024
"""The most bytes a result may have: it travels through Airflow's database."""

NEVER_RETRIED = frozenset({2, 3, 4})
"""Exit codes that say a second try ends the same: wrong usage, bad data, a refused roll-out."""

UNKNOWN_EXIT = -1
"""The exit code of a pod that ended before its container could have one."""


@dataclass(frozen=True)
class StageEnd:
    """How a stage's process ended.

    `message` is what it left as its last words, `reason` is Kubernetes' own word for an
    end that was not the stage's doing, such as `OOMKilled` or `Evicted`.
    """

    exit_code: int
    message: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the ending as plain JSON, to travel in a trigger's event."""
        return asdict(self)


class NoResultError(Exception):
    """A stage that ended without a result; `retry` tells whether a second try can help."""

    def __init__(self, sentence: str, *, retry: bool, exit_code: int = 0) -> None:
        super().__init__(sentence)
        self.retry = retry
        self.exit_code = exit_code


def result_of(verb: str, ending: StageEnd) -> dict[str, Any]:
    """Return the result a stage left behind, a dict with at least `record`.

    Raises NoResultError with one sentence when the stage failed or left no usable result.
    """
    if ending.exit_code != 0:
        raise _failure(verb, ending)
    if len(ending.message.encode()) > LIMIT:
        raise NoResultError(f"{verb} left a result of more than {LIMIT} bytes", retry=False)
    result = _json_object(ending.message)
    if result is None or not isinstance(result.get("record"), str):
        raise NoResultError(f"{verb} ended well but left no result", retry=True)
    return result


def apart(verb: str, ending: StageEnd) -> tuple[StageEnd, dict[str, dict[str, Any]]]:
    """Return the ending of a stage that may have shared its pod, and the others' results by verb.

    A stage that is done has ended well, however its pod ended after it.
    """
    said = _json_object(ending.message) or {}
    if not isinstance(said.get("results"), list):
        return ending, {}
    by_verb = {str(one.get("stage")): one for one in said["results"] if isinstance(one, dict)}
    own = by_verb.pop(verb, {})
    done = {name: one for name, one in by_verb.items() if isinstance(one.get("record"), str)}
    if isinstance(own.get("record"), str):
        return StageEnd(0, json.dumps(own)), done
    return StageEnd(ending.exit_code, json.dumps(own) if own else "", ending.reason), {}


def _failure(verb: str, ending: StageEnd) -> NoResultError:
    said = _json_object(ending.message) or {}
    sentence = said.get("error") or _last_words(ending)
    retry = ending.exit_code not in NEVER_RETRIED and said.get("retry") is not False
    return NoResultError(f"{verb} failed: {sentence}", retry=retry, exit_code=ending.exit_code)


def _last_words(ending: StageEnd) -> str:
    if ending.reason == "OOMKilled":
        return "it needed more memory than its limit; raise the limit or give it less data"
    if ending.reason == "DeadlineExceeded":
        return "it took longer than its execution timeout"
    lines = [line.strip() for line in ending.message.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    said = (errors or lines or [""])[-1].removeprefix("error: ")
    how = ending.reason or f"exit code {ending.exit_code}"
    return said[:LIMIT] or f"it ended with {how} and no word why; see the log"


def _json_object(message: str) -> dict[str, Any] | None:
    try:
        value = json.loads(message)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
