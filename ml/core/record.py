"""What a stage leaves behind (a Record) and what it tells its caller (a Result)."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ml.stages import Stage

RESULT_BYTES = 1024
# Kubernetes keeps 4096 bytes of a container's last words; some are for what is around the results.
MESSAGE_BYTES = 4000
Fact: TypeAlias = str | int | float | bool | dict[str, int] | None


class Output(BaseModel):
    """One object a stage published: where, and what its bytes must be."""

    model_config = ConfigDict(frozen=True)

    uri: str
    sha256: str
    bytes: int
    rows: int | None = None


class Record(BaseModel):
    """Proof that a stage is done: inputs, outputs and the facts the next stages need.

    It is published last, so whoever finds one finds all its outputs too.
    """

    model_config = ConfigDict(frozen=True)

    stage: Stage
    project: str
    as_of: date
    fingerprint: str
    inputs: list[str] = Field(default_factory=list)
    outputs: dict[str, Output] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    revision: str = ""


class Status(StrEnum):
    """How a stage ended; refused is what, for a reason that its facts give, was not to be done."""

    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    FAILED = "failed"


class Result(BaseModel):
    """What crosses from one stage to the next: addresses and a few facts, at most 1 KiB."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    status: Status
    record: str = ""
    fingerprint: str = ""
    facts: dict[str, Fact] = Field(default_factory=dict)
    error: str = ""

    def as_json(self, limit: int = RESULT_BYTES) -> str:
        """Write the result flat, shortening its longest sentence until it fits."""
        fields: dict[str, Any] = {"stage": self.stage, "status": self.status}
        fields |= {k: v for k in ("record", "fingerprint", "error") if (v := getattr(self, k))}
        return _fit(fields | self.facts, limit)


def results_as_json(results: Sequence[Result], room_for: int) -> str:
    """Write the results of stages that share a pod, so that all `room_for` of them would fit."""
    limit = min(RESULT_BYTES, MESSAGE_BYTES // room_for - 2)
    return f'{{"results": [{", ".join(result.as_json(limit) for result in results)}]}}'


def _fit(fields: dict[str, Any], limit: int) -> str:
    # With escapes, as whoever passes the result on may write it.
    while len(text := json.dumps(fields)) > limit:
        sentences = [k for k in ("error", "reason") if len(str(fields.get(k, ""))) > 1]
        if not sentences:
            raise ValueError(f"a result of {len(text)} bytes cannot be cut to {limit}")
        longest = max(sentences, key=lambda k: len(fields[k]))
        fields[longest] = fields[longest][: len(fields[longest]) * 9 // 10 - 1] + "…"
    return text
