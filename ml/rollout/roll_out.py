"""roll_out: serve the registered version, check it, and only then let users reach it."""

from __future__ import annotations

from dataclasses import replace

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.core.ledger import before, read_record
from ml.core.record import Record, Result, Status
from ml.rollout.machine import RollOut
from ml.rollout.places import open_aliases, open_target, read_release
from ml.rollout.target import Release
from ml.stages import Stage


def run(job: Job) -> Result:
    """Roll out the version that the record of `job.upstream`, or one before it, registered.

    A version that was taken back, or was compared with a champion of before, is refused as the
    gate would: the result says so, and there is nothing to mend.
    """
    release, registered = _registered(job)
    target = open_target(job.settings.target)
    ended = RollOut(target, open_aliases(job)).carry_out(release)
    if ended.status is Status.REFUSED:
        more = {"decision": "refuse", "reason": ended.reason}
    else:
        more = {"endpoint": target.endpoint(release.project)}
    return Result(
        stage=Stage.ROLL_OUT,
        status=ended.status,
        record=job.upstream or "",
        fingerprint=registered.fingerprint,
        facts={"version": release.version, "run_id": str(registered.facts["run_id"]), **more},
    )


def _registered(job: Job) -> tuple[Release, Record]:
    if job.upstream is None:
        raise BadInputError("roll_out needs --upstream, the record that register printed")
    record = read_record(job.stores.data, job.upstream)
    if record.stage is Stage.BUILD_ARTIFACTS:
        record = before(job, record, Stage.REGISTER)
    if record.stage is not Stage.REGISTER:
        raise BadInputError(f"{job.upstream} is a record of {record.stage}, not of register")
    facts = record.facts
    if facts["decision"] != "deploy":
        raise BadInputError(f"the gate refused version {facts['version']}: {facts['reason']}")
    version, uri, digest = str(facts["version"]), str(facts["artifact"]), str(facts["sha256"])
    release = read_release(job.project, version, uri, digest)
    return replace(release, rival=facts.get("rival")), record
