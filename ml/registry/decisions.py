"""What the gate decided of a version: once, on the version; what is compared later, beside it.

A day that is run again meets another champion and is measured anew. That is a record of its own,
under `comparisons/` of the training's run, and rewrites nothing of what was decided at the time.
"""

from dataclasses import dataclass
from typing import Any

from ml.core.job import Job, log
from ml.core.record import Record
from ml.registry.aliases import TAG, Alias
from ml.registry.model_registry import ModelRegistry

DECISION = "decision.json"
COMPARISONS = "comparisons"
EVALUATION = f"{TAG}evaluation"
"""Names the evaluation that decided; written first, so that no other takes its place."""
WORDS = ("decision", "reason", "rival")
METRICS = ("candidate_score", "champion_score", "latency_ms")


@dataclass(frozen=True)
class Decided:
    """One evaluation of one version."""

    job: Job
    trained: Record
    evaluated: Record
    version: str
    measured: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The training's run in MLflow."""
        return str(self.trained.facts["run_id"])

    @property
    def document(self) -> dict[str, Any]:
        """All of it, as it is kept with the run."""
        origin = {
            "as_of": str(self.trained.as_of),
            "fingerprint": self.trained.fingerprint,
            "sha256": str(self.trained.facts["sha256"]),
            "train_until": str(self.trained.facts["train_until"]),
        }
        return self.measured | {"version": self.version, "train": origin}

    @property
    def place(self) -> str:
        """Where a comparison is kept, in the order of their times."""
        when = self.evaluated.created_at
        return f"{COMPARISONS}/{when:%Y%m%dT%H%M%S.%f}-{self.evaluated.fingerprint}.json"


def remember(models: ModelRegistry, decided: Decided) -> None:
    """Write a decision down, where the version has none yet; a later one is kept beside it."""
    if not _is_first(models, decided):
        log.info("version %s was decided on before: this comparison is kept", decided.version)
        models.log_dict(decided.run_id, decided.document, decided.place)
        return
    project, version = decided.job.project, decided.version
    models.set_model_version_tag(project, version, EVALUATION, decided.evaluated.fingerprint)
    for name in WORDS:
        value = str(decided.evaluated.facts[name])
        models.set_model_version_tag(project, version, f"{TAG}{name}", value)
        models.set_tag(decided.run_id, f"{TAG}{name}", value)
    models.set_tag(decided.run_id, f"{TAG}record", str(decided.job.upstream))
    for name in METRICS:
        if decided.evaluated.facts[name] is not None:
            models.log_metric(decided.run_id, name, float(decided.evaluated.facts[name]))
    models.log_dict(decided.run_id, decided.document, DECISION)
    _name_challenger(models, decided)


def _is_first(models: ModelRegistry, decided: Decided) -> bool:
    tags = models.get_model_version(decided.job.project, decided.version).tags
    # Versions from before evaluations were named have a decision alone.
    by = tags.get(EVALUATION) or tags.get(f"{TAG}decision")
    return by in (None, decided.evaluated.fingerprint)


def _name_challenger(models: ModelRegistry, decided: Decided) -> None:
    """The newest version is the challenger: an older one that ends late does not take the name."""
    project, version = decided.job.project, decided.version
    found = models.search_registered_models(f"name = '{project}'")
    newest = found[0].aliases.get(Alias.CHALLENGER) if found else None
    if newest is None or int(newest) < int(version):
        models.set_registered_model_alias(project, Alias.CHALLENGER, version)
        log.info("version %s is the challenger", version)
