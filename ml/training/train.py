"""train: fit the candidate, log it to MLflow, publish the file that would be served."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import polars as pl

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint, libraries, source_digest, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, once, upstream
from ml.core.project import Project, load_code, read_project
from ml.core.record import Output, Record, Result
from ml.core.users_code import users_code
from ml.data.frames import answers_of, columns_of, for_estimator
from ml.data.parts import HOLDOUT, TRAIN, read_part
from ml.data.recipe import keep_recipe
from ml.registry.tracking import connected, experiment_id, run_tags, upsert
from ml.serving import inputs
from ml.serving.manifest import Column, Trained
from ml.stages import Stage
from ml.training.export import Candidate, Export, export, publish_artifact
from ml.training.forms import by_value, packages_in, pickled
from ml.training.intervals import auc

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.models import ModelSignature

LIBRARIES = (
    *("scikit-learn", "numpy", "pandas", "onnxruntime"),
    *("skl2onnx", "skops", "cloudpickle"),
)
REQUIREMENTS = ("mlflow-skinny", "scikit-learn", "numpy", "pandas", "cloudpickle")


@dataclass(frozen=True)
class Lesson:
    """All that MLflow is told about one training."""

    candidate: Candidate
    data: Record
    metrics: dict[str, float]


def run(job: Job) -> Result:
    """Train on the split that is upstream."""
    project = read_project(job.project, job.settings.projects_path)
    data = upstream(job, Stage.SPLIT)
    key = fingerprint(
        stage=Stage.TRAIN,
        split=data.fingerprint,
        model=source_digest(project.model_source),
        libraries=libraries(project.model_source),
        optional=sorted(project.spec.optional),
        code=code_digest(__name__),
        versions=versions(*LIBRARIES),
    )
    runs: list[str] = []

    def work(_: str) -> Outcome:
        outcome = train(job, project, data, key)
        runs.append(outcome.facts["run_id"])
        return outcome

    result = once(job, Stage.TRAIN, key, work)
    # Another worker trained the same and was first: one fingerprint, one run.
    for run_id in runs:
        if run_id != result.facts["run_id"]:
            with connected(job) as client:
                client.delete_run(run_id)
    return result


def train(job: Job, project: Project, data: Record, key: str) -> Outcome:
    """Fit, convert, publish and log one candidate."""
    frames = {part: read_part(job, data, part) for part in (TRAIN, HOLDOUT)}
    module = load_code(project)
    started = time.monotonic()
    candidate = fit(project, module, frames[TRAIN], _origin(job, data, key), [frames[HOLDOUT]])
    seconds = time.monotonic() - started
    log.info("fitted %d rows in %.1f s", frames[TRAIN].height, seconds)
    # Each of these has the estimator predict, which is code of the user or of a library of theirs.
    with users_code(f"model() of '{project.name}' does not predict, or can't be kept"):
        exported = export(candidate, frames[HOLDOUT], job.settings.serving_packages.split())
        artifact = publish_artifact(job.stores.models, candidate, exported, frames[HOLDOUT])
        measured = score(candidate, exported, frames[HOLDOUT])
    log.info("served as %s: %s", exported.format, exported.reason)
    metrics = {
        "auc": measured,
        "fit_seconds": seconds,
        "train_rows": frames[TRAIN].height,
        "holdout_rows": frames[HOLDOUT].height,
        "positive_share": float(data.facts["positive_share"]),
    }
    log.info("AUC %.4f on the holdout", metrics["auc"])
    facts = {
        "auc": round(metrics["auc"], 4),
        "format": exported.format,
        "format_reason": exported.reason,
        "artifact": artifact,
        "sha256": exported.digest,
        "recipe": keep_recipe(job.stores.models, project),
        "train_until": candidate.trained.train_until,
    }
    with connected(job) as client:
        facts |= _log(job, client, Lesson(candidate, data, metrics), key)
    return Outcome(facts=facts)


def fit(
    project: Project,
    module: ModuleType,
    frame: pl.DataFrame,
    trained: Trained,
    others: Sequence[pl.DataFrame] = (),
) -> Candidate:
    """Fit the project's model; BadInputError when model.py does not give a classifier.

    What is missing in `others`, which are not learnt from, may be missing in a request too.
    """
    target = project.spec.target
    make = getattr(module, "model", None)
    if make is None:
        raise BadInputError(f"{project.files.model} has no function 'model'")
    columns = columns_of([frame, *others], target, _optional(project, frame))
    table = for_estimator(frame, columns)
    with users_code(f"model() of '{project.name}' does not fit"):
        estimator = make().fit(table, frame[target].to_numpy())
    if not hasattr(estimator, "predict_proba"):
        raise BadInputError(f"model() of '{project.name}' is no classifier with predict_proba")
    return Candidate(project.name, module, target, columns, estimator, trained)


def _optional(project: Project, frame: pl.DataFrame) -> set[str]:
    unknown = [name for name in project.spec.may_be_missing if name not in frame.columns]
    if unknown:
        raise BadInputError(
            f"may_be_missing names '{unknown[0]}', which features() of '{project.name}' "
            "does not return"
        )
    return project.spec.optional


def score(candidate: Candidate, exported: Export, holdout: pl.DataFrame) -> float:
    """Measure the AUC of what would be served."""
    import numpy as np

    answers = answers_of(exported.predictor, holdout, candidate.columns)
    if refused := answers.refusals:
        log.warning(
            "%d of %d holdout rows have no score: %s", len(refused), holdout.height, refused[0]
        )
    return auc(holdout[candidate.target].to_numpy(), np.array(answers.guessed))


def _origin(job: Job, data: Record, key: str) -> Trained:
    until = str(data.facts["train_until"])
    return Trained(as_of=str(job.as_of), fingerprint=key, train_until=until)


def _log(job: Job, client: "MlflowClient", lesson: "Lesson", key: str) -> dict[str, Any]:
    """Log the run: params, metrics, datasets, and the model with signature and requirements."""
    import mlflow

    tags = run_tags(job) | {"slipway.fingerprint": key, "slipway.split": str(job.upstream)}
    where = experiment_id(client, job)
    with mlflow.start_run(experiment_id=where, run_name=str(job.as_of), tags=tags) as active:
        with users_code(f"model() of '{job.project}' does not tell its parameters"):
            params = _params(lesson.candidate.estimator)
        mlflow.log_params(params)
        mlflow.log_metrics(lesson.metrics)
        model_id, schema = _log_model(lesson)
        inputs = [
            _dataset(job.project, part, lesson.data.outputs[part], schema)
            for part in (TRAIN, HOLDOUT)
        ]
        upsert(lambda: client.log_inputs(active.info.run_id, inputs))
    return {"run_id": active.info.run_id, "model_id": model_id}


def _dataset(project: str, part: str, output: Output, schema: str) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"{project}-{part}",
        digest=output.sha256[:8],
        source_type="s3" if output.uri.startswith("s3://") else "local",
        source=json.dumps({"uri": output.uri}),
        schema=schema,
        profile=json.dumps({"num_rows": output.rows, "sha256": output.sha256}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part)])


def _log_model(lesson: "Lesson") -> tuple[str, str]:
    """Log the estimator; return its id and the schema of its inputs."""
    import mlflow.sklearn

    candidate = lesson.candidate
    signature = _signature(candidate.columns)
    needed = versions(*REQUIREMENTS) | packages_in(pickled(candidate.estimator, candidate.module))
    seen = inputs.AsTrained(candidate.estimator, [inputs.Input.of(c) for c in candidate.columns])
    # Neither model.py nor anything of ours is importable where the model is loaded.
    with by_value(candidate.module, inputs):
        logged = mlflow.sklearn.log_model(
            seen,
            name="model",
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
            signature=signature,
            pip_requirements=[f"{name}=={found}" for name, found in sorted(needed.items())],
            pyfunc_predict_fn="predict_proba",
        )
    return str(logged.model_id), json.dumps({"mlflow_colspec": signature.inputs.to_dict()})


def _signature(columns: Sequence[Column]) -> "ModelSignature":
    """Say what a caller must give, may leave out, and gets: the chance of each class."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    types = {
        "int": DataType.long,
        "float": DataType.double,
        "str": DataType.string,
        "bool": DataType.boolean,
    }
    given = (ColSpec(types[c.type], c.name, required=not c.nullable) for c in columns)
    return ModelSignature(Schema([*given]), Schema([TensorSpec(np.dtype(np.float64), (-1, 2))]))


def _params(estimator: Any) -> dict[str, Any]:  # noqa: ANN401 - any scikit-learn estimator
    kinds = (str, int, float, bool)
    return {k: v for k, v in estimator.get_params().items() if isinstance(v, kinds)}
