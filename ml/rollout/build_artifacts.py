"""build_artifacts: make sure that all a deployment needs is there, whole and true to itself.

What comes of it is the contract that `smoke` holds the deployed model to.
"""

from __future__ import annotations

from ml.core.errors import BadInputError, failure
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, publish, upstream
from ml.core.record import Record, Result
from ml.rollout.contract import CONTRACT, Contract
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import ArtifactManifest
from ml.serving.predictors import largest_difference, load
from ml.stages import Stage

# A serving pod has 512 MiB by default, and a loaded model is larger than its file.
LARGEST_BYTES = 256 << 20


def run(job: Job) -> Result:
    """Check the artifact of the version that register let through, and write its contract."""
    registered = upstream(job, Stage.REGISTER)
    facts = registered.facts
    if facts["decision"] != "deploy":
        raise BadInputError(f"the gate refused version {facts['version']}: {facts['reason']}")
    key = fingerprint(
        stage=Stage.BUILD_ARTIFACTS,
        registered=registered.fingerprint,
        code=code_digest(__name__),
        versions=versions("onnxruntime", "pydantic"),
    )
    return once(job, Stage.BUILD_ARTIFACTS, key, lambda folder: _work(job, registered, folder))


def _work(job: Job, registered: Record, folder: str) -> Outcome:
    version, uri = str(registered.facts["version"]), str(registered.facts["artifact"])
    try:
        manifest, content = fetch(uri, str(registered.facts["sha256"]))
        check(manifest, len(content), before(job, registered, Stage.TRAIN))
        scores = load(manifest, content)(manifest.sample)
    except ArtifactError as error:
        sentence = f"version {version} cannot be deployed: {error}"
        raise failure(sentence, passing=error.passing) from error
    difference = largest_difference(scores, manifest.expected)
    log.info("%d sample rows score as promised, off by %.1e", len(scores), difference)
    text = Contract.of(manifest, version).model_dump_json(indent=1).encode()
    contract = publish(job.stores.data, folder, "contract.json", text, len(manifest.sample))
    facts = {
        "version": version,
        "sha256": manifest.sha256,
        "artifact": uri,
        "format": manifest.format,
        "bytes": len(content),
        "columns": len(manifest.columns),
        "sample_rows": len(manifest.sample),
        "largest_difference": difference,
    }
    return Outcome({CONTRACT: contract}, facts)


def check(manifest: ArtifactManifest, size: int, trained: Record) -> None:
    """Raise ArtifactError unless the artifact is this training's, and small enough to serve."""
    if manifest.project != trained.project:
        raise ArtifactError(f"its artifact is of {manifest.project}, not of {trained.project}")
    if manifest.trained.fingerprint != trained.fingerprint:
        # The same model file may come of several trainings: the file counts, not the first of them.
        log.info("the same model was first made for %s", manifest.trained.as_of)
    if size > LARGEST_BYTES:
        raise ArtifactError(
            f"its model has {size >> 20} MiB, and serving has room for {LARGEST_BYTES >> 20}: "
            "make the model smaller"
        )
