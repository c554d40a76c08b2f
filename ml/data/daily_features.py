"""A day's features: made by the project's `features`, caught looking ahead, and kept once.

Days are built on their own and kept by the digests of what they are made from, so a window that
moves on by a day builds one day.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint, libraries, source_digest, versions
from ml.core.job import Job
from ml.core.ledger import publish, read_note, read_outputs
from ml.core.project import Project, load_code
from ml.core.record import Output
from ml.core.tables import from_parquet, to_parquet, worked_on
from ml.core.users_code import users_code
from ml.data.declared import as_declared
from ml.data.leaks import check_leaks
from ml.stages import Stage

ID = "id"
TIME = "time"
"""When a row is: a datetime of this name is not learnt from, it tells what belongs together."""
NOTE = "output.json"
Tables = dict[str, pl.LazyFrame]
Features = Callable[[Tables], pl.LazyFrame]


@dataclass(frozen=True)
class Day:
    """One day's raw tables and the place of what is built from them."""

    day: str
    tables: dict[str, Output]
    note: str


def build_day(job: Job, project: Project, day: str, tables: dict[str, Output]) -> Output:
    """Build one day's features from its tables' files, unless they are there."""
    one = Day(day, tables, note_path(job, day, tables, recipe_of(project)))
    try:
        return read_note(job.stores.data, one.note)
    except FileNotFoundError:
        return build_days(job, project, [one])[day]


def built_as(job: Job, uri: str) -> Output | None:
    """Find what was published at an address of a day's features; None when that is gone."""
    try:
        return read_note(job.stores.data, job.stores.data.path(f"{uri.rsplit('/', 1)[0]}/{NOTE}"))
    except FileNotFoundError:
        return None


def build(project: Project, features: Features, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Build one day's features and check their shape and that nothing known later shaped them."""
    spec = project.spec
    frame = _run_features(features, tables)
    _check_shape(frame, spec.target)
    again = partial(_run_features, features)
    check_leaks(project, features, again, tables, frame)
    return _servable(frame, spec.target)


def _run_features(features: Features, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    with users_code("features() failed"):
        return features({name: frame.lazy() for name, frame in tables.items()}).collect()


def _check_shape(frame: pl.DataFrame, target: str) -> None:
    for needed in (ID, target):
        if needed not in frame.columns:
            raise BadInputError(f"features() returns no column '{needed}'")
    if len(frame.columns) < 3:
        raise BadInputError("features() returns nothing to learn from")
    if frame.schema[ID].is_nested() or frame.schema[ID] == pl.Object:
        raise BadInputError(f"features() gives 'id' as {frame.schema[ID]}; use a number or String")
    if frame[ID].null_count() or frame[ID].is_duplicated().any():
        raise BadInputError("features() must give every row its own 'id'")
    if frame.schema[target] != pl.Boolean:
        raise BadInputError(f"'{target}' is {frame.schema[target]}, but must be Boolean")
    for column, dtype in frame.schema.items():
        if column == TIME and has_time(frame.schema):
            continue
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical)):
            raise BadInputError(f"feature '{column}' is {dtype}; use a number, Boolean or String")


def has_time(schema: pl.Schema) -> bool:
    """Tell whether rows say when they are; a feature may have that name too, if it is no time."""
    return isinstance(schema.get(TIME), pl.Datetime)


def _servable(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    """Bring columns to the four types that a prediction request can carry.

    Floats are rounded to 32 bits, as that is what the served graph computes with. One that is not
    a number is missing, as a request can't hold it.
    """
    wanted: dict[str, pl.DataType] = {}
    for column, dtype in frame.schema.items():
        if column == target or dtype == pl.Boolean:
            continue
        if column == ID:
            wanted[column] = pl.String()
            continue
        if isinstance(dtype, pl.Datetime):
            frame = frame.with_columns(pl.col(column).dt.replace_time_zone(None))
            wanted[column] = pl.Datetime("us")
            continue
        if dtype.is_integer():
            wanted[column] = pl.Int64()
        else:
            wanted[column] = pl.Float32() if dtype.is_numeric() else pl.String()
    typed = frame.with_columns(_as_served(frame[c], dtype) for c, dtype in wanted.items())
    return typed.with_columns(pl.col(pl.Float32).fill_nan(None))


def _as_served(values: pl.Series, wanted: pl.DataType) -> pl.Series:
    what = f"feature '{values.name}' is {values.dtype}, which can't be served as {wanted}"
    with worked_on(f"{what}; cast it in features()"):
        return values.cast(wanted)


def recipe_of(project: Project) -> str:
    """Name everything but the data that decides what a day's features are."""
    spec = project.spec
    return fingerprint(
        model=source_digest(project.model_source),
        libraries=libraries(project.model_source),
        code=code_digest(__name__),
        versions=versions("polars"),
        target=spec.target,
        known_later=spec.known_later,
        known_before=spec.known_before,
        tables={name: table.model_dump() for name, table in spec.tables.items()},
        timezone=spec.timezone,
    )


def note_path(job: Job, day: str, files: dict[str, Output], recipe: str) -> str:
    """Return where it is noted what was built from these files by this recipe."""
    key = fingerprint(recipe=recipe, files={t: f.sha256 for t, f in files.items()})
    return f"{job.project}/{Stage.BUILD_FEATURES}/day={day}/{key}/{NOTE}"


def build_days(job: Job, project: Project, days: list[Day]) -> dict[str, Output]:
    """Build days and note each; BadInputError when model.py cannot or must not."""
    if not days:
        return {}
    features: Features | None = getattr(load_code(project), "features", None)
    if features is None:
        raise BadInputError(f"{project.files.model} has no function 'features'")
    built = {day.day: _build_one(job, project, features, day) for day in days}
    for day in days:
        job.stores.data.create(day.note, built[day.day].model_dump_json().encode())
    return built


def _build_one(job: Job, project: Project, features: Features, day: Day) -> Output:
    contents = read_outputs(job, Stage.INGEST, list(day.tables.values()))
    named = zip(day.tables, contents, strict=True)
    tables = {table: _read(project, day, table, content) for table, content in named}
    frame = build(project, features, tables)
    folder = day.note.rsplit("/", 1)[0]
    return publish(job.stores.data, folder, "features.parquet", to_parquet(frame), frame.height)


def _read(project: Project, day: Day, table: str, content: bytes) -> pl.DataFrame:
    name = f"table '{table}' of {day.day}"
    frame = from_parquet(content, name)
    return as_declared(project.spec.tables[table], frame, project.spec.timezone, name)
