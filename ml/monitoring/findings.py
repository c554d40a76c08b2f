"""What monitoring has seen of a model in use, and what it makes of it."""

from datetime import date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from ml.core.project import Monitor
from ml.training.intervals import Interval

MONITORING = "monitoring"
"""The name of what monitor found among its outputs."""


class Frozen(BaseModel):
    """A part of what monitoring writes down."""

    model_config = ConfigDict(frozen=True)


class Verdict(StrEnum):
    """How a model in use does, from good to bad."""

    HEALTHY = "healthy"
    WATCH = "watch"
    RETRAIN = "retrain"


class Measures(Frozen):
    """The numbers of some scored rows; those that need labels are None without them."""

    scored: int
    refused: int
    labelled: int
    mean_score: float | None = None
    positive_rate: float | None = None
    auc: Interval | None = None
    log_loss: float | None = None
    brier: float | None = None

    @property
    def rows(self) -> int:
        """All rows that asked for a score."""
        return self.scored + self.refused

    @property
    def coverage(self) -> float:
        """Share of the scored rows whose label has arrived."""
        return self.labelled / self.scored if self.scored else 0.0

    @property
    def refused_share(self) -> float:
        """Share of all rows that were not scored."""
        return self.refused / self.rows if self.rows else 0.0


class Model(Frozen):
    """A version, and the digest that keeps it apart from another of that number."""

    version: str
    sha256: str


class GateRecord(Frozen):
    """How good a model was when the gate let it through."""

    auc: Interval
    as_of: date
    record: str


class Reading(Frozen):
    """One day of one model."""

    day: date
    model: Model
    measures: Measures
    reasons: dict[str, int] = Field(default_factory=dict)
    gate: GateRecord | None = None
    run_id: str = ""


class Signal(Frozen):
    """One way of looking at the model, and what it says."""

    name: str
    verdict: Verdict
    reason: str


class Training(Frozen):
    """Whether to train now; `note` says why not, when the decision asks for it."""

    due: bool
    note: str = ""


class Monitoring(Frozen):
    """All that one run of monitoring found: the content of monitoring.json."""

    project: str
    title: str
    as_of: date
    rules: Monitor
    model: Model
    gate: GateRecord | None
    champion: str
    readings: list[Reading]
    window: Measures
    signals: list[Signal]
    decision: Verdict
    reason: str
    training: Training
