"""build_features: run the project's `features` on each day, and catch it looking ahead.

Days are built on their own and kept by the digests of what they are made from, so a window that
moves on by a day builds one day.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from ml.errors import BadInputError
from ml.fingerprint import code_digest, fingerprint, versions
from ml.job import Job, log
from ml.ledger import Outcome, before, once, publish, read_outputs, upstream
from ml.project import Project, load_code, read_project
from ml.record import Output, Record, Result, Stage
from ml.tables import from_parquet, to_parquet

TELL = ("rows", "features", "built")
ID = "id"
NOTE = "output.json"
Tables = dict[str, pl.LazyFrame]
Features = Callable[[Tables], pl.LazyFrame]


@dataclass(frozen=True)
class Day:
    """One day's raw tables and the place of what is built from them."""

    day: str
    tables: dict[str, Output]
    note: str


def run(job: Job) -> Result:
    """Build the features of every day of the dataset that is not built yet."""
    project = read_project(job.project, job.settings.projects_path)
    checked = upstream(job, Stage.VALIDATE)
    dataset = before(job, checked, Stage.INGEST)
    recipe = recipe_of(project)
    key = fingerprint(stage=Stage.BUILD_FEATURES, dataset=dataset.fingerprint, recipe=recipe)

    def work(_: str) -> Outcome:
        days = _days(job, project, dataset, recipe)
        built = _kept(job, days)
        todo = [day for day in days if day.day not in built]
        log.info("%d of %d days are new", len(todo), len(days))
        built |= _build_all(job, project, todo)
        return _outcome({day.day: built[day.day] for day in days}, project, len(todo), job)

    return once(job, Stage.BUILD_FEATURES, key, work, TELL)


def build_day(job: Job, project: Project, day: str, tables: dict[str, Output]) -> Output:
    """Build one day's features from its tables' files, unless they are there."""
    one = Day(day, tables, _note(job, day, tables, recipe_of(project)))
    try:
        return Output.model_validate_json(job.stores.data.read(one.note))
    except FileNotFoundError:
        return _build_all(job, project, [one])[day]


def built_as(job: Job, uri: str) -> Output | None:
    """Find what was published at an address of a day's features; None when that is gone."""
    try:
        note = job.stores.data.read(job.stores.data.path(f"{uri.rsplit('/', 1)[0]}/{NOTE}"))
    except FileNotFoundError:
        return None
    return Output.model_validate_json(note)


def build(project: Project, features: Features, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Build one day's features and check their shape and that nothing known later shaped them."""
    spec = project.spec
    frame = _run_features(features, tables)
    _check_shape(frame, spec.target)
    later = _blanked(tables, spec.known_later)
    without = _run_features(features, later)
    leaking = leaks(frame, without, spec.target)
    if leaking:
        raise BadInputError(
            f"features() of '{project.name}' looks ahead: {', '.join(leaking)} "
            "change when the columns listed under known_later are blanked"
        )
    return _servable(frame, spec.target)


def leaks(frame: pl.DataFrame, without: pl.DataFrame, target: str) -> list[str]:
    """Name the columns, besides the target, that differ once later knowledge is blanked."""
    if frame.height != without.height:
        return ["the number of rows"]
    return [c for c in frame.columns if c != target and not frame[c].equals(without[c])]


def _blanked(
    tables: dict[str, pl.DataFrame], known_later: dict[str, list[str]]
) -> dict[str, pl.DataFrame]:
    def blank(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
        there = [c for c in columns if c in frame.columns]
        return frame.with_columns(pl.lit(None, frame.schema[c]).alias(c) for c in there)

    return {name: blank(frame, known_later.get(name, [])) for name, frame in tables.items()}


def _run_features(features: Features, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    try:
        return features({name: frame.lazy() for name, frame in tables.items()}).collect()
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise BadInputError(f"features() failed: {type(error).__name__}: {first_line}") from error


def _check_shape(frame: pl.DataFrame, target: str) -> None:
    for needed in (ID, target):
        if needed not in frame.columns:
            raise BadInputError(f"features() returns no column '{needed}'")
    if len(frame.columns) < 3:
        raise BadInputError("features() returns nothing to learn from")
    if frame[ID].null_count() or frame[ID].is_duplicated().any():
        raise BadInputError("features() must give every row its own 'id'")
    if frame.schema[target] != pl.Boolean:
        raise BadInputError(f"'{target}' is {frame.schema[target]}, but must be Boolean")
    for column, dtype in frame.schema.items():
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical)):
            raise BadInputError(f"feature '{column}' is {dtype}; use a number, Boolean or String")


def _servable(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    """Bring columns to the four types that a prediction request can carry.

    Floats are rounded to 32 bits, as that is what the served graph computes with.
    """
    wanted: dict[str, pl.DataType] = {}
    for column, dtype in frame.schema.items():
        if column in (ID, target) or dtype == pl.Boolean:
            continue
        if dtype.is_integer():
            wanted[column] = pl.Int64()
        else:
            wanted[column] = pl.Float32() if dtype.is_numeric() else pl.String()
    return frame.with_columns(pl.col(c).cast(dtype) for c, dtype in wanted.items())


def recipe_of(project: Project) -> str:
    """Name everything but the data that decides what a day's features are."""
    spec = project.spec
    return fingerprint(
        model=project.model_source.decode(),
        code=code_digest("ml.build_features"),
        versions=versions("polars"),
        target=spec.target,
        known_later=spec.known_later,
    )


def _days(job: Job, project: Project, dataset: Record, recipe: str) -> list[Day]:
    tables: dict[str, dict[str, Output]] = {}
    for name, output in dataset.outputs.items():
        day, table = name.split("/")
        tables.setdefault(day, {})[table] = output
    main = project.spec.main_table
    return [
        Day(day, files, _note(job, day, files, recipe))
        for day, files in sorted(tables.items())
        if files[main].rows
    ]


def _note(job: Job, day: str, files: dict[str, Output], recipe: str) -> str:
    key = fingerprint(recipe=recipe, files={t: f.sha256 for t, f in files.items()})
    return f"{job.project}/{Stage.BUILD_FEATURES}/day={day}/{key}/{NOTE}"


def _kept(job: Job, days: list[Day]) -> dict[str, Output]:
    there = job.stores.data.sizes(f"{job.project}/{Stage.BUILD_FEATURES}/")
    kept = [day for day in days if day.note in there]
    texts = job.stores.data.read_many([day.note for day in kept])
    notes = [Output.model_validate_json(text) for text in texts]
    return {day.day: note for day, note in zip(kept, notes, strict=True)}


def _build_all(job: Job, project: Project, days: list[Day]) -> dict[str, Output]:
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
    names = zip(day.tables, contents, strict=True)
    tables = {t: from_parquet(content, f"table '{t}' of {day.day}") for t, content in names}
    frame = build(project, features, tables)
    folder = day.note.rsplit("/", 1)[0]
    return publish(job.stores.data, folder, "features.parquet", to_parquet(frame), frame.height)


def _outcome(days: dict[str, Output], project: Project, built: int, job: Job) -> Outcome:
    (content,) = read_outputs(job, Stage.BUILD_FEATURES, list(days.values())[-1:])
    schema = from_parquet(content, "the last day's features").schema
    names = [c for c in schema if c not in (ID, project.spec.target)]
    rows = sum(output.rows or 0 for output in days.values())
    return Outcome(days, {"rows": rows, "features": len(names), "built": built, "names": names})
