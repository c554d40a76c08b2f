"""Landed partitions: one folder per day, whole once its manifest is there."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from types import ModuleType
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml.core.errors import BadInputError
from ml.core.job import Job, log
from ml.core.project import Project, ProjectSpec, load_code, read_project
from ml.core.store import READERS, Store, sha256
from ml.core.users_code import users_code

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"


class LandedTable(BaseModel):
    """One file of a partition: what its bytes must be, and what it holds."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    rows: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    # For people: what counts are the types in the file. Written `schema`, a word that pydantic
    # keeps for itself.
    types: dict[str, str] = Field(
        default_factory=dict, validation_alias="schema", serialization_alias="schema"
    )


class Manifest(BaseModel):
    """The content of a partition's manifest.json, written after all its files."""

    model_config = ConfigDict(frozen=True)

    project: str
    day: date
    tables: dict[str, LandedTable]


@dataclass(frozen=True)
class Landed:
    """How many days a `land` added, and how many it found there."""

    new: int
    kept: int


def partition(project: str, day: date) -> str:
    """Return the folder of a day's partition in the landing store."""
    return f"{project}/dt={day}"


def table_path(project: str, day: date, table: str) -> str:
    """Return the path of one table of a partition."""
    return f"{partition(project, day)}/{table}.parquet"


def land_command(project: str, first: date, last: date) -> str:
    """Say how a person lands days."""
    return f"python -m ml land --project {project} --from {first} --to {last}"


def read_manifest(store: Store, project: str, day: date) -> Manifest | None:
    """Read a partition's manifest; None when the partition is not there (yet)."""
    path = f"{partition(project, day)}/{MANIFEST}"
    try:
        found = Manifest.model_validate_json(store.read(path))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise BadInputError(
            f"{store.uri(path)} is not a manifest: {where}{first['msg']}"
        ) from error
    if (found.project, found.day) != (project, day):
        raise BadInputError(
            f"{store.uri(path)} describes {found.day} of {found.project}: a partition that was "
            f"copied from there is not one of {day}; land {day} of {project} itself"
        )
    return found


def land(job: Job, first: date, *, replace: bool = False) -> Landed:
    """Land the project's source data from `first` to the job's day; whole days are kept."""
    project = read_project(job.project, job.settings.projects_path)
    if first > job.as_of:
        raise BadInputError(f"--from {first} is after --to {job.as_of}")
    days = [first + timedelta(days=n) for n in range((job.as_of - first).days + 1)]
    there = [not replace and _is_there(job.stores.landing, job.project, day) for day in days]
    missing = [day for day, is_there in zip(days, there, strict=True) if not is_there]
    if missing:
        _land_days(job.stores.landing, project, missing)
    return Landed(new=len(missing), kept=sum(there))


def _is_there(store: Store, project: str, day: date) -> bool:
    return store.size(f"{partition(project, day)}/{MANIFEST}") is not None


def _land_days(store: Store, project: Project, days: list[date]) -> None:
    source = load_code(project, "source")
    for day in days:
        tables = _source_tables(project, source, day)
        publish_partition(store, project.name, day, tables)
        if day.day == 1 or day == days[-1]:
            log.info("landed up to %s", day)


def _source_tables(project: Project, source: ModuleType, day: date) -> Mapping[str, "pl.DataFrame"]:
    """Ask a project's source.py for a day; BadInputError when it has none or gives no tables."""
    from polars import DataFrame

    with users_code(f"the source of '{project.name}' fails for {day}"):
        tables = source.tables(day)
    if tables is not None and not isinstance(tables, Mapping):
        raise BadInputError(
            f"tables() of '{project.name}' must give a dict of tables for {day}, "
            f"not {type(tables).__name__}"
        )
    tables = tables or {}
    if lacking := [table for table in project.spec.tables if table not in tables]:
        what = f"no table '{lacking[0]}'" if tables else "nothing"
        raise BadInputError(f"the source of '{project.name}' has {what} for {day}")
    if others := [name for name, one in tables.items() if not isinstance(one, DataFrame)]:
        kind = type(tables[others[0]]).__name__
        raise BadInputError(
            f"tables() of '{project.name}' gives '{others[0]}' for {day} as {kind}; "
            "give a polars DataFrame"
        )
    return tables


def publish_partition(
    store: Store, project: str, day: date, tables: Mapping[str, "pl.DataFrame"]
) -> None:
    """Write a day's tables and then the manifest that makes them count."""
    from ml.core.tables import to_parquet

    landed: dict[str, LandedTable] = {}
    for name, frame in tables.items():
        content = to_parquet(frame)
        store.replace(table_path(project, day, name), content)
        types = {column: str(dtype) for column, dtype in frame.schema.items()}
        landed[name] = LandedTable(
            rows=frame.height, sha256=sha256(content), bytes=len(content), types=types
        )
    manifest = Manifest(project=project, day=day, tables=landed)
    text = manifest.model_dump_json(indent=1, by_alias=True).encode()
    store.replace(f"{partition(project, day)}/{MANIFEST}", text)


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


def check_presence(spec: ProjectSpec, manifests: dict[date, Manifest], as_of: date) -> None:
    """Raise BadInputError when a day lacks a table, or the last day one that its rows look into.

    A day without rows in its main table is one on which nothing happened, and needs no others.
    """
    for day, manifest in manifests.items():
        if lacking := [table for table in spec.tables if table not in manifest.tables]:
            raise BadInputError(f"the partition of {day} has no table '{lacking[0]}'")
    rows = {table: manifests[as_of].tables[table].rows for table in spec.tables}
    if rows[spec.main_table] and (empty := [table for table, count in rows.items() if not count]):
        raise BadInputError(
            f"the partition of {as_of} has no rows in {', '.join(empty)}: "
            "land the day again once its data is complete"
        )
