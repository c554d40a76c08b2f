"""build_artefacts: make sure that all a deployment needs is there, whole and true to itself.

What comes of it is the contract that `smoke` holds the deployed model to.
"""

from __future__ import annotations

from ml.artifact import ArtifactManifest
from ml.contract import Contract
from ml.errors import BadInputError
from ml.fingerprint import code_digest, fingerprint, versions
from ml.job import Job, log
from ml.ledger import Outcome, before, once, publish, upstream
from ml.record import Record, Result, Stage
from ml.serving.artefact import ArtefactError, fetch
from ml.serving.predictors import largest_difference, load

TELL = ("version", "format", "bytes", "columns")
CONTRACT = "contract"
# A serving pod has 512 MiB by default, and a loaded model is larger than its file.
LARGEST_BYTES = 256 << 20


def run(job: Job) -> Result:
    """Check the artefact of the version that register let through, and write its contract."""
    registered = upstream(job, Stage.REGISTER)
    facts = registered.facts
    if facts["decision"] != "deploy":
        raise BadInputError(f"the gate refused version {facts['version']}: {facts['reason']}")
    key = fingerprint(
        stage=Stage.BUILD_ARTEFACTS,
        registered=registered.fingerprint,
        code=code_digest("ml.build_artefacts"),
        versions=versions("onnxruntime", "pydantic"),
    )
    return once(
        job, Stage.BUILD_ARTEFACTS, key, lambda folder: _work(job, registered, folder), TELL
    )


def _work(job: Job, registered: Record, folder: str) -> Outcome:
    version, uri = str(registered.facts["version"]), str(registered.facts["artifact"])
    try:
        manifest, content = fetch(uri, str(registered.facts["sha256"]))
        check(manifest, len(content), before(job, registered, Stage.TRAIN))
        scores = load(manifest, content)(manifest.sample)
    except ArtefactError as error:
        raise BadInputError(f"version {version} cannot be deployed: {error}") from error
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
    """Raise ArtefactError unless the artefact is this training's, and small enough to serve."""
    if manifest.project != trained.project:
        raise ArtefactError(f"its artefact is of {manifest.project}, not of {trained.project}")
    if manifest.trained.fingerprint != trained.fingerprint:
        # The same model file may come of several trainings: the file counts, not the first of them.
        log.info("the same model was first made for %s", manifest.trained.as_of)
    if size > LARGEST_BYTES:
        raise ArtefactError(
            f"its model has {size >> 20} MiB, and serving has room for {LARGEST_BYTES >> 20}: "
            "make the model smaller"
        )
