"""The one table of verbs: what `python -m ml` can do, what a DAG can use, and what each needs.

To add a verb, add its row here and write `run(job)` in the module that the row names.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self


class Profile(StrEnum):
    """The rights and secrets that a stage's process needs; a pod template each in the chart."""

    DATA = "data"
    MODEL = "model"
    ROLL_OUT = "roll_out"
    SMOKE = "smoke"


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What is known of one verb.

    `room` is the folder of its module, `does` one sentence for whoever asks for help. `upstream`
    is the verb whose record it starts from, "" for a first one. `timeout` is the longest a healthy
    stage takes, waiting for its pod included. `tells` are the facts of its record that its result
    repeats, `days` says what --days means to it, "" when it takes none.
    """

    name: str
    room: str
    does: str
    profile: Profile
    upstream: str = ""
    timeout: timedelta
    tells: tuple[str, ...]
    days: str = ""


class Stage(StrEnum):
    """Every stage; its value is its verb, and its attributes are what its row says.

    The first eight are a training pipeline, in order.
    """

    room: str
    does: str
    profile: Profile
    timeout: timedelta
    tells: tuple[str, ...]
    days: str
    _upstream: str

    INGEST = Verb(
        name="ingest",
        room="data",
        does="Freeze the window's landed partitions as one dataset, each file checked by its "
        "digest.",
        profile=Profile.DATA,
        timeout=timedelta(minutes=30),
        tells=("days", "rows"),
        days="Days of data up to --as-of; by default the project's.",
    )
    VALIDATE = Verb(
        name="validate",
        room="data",
        does="Check types, nulls, ranges and keys of the dataset against project.yaml.",
        profile=Profile.DATA,
        upstream="ingest",
        timeout=timedelta(minutes=30),
        tells=("tables", "checked"),
    )
    BUILD_FEATURES = Verb(
        name="build_features",
        room="data",
        does="Turn raw tables into features, day by day, and refuse any that leak the future.",
        profile=Profile.DATA,
        upstream="validate",
        timeout=timedelta(hours=1),
        tells=("rows", "features", "built"),
    )
    SPLIT = Verb(
        name="split",
        room="data",
        does="Separate the days to learn from and the last days, which only test.",
        profile=Profile.DATA,
        upstream="build_features",
        timeout=timedelta(minutes=30),
        tells=("train_rows", "holdout_rows", "positive_share"),
    )
    TRAIN = Verb(
        name="train",
        room="training",
        does="Fit the candidate, log it to MLflow and publish the artifact that will be served.",
        profile=Profile.MODEL,
        upstream="split",
        timeout=timedelta(hours=4),
        tells=("run_id", "auc", "format"),
    )
    EVALUATE = Verb(
        name="evaluate",
        room="training",
        does="Measure candidate and champion on the same holdout and decide between them.",
        profile=Profile.MODEL,
        upstream="train",
        timeout=timedelta(hours=1),
        tells=("decision", "reason", "candidate_score", "champion_score", "champion_version"),
    )
    REGISTER = Verb(
        name="register",
        room="registry",
        does="Register the candidate in MLflow as challenger, with the decision and its reason.",
        profile=Profile.MODEL,
        upstream="evaluate",
        timeout=timedelta(minutes=30),
        tells=(
            "version",
            "run_id",
            "decision",
            "reason",
            "candidate_score",
            "champion_score",
            "champion_version",
            "holdout_rows",
        ),
    )
    ROLL_OUT = Verb(
        name="roll_out",
        room="rollout",
        does="Serve the new version, check its answers, and only then name it champion.",
        profile=Profile.ROLL_OUT,
        upstream="register",
        timeout=timedelta(hours=1),
        tells=("version", "run_id", "endpoint"),
    )
    PIN_CHAMPION = Verb(
        name="pin_champion",
        room="registry",
        does="Write down which version is champion now, for all the days that are scored with it.",
        profile=Profile.MODEL,
        timeout=timedelta(minutes=30),
        tells=("version", "sha256"),
    )
    SCORE = Verb(
        name="score",
        room="scoring",
        does="Score whole days with the pinned champion; the same day and version once only.",
        profile=Profile.DATA,
        upstream="pin_champion",
        timeout=timedelta(hours=4),
        tells=("version", "rows", "mean_score", "refused", "reasons"),
        days="Days up to --as-of; by default that day alone.",
    )
    MONITOR = Verb(
        name="monitor",
        room="monitoring",
        does="Measure the predictions of the last days and decide: healthy, watch or retrain.",
        profile=Profile.MODEL,
        timeout=timedelta(minutes=30),
        tells=(
            "decision",
            "reason",
            "start_training",
            "training_note",
            "version",
            "auc",
            "gate_auc",
        ),
    )
    REPORT = Verb(
        name="report",
        room="monitoring",
        does="Write what monitor found as a page that anyone can read.",
        profile=Profile.MODEL,
        upstream="monitor",
        timeout=timedelta(minutes=30),
        tells=(
            "decision",
            "reason",
            "start_training",
            "training_note",
            "version",
            "run_id",
            "report",
        ),
    )
    BUILD_ARTIFACTS = Verb(
        name="build_artifacts",
        room="rollout",
        does="Check all that a deployment needs, and write down what the deployed model must "
        "answer.",
        profile=Profile.DATA,
        upstream="register",
        timeout=timedelta(minutes=30),
        tells=("version", "format", "bytes", "columns"),
    )
    SMOKE = Verb(
        name="smoke",
        room="rollout",
        does="Ask the deployed model what it must answer, and what it must refuse.",
        profile=Profile.SMOKE,
        upstream="roll_out",
        timeout=timedelta(minutes=15),
        tells=("version", "rows", "p50_ms", "p95_ms"),
    )
    PRESENT = Verb(
        name="present",
        room="rollout",
        does="Write one page about the training, the decision and the deployment.",
        profile=Profile.DATA,
        upstream="smoke",
        timeout=timedelta(minutes=15),
        tells=("version", "run_id", "report"),
    )
    DESCRIBE = Verb(
        name="describe",
        room="monitoring",
        does="Record what the deployed model's data and scores look like, to compare later days "
        "with.",
        profile=Profile.DATA,
        upstream="smoke",
        timeout=timedelta(minutes=30),
        tells=("version", "rows", "columns", "bytes"),
    )

    def __new__(cls, verb: Verb | str) -> Self:
        """Make a string of the verb that carries its row; by its name, a stage is only found."""
        assert isinstance(verb, Verb)  # noqa: S101 - for the type checker
        stage = str.__new__(cls, verb.name)
        stage._value_ = verb.name
        stage.room, stage.does, stage.profile = verb.room, verb.does, verb.profile
        stage.timeout, stage.tells, stage.days = verb.timeout, verb.tells, verb.days
        stage._upstream = verb.upstream
        return stage

    @property
    def module(self) -> str:
        """The module whose `run(job)` does the work."""
        return f"ml.{self.room}.{self}"

    @property
    def upstream(self) -> "Stage | None":
        """The stage whose record this one starts from; None for a first one."""
        return Stage(self._upstream) if self._upstream else None

    @classmethod
    def _missing_(cls, value: object) -> "Stage | None":
        # Records from before the verb was spelt as MLflow spells it are still read.
        return cls.BUILD_ARTIFACTS if value == "build_artefacts" else None
