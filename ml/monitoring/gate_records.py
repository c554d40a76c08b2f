"""How good each version was when the gate let it through, from the records of that day."""

from typing import TYPE_CHECKING

from ml.core.job import Job
from ml.core.ledger import read_record, records_in
from ml.core.record import Record
from ml.monitoring.findings import GateRecord, Model
from ml.registry.aliases import TAG
from ml.stages import Stage
from ml.training.evaluation import measured
from ml.training.intervals import Interval

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
    found = records_in(job.stores.data, f"{job.project}/{Stage.REGISTER}/dt={day}/")
    wanted = (model.version, model.sha256)
    return [one for one in found if (one.facts["version"], one.facts["sha256"]) == wanted]


def _of(job: Job, registered: Record) -> GateRecord:
    (uri,) = registered.inputs
    evaluated = read_record(job.stores.data, uri)
    candidate = measured(job, evaluated)["candidate"]
    return GateRecord(auc=Interval(**candidate), as_of=evaluated.as_of, record=uri)
