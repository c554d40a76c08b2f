"""register: make the candidate a version in MLflow's registry, with the decision and its reason."""

import json

from ml.core.fingerprint import code_digest, fingerprint
from ml.core.job import Job
from ml.core.ledger import Outcome, before, once, read_outputs, upstream
from ml.core.record import Record, Result
from ml.registry.aliases import TAG
from ml.registry.decisions import Decided, remember
from ml.registry.model_registry import ModelRegistry
from ml.registry.tracking import error_code, registry, upsert, versions_of
from ml.stages import Stage

SCORES = ("candidate_score", "champion_score", "champion_version", "holdout_rows")


def run(job: Job) -> Result:
    """Register the candidate that evaluate decided on."""
    evaluated = upstream(job, Stage.EVALUATE)
    trained = before(job, evaluated, Stage.TRAIN)
    key = fingerprint(
        stage=Stage.REGISTER,
        decision=evaluated.fingerprint,
        run=trained.facts["run_id"],
        code=code_digest(__name__),
    )

    def work(_: str) -> Outcome:
        (text,) = read_outputs(job, Stage.EVALUATE, list(evaluated.outputs.values()))
        with registry(job) as models:
            version = _version(models, job, trained)
            decided = Decided(job, trained, evaluated, version, json.loads(text))
            upsert(lambda: remember(models, decided))
        return Outcome(facts=_facts(trained, evaluated, version))

    return once(job, Stage.REGISTER, key, work)


def _facts(trained: Record, evaluated: Record, version: str) -> dict[str, object]:
    return {
        "version": version,
        **{name: evaluated.facts[name] for name in ("decision", "reason", "rival")},
        **{name: evaluated.facts[name] for name in SCORES},
        **{name: trained.facts[name] for name in ("run_id", "artifact", "sha256")},
        "as_of": str(trained.as_of),
    }


def _version(models: ModelRegistry, job: Job, trained: Record) -> str:
    """Find the one version of this training, creating it the first time."""
    found = versions_of(models, job.project, trained.fingerprint)
    if found:
        return str(found[0].version)
    _ensure_model(models, job.project)
    created = models.create_model_version(
        job.project,
        source=f"models:/{trained.facts['model_id']}",
        run_id=trained.facts["run_id"],
        tags=_version_tags(trained),
        model_id=trained.facts["model_id"],
        description=f"Trained for {trained.as_of}",
    )
    # Two workers may create at the same time; both then keep the older version.
    oldest = versions_of(models, job.project, trained.fingerprint)[0]
    if oldest.version != created.version:
        models.delete_model_version(job.project, created.version)
    return str(oldest.version)


def _ensure_model(models: ModelRegistry, project: str) -> None:
    try:
        models.create_registered_model(project)
    except Exception as error:
        if error_code(error) != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_tags(trained: Record) -> dict[str, str]:
    tags = {
        "as_of": str(trained.as_of),
        "fingerprint": trained.fingerprint,
        "sha256": trained.facts["sha256"],
        "artifact": trained.facts["artifact"],
        "recipe": trained.facts["recipe"],
        "format": trained.facts["format"],
        "format_reason": trained.facts["format_reason"],
    }
    return {f"{TAG}{name}": str(value) for name, value in tags.items()}
