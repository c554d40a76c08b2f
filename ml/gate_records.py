"""How good each version was when the gate let it through, from the records of that day."""

import json
from typing import TYPE_CHECKING

from ml.job import Job
from ml.ledger import RECORD, read_outputs, read_record
from ml.metrics import Interval
from ml.monitoring import GateRecord, Model
from ml.record import Record, Stage
from ml.tracking import TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVALUATION = "evaluation"


def gate_record(job: Job, client: "MlflowClient", model: Model) -> GateRecord | None:
    """Find what evaluate measured of a version; None when there is no trace of it.

    MLflow knows for which day the version was trained, and that day's records tell the rest.
    """
    found = client.search_model_versions(
        f"name = '{job.project}' AND tag.`{TAG}sha256` = '{model.sha256}'"
    )
    days = {one.tags.get(f"{TAG}as_of") for one in found if str(one.version) == model.version}
    registered = [record for day in days if day for record in _registered(job, day, model)]
    return _of(job, min(registered, key=lambda one: one.created_at)) if registered else None


def _registered(job: Job, day: str, model: Model) -> list[Record]:
    store = job.stores.data
    paths = store.sizes(f"{job.project}/{Stage.REGISTER}/dt={day}/")
    found = [read_record(store, store.uri(path)) for path in paths if path.endswith(f"/{RECORD}")]
    wanted = (model.version, model.sha256)
    return [one for one in found if (one.facts["version"], one.facts["sha256"]) == wanted]


def _of(job: Job, registered: Record) -> GateRecord:
    (uri,) = registered.inputs
    evaluated = read_record(job.stores.data, uri)
    (content,) = read_outputs(job, Stage.EVALUATE, [evaluated.outputs[EVALUATION]])
    measured = json.loads(content)["measured"]["candidate"]
    return GateRecord(auc=Interval(**measured), as_of=evaluated.as_of, record=uri)
