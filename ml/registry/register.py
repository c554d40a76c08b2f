"""register: make the candidate a version in MLflow's registry, with the decision and its reason."""

import json
from typing import TYPE_CHECKING

from ml.core.fingerprint import code_digest, fingerprint
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, read_outputs, upstream
from ml.core.record import Record, Result
from ml.registry.aliases import TAG, Alias
from ml.registry.tracking import connected, upsert, versions_of
from ml.stages import Stage

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCORES = ("candidate_score", "champion_score", "champion_version", "holdout_rows")
METRICS = ("candidate_score", "champion_score", "latency_ms")
DECISION = "decision.json"


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
        with connected(job) as client:
            version = _version(client, job, trained)
            upsert(lambda: _write_decision(client, job, trained, evaluated, version, text))
        log.info("version %s is the challenger", version)
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


def _version(client: "MlflowClient", job: Job, trained: Record) -> str:
    """Find the one version of this training, creating it the first time."""
    found = versions_of(client, job.project, trained.fingerprint)
    if found:
        return str(found[0].version)
    _ensure_model(client, job.project)
    created = client.create_model_version(
        job.project,
        source=f"models:/{trained.facts['model_id']}",
        run_id=trained.facts["run_id"],
        tags=_version_tags(trained),
        model_id=trained.facts["model_id"],
        description=f"Trained for {trained.as_of}",
    )
    # Two workers may create at the same time; both then keep the older version.
    oldest = versions_of(client, job.project, trained.fingerprint)[0]
    if oldest.version != created.version:
        client.delete_model_version(job.project, created.version)
    return str(oldest.version)


def _ensure_model(client: "MlflowClient", project: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(project)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_tags(trained: Record) -> dict[str, str]:
    tags = {
        "as_of": str(trained.as_of),
        "fingerprint": trained.fingerprint,
        "sha256": trained.facts["sha256"],
        "artifact": trained.facts["artifact"],
        "format": trained.facts["format"],
        "format_reason": trained.facts["format_reason"],
    }
    return {f"{TAG}{name}": str(value) for name, value in tags.items()}


def _write_decision(
    client: "MlflowClient",
    job: Job,
    trained: Record,
    evaluated: Record,
    version: str,
    text: bytes,
) -> None:
    run_id = str(trained.facts["run_id"])
    for name in ("decision", "reason", "rival"):
        value = str(evaluated.facts[name])
        client.set_model_version_tag(job.project, version, f"{TAG}{name}", value)
        client.set_tag(run_id, f"{TAG}{name}", value)
    client.set_tag(run_id, f"{TAG}record", str(job.upstream))
    for name in METRICS:
        if evaluated.facts[name] is not None:
            client.log_metric(run_id, name, float(evaluated.facts[name]))
    decision = json.loads(text) | {"version": version, "train": _origin(trained)}
    client.log_dict(run_id, decision, DECISION)
    client.set_registered_model_alias(job.project, Alias.CHALLENGER, version)


def _origin(trained: Record) -> dict[str, str]:
    return {
        "as_of": str(trained.as_of),
        "fingerprint": trained.fingerprint,
        "sha256": str(trained.facts["sha256"]),
        "train_until": str(trained.facts["train_until"]),
    }
