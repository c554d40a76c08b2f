"""The book of finished work: find a stage's record, trust it only if its outputs are whole.

Layout of the data store: `<project>/<stage>/dt=<day>/<fingerprint>/` holds a stage's outputs and,
published last, its `record.json`. Whoever publishes first wins; a second worker on the same
fingerprint drops its own outputs' names and takes the winner's record.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ml.core.errors import BadInputError
from ml.core.job import Job, doing, log
from ml.core.record import Fact, Output, Record, Result, Status
from ml.core.store import Store, sha256
from ml.core.unforeseen import lacking
from ml.stages import Stage

RECORD = "record.json"
# Up to here a skip re-reads its outputs and compares digests; larger ones are compared by size.
CHECKED_BYTES = 64 << 20


@dataclass(frozen=True)
class Outcome:
    """What a stage's work gave: objects published, facts for later stages, facts to tell."""

    outputs: Mapping[str, Output] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def once(
    job: Job,
    stage: Stage,
    key: str,
    work: Callable[[str], Outcome],
) -> Result:
    """Do the work unless its record exists; `work` gets the folder to publish under."""
    folder = f"{job.project}/{stage}/dt={job.as_of}/{key}"
    path = f"{folder}/{RECORD}"
    found = _find(job, stage, path)
    if found:
        log.info("found %s, nothing to do", job.stores.data.uri(path))
        return _result(found, job.stores.data.uri(path), Status.SKIPPED)
    outcome = work(folder)
    record = Record(
        stage=stage,
        project=job.project,
        as_of=job.as_of,
        fingerprint=key,
        inputs=[job.upstream] if job.upstream else [],
        outputs=dict(outcome.outputs),
        facts=dict(outcome.facts),
        revision=job.settings.revision,
    )
    ours = job.stores.data.create(path, record.model_dump_json(indent=1).encode())
    if not ours:
        log.info("another worker published %s first", job.stores.data.uri(path))
        record = read_record(job.stores.data, job.stores.data.uri(path))
    status = Status.DONE if ours else Status.SKIPPED
    return _result(record, job.stores.data.uri(path), status)


def _result(record: Record, uri: str, status: Status) -> Result:
    told = [name for name in record.stage.tells if name in record.facts]
    facts: dict[str, Fact] = {name: record.facts[name] for name in told}
    return Result(
        stage=record.stage,
        status=status,
        record=uri,
        fingerprint=record.fingerprint,
        facts=facts,
    )


def _find(job: Job, stage: Stage, path: str) -> Record | None:
    if job.stores.data.size(path) is None:
        return None
    record = read_record(job.stores.data, job.stores.data.uri(path))
    check_outputs(job, stage, record)
    return record


def check_outputs(job: Job, stage: Stage, record: Record) -> None:
    """Raise BadInputError when an output of a record is gone or is not what it was."""
    outputs = list(record.outputs.values())
    if sum(output.bytes for output in outputs) <= CHECKED_BYTES:
        read_outputs(job, stage, outputs)
        return
    for output in outputs:
        store = _store_of(job, output.uri)
        found = store.size(store.path(output.uri))
        if found != output.bytes:
            raise _damaged(stage, output, "is gone" if found is None else f"has {found} bytes")


def read_outputs(job: Job, stage: Stage, outputs: list[Output]) -> list[bytes]:
    """Read what an earlier stage published; BadInputError when it is not what it was."""
    if not outputs:
        return []
    store = _store_of(job, outputs[0].uri)
    try:
        contents = store.read_many([store.path(output.uri) for output in outputs])
    except FileNotFoundError:
        lost = next(o for o in outputs if store.size(store.path(o.uri)) is None)
        raise _damaged(stage, lost, "is gone") from None
    for output, content in zip(outputs, contents, strict=True):
        if sha256(content) != output.sha256:
            raise _damaged(stage, output, "is not the file it was when it was published")
    return contents


def _store_of(job: Job, uri: str) -> Store:
    models = job.stores.models
    return models if uri.startswith(models.url + "/") else job.stores.data


def _damaged(stage: Stage, output: Output, what: str) -> BadInputError:
    folder = output.uri.rsplit("/", 1)[0]
    return BadInputError(
        f"{output.uri}, an output of {stage}, {what}: remove the folder {folder} "
        f"and the record that names it, then run {stage} again"
    )


def read_record(store: Store, uri: str) -> Record:
    """Read a record by its URI; BadInputError when there is none or it is damaged."""
    try:
        return Record.model_validate_json(store.read(store.path(uri)))
    except FileNotFoundError:
        raise BadInputError(f"there is no record {uri}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInputError(f"{uri} is not a record: {first['msg']}") from error


def read_note(store: Store, path: str) -> Output:
    """Read what was noted of one output; FileNotFoundError when there is no note.

    Raises BadInputError when it is damaged.
    """
    try:
        return Output.model_validate_json(store.read(path))
    except ValidationError as error:
        raise BadInputError(
            f"{store.uri(path)} is damaged: remove it, and what it is about is made anew"
        ) from error


def records_in(store: Store, folder: str) -> list[Record]:
    """Read every record under a folder, which ends with a slash."""
    return [read_record(store, store.uri(path)) for path in record_paths(store, folder)]


def record_paths(store: Store, folder: str) -> list[str]:
    """List the paths of the records under a folder, which ends with a slash."""
    return [path for path in store.sizes(folder) if path.endswith(f"/{RECORD}")]


def upstream(job: Job, expected: Stage) -> Record:
    """Read the record of the stage before, and make sure that it is one for this job."""
    if job.upstream is None:
        raise BadInputError(
            f"--upstream is missing: give the record URI that {expected} printed, "
            "or do all stages at once with: python -m ml run"
        )
    record = read_record(job.stores.data, job.upstream)
    found = (record.stage, record.project, record.as_of)
    if found != (expected, job.project, job.as_of):
        raise BadInputError(
            f"{job.upstream} is a record of {record.stage} for {record.project} on {record.as_of}, "
            f"but {expected} for {job.project} on {job.as_of} was asked for"
        )
    return record


def before(job: Job, record: Record, wanted: Stage) -> Record:
    """Follow the records back to the one of an earlier stage."""
    while record.stage != wanted:
        if not record.inputs:
            raise BadInputError(f"the records of this run do not lead back to {wanted}")
        record = read_record(job.stores.data, record.inputs[0])
    return record


def publish(store: Store, folder: str, name: str, content: bytes, rows: int | None) -> Output:
    """Publish one output under a name that carries its digest; `name` is like train.parquet."""
    digest = sha256(content)
    stem, _, suffix = name.rpartition(".")
    path = f"{folder}/{stem}-{digest[:12]}.{suffix}"
    store.create(path, content)
    return Output(uri=store.uri(path), sha256=digest, bytes=len(content), rows=rows)


def run_stage(stage: Stage, job: Job) -> Result:
    """Run one stage by name, importing only what that stage needs."""
    try:
        run: Callable[[Job], Result] = importlib.import_module(stage.module).run
    except ModuleNotFoundError as error:
        raise lacking(error, stage) from error
    doing.set(stage)
    return run(job)
