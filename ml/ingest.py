"""ingest: freeze the landed partitions of a window as one dataset.

Raw files are kept once, named by their digest, so windows that overlap share them and a landing
folder that is cleaned up later takes nothing away from a dataset.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta

from ml.errors import BadInputError
from ml.fingerprint import code_digest, fingerprint
from ml.job import Job, log
from ml.landing import (
    MANIFEST,
    LandedTable,
    Manifest,
    land_command,
    partition,
    read_manifest,
    table_path,
)
from ml.ledger import Outcome, once
from ml.project import ColumnType, ProjectSpec, read_project
from ml.record import Output, Result, Stage
from ml.store import READERS, sha256

TELL = ("days", "rows")
TYPE_PREFIXES = {
    ColumnType.INT: ("Int", "UInt"),
    ColumnType.FLOAT: ("Float", "Int", "UInt"),
    ColumnType.STR: ("String", "Categorical", "Enum"),
    ColumnType.BOOL: ("Boolean",),
    ColumnType.DATETIME: ("Datetime",),
    ColumnType.DATE: ("Date",),
}


@dataclass(frozen=True)
class File:
    """One landed file, and where its copy lives in the data store."""

    day: date
    table: str
    landed: LandedTable
    source: str
    copy: str

    @property
    def name(self) -> str:
        """The file's name among the dataset's outputs."""
        return f"{self.day}/{self.table}"


def run(job: Job) -> Result:
    """Check the window's partitions and publish the dataset record."""
    project = read_project(job.project, job.settings.projects_path)
    days = project.spec.days.until(job.as_of, job.days)
    manifests = landed(job, days)
    empty = check(project.spec, manifests, job.as_of)
    files = list(_files(job.project, project.spec, manifests))
    key = fingerprint(
        stage=Stage.INGEST,
        code=code_digest("ml.ingest"),
        files=[(file.name, file.landed.sha256) for file in files],
    )
    rows = sum(f.landed.rows for f in files if f.table == project.spec.main_table)

    def work(_: str) -> Outcome:
        _copy(job, files, job.stores.data.sizes(f"{job.project}/raw/"))
        outputs = {file.name: _output(job, file) for file in files}
        facts = {"days": len(days), "rows": rows, "empty_days": empty}
        return Outcome(outputs, facts)

    return once(job, Stage.INGEST, key, work, TELL)


def check(spec: ProjectSpec, manifests: dict[date, Manifest], as_of: date) -> list[str]:
    """Check what manifests say against project.yaml; return the days without rows, if bearable.

    A day without rows inside the window is noted only, as refusing it would stop sixty runs; on
    the day that is asked for it means that something is wrong.
    """
    _check_presence(spec, manifests, as_of)
    empty = {d for d, m in manifests.items() if not m.tables[spec.main_table].rows}
    for day, manifest in manifests.items():
        # Where there is no value, a column's type is anyone's guess.
        for table in spec.tables if day not in empty else ():
            _check_types(spec, manifest.tables[table], day, table)
    return sorted(str(day) for day in empty)


def take(job: Job, spec: ProjectSpec, day: date) -> dict[str, Output]:
    """Keep one landed day's files, by table, as `run` does but whatever their columns' types.

    Raises BadInputError when the day has not landed whole, or is not what its manifest says.
    """
    manifests = landed(job, [day])
    _check_presence(spec, manifests, day)
    files = list(_files(job.project, spec, manifests))
    # One day is a few files: asking for each is less than listing all there ever were.
    _copy(job, files, {file.copy: job.stores.data.size(file.copy) for file in files})
    return {file.table: _output(job, file) for file in files}


def _check_presence(spec: ProjectSpec, manifests: dict[date, Manifest], as_of: date) -> None:
    for day, manifest in manifests.items():
        if lacking := [table for table in spec.tables if table not in manifest.tables]:
            raise BadInputError(f"the partition of {day} has no table '{lacking[0]}'")
    if empty_tables := [t for t in spec.tables if not manifests[as_of].tables[t].rows]:
        raise BadInputError(
            f"the partition of {as_of} has no rows in {', '.join(empty_tables)}: "
            "land the day again once its data is complete"
        )


def _check_types(spec: ProjectSpec, landed: LandedTable, day: date, table: str) -> None:
    for column, rule in spec.tables[table].columns.items():
        found = landed.types.get(column)
        if found is None:
            raise BadInputError(f"table '{table}' of {day} has no column '{column}'")
        if not found.startswith(TYPE_PREFIXES[rule.type]):
            raise BadInputError(
                f"column '{column}' of table '{table}' of {day} is {found}, "
                f"but project.yaml says {rule.type}"
            )


def landed(job: Job, days: list[date]) -> dict[date, Manifest]:
    """Read the days' manifests; BadInputError naming every day that has none."""
    landing = job.stores.landing
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda day: read_manifest(landing, job.project, day), days))
    missing = [day for day, manifest in zip(days, found, strict=True) if manifest is None]
    if missing:
        example = landing.uri(f"{partition(job.project, missing[0])}/{MANIFEST}")
        raise BadInputError(
            f"no partition has landed for {_as_text(missing)} (there is no {example}); "
            f"land what is missing, for example with: "
            f"{land_command(job.project, missing[0], missing[-1])}"
        )
    return {day: manifest for day, manifest in zip(days, found, strict=True) if manifest}


def _as_text(days: list[date]) -> str:
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and ranges[-1][1] + timedelta(days=1) == day:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    texts = [str(a) if a == b else f"{a} to {b}" for a, b in ranges]
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def _files(project: str, spec: ProjectSpec, manifests: dict[date, Manifest]) -> Iterator[File]:
    for day, manifest in manifests.items():
        for table in spec.tables:
            landed = manifest.tables[table]
            yield File(
                day=day,
                table=table,
                landed=landed,
                source=table_path(project, day, table),
                copy=f"{project}/raw/{table}/{landed.sha256}.parquet",
            )


def _output(job: Job, file: File) -> Output:
    return Output(
        uri=job.stores.data.uri(file.copy),
        sha256=file.landed.sha256,
        bytes=file.landed.bytes,
        rows=file.landed.rows,
    )


def _copy(job: Job, files: list[File], kept: Mapping[str, int | None]) -> None:
    new = {f.copy: f for f in files if kept.get(f.copy) != f.landed.bytes}
    log.info("%d of %d files are new", len(new), len(files))
    with ThreadPoolExecutor(READERS) as pool:
        # All are checked before any is copied, so a bad file leaves nothing behind.
        list(pool.map(lambda file: _checked(job, file), new.values()))
        list(pool.map(lambda f: job.stores.data.create(f.copy, _checked(job, f)), new.values()))


def _checked(job: Job, file: File) -> bytes:
    uri = job.stores.landing.uri(file.source)
    again = f"{land_command(job.project, file.day, file.day)} --replace"
    try:
        content = job.stores.landing.read(file.source)
    except FileNotFoundError:
        raise BadInputError(f"{uri} is gone, though its manifest is there: {again}") from None
    if len(content) != file.landed.bytes:
        raise BadInputError(
            f"{uri} has {len(content)} bytes but its manifest says {file.landed.bytes}: "
            f"it was cut short or changed after it landed; land it again: {again}"
        )
    if sha256(content) != file.landed.sha256:
        raise BadInputError(
            f"{uri} is not the file its manifest describes (another sha256); land it again: {again}"
        )
    return content
