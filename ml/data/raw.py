"""Landed files as the data store keeps them: once, named by their digest.

Windows that overlap share them, and a landing folder that is cleaned up later takes nothing away
from a dataset.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ml.core.errors import BadInputError
from ml.core.job import Job, log
from ml.core.project import ProjectSpec
from ml.core.record import Output
from ml.core.store import READERS, sha256
from ml.data.landing import (
    LandedTable,
    Manifest,
    check_presence,
    land_command,
    landed,
    table_path,
)

if TYPE_CHECKING:
    import polars as pl


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


def take(job: Job, spec: ProjectSpec, day: date) -> dict[str, Output]:
    """Keep one landed day's files, by table, as `run` does but whatever their columns' types.

    Raises BadInputError when the day has not landed whole, or is not what its manifest says.
    """
    manifests = landed(job, [day])
    check_presence(spec, manifests, day)
    files = list(files_of(job.project, spec, manifests))
    # One day is a few files: asking for each is less than listing all there ever were.
    keep(job, files, {file.copy: job.stores.data.size(file.copy) for file in files})
    return {file.table: output_of(job, file) for file in files}


def files_of(project: str, spec: ProjectSpec, manifests: dict[date, Manifest]) -> Iterator[File]:
    """List the files that manifests name, of the tables that project.yaml names."""
    for day, manifest in manifests.items():
        for table in spec.tables:
            landed = manifest.tables[table]
            yield File(
                day=day,
                table=table,
                landed=landed,
                source=table_path(project, day, table),
                # With its rows, so that a manifest that counts otherwise is not believed later.
                copy=f"{project}/raw/{table}/{landed.sha256}-{landed.rows}.parquet",
            )


def output_of(job: Job, file: File) -> Output:
    """Describe a kept file."""
    return Output(
        uri=job.stores.data.uri(file.copy),
        sha256=file.landed.sha256,
        bytes=file.landed.bytes,
        rows=file.landed.rows,
    )


def keep(
    job: Job,
    files: list[File],
    kept: Mapping[str, int | None],
    check: "Callable[[File, pl.Schema], None]" = lambda _file, _schema: None,
) -> None:
    """Copy the files that are not `kept` yet, by path and size.

    `check` looks at each one's columns. Raises BadInputError for a file that is damaged, or is not
    what its manifest says; then none is copied.
    """
    new = {f.copy: f for f in files if kept.get(f.copy) != f.landed.bytes}
    log.info("%d of %d files are new", len(new), len(files))
    with ThreadPoolExecutor(READERS) as pool:
        # All are checked before any is copied, so a bad file leaves nothing behind.
        list(pool.map(lambda file: check(file, _counted(job, file)), new.values()))
        list(pool.map(lambda f: job.stores.data.create(f.copy, _checked(job, f)), new.values()))


def _counted(job: Job, file: File) -> "pl.Schema":
    """Insist that a file holds the rows its manifest says: 0 would drop them without a word."""
    from ml.core.tables import shape  # loads polars, which only new files need

    uri = job.stores.landing.uri(file.source)
    rows, schema = shape(_checked(job, file), uri)
    if rows != file.landed.rows:
        raise BadInputError(
            f"{uri} has {rows} rows but its manifest says {file.landed.rows}: land it again: "
            f"{land_command(job.project, file.day, file.day)} --replace"
        )
    return schema


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
