"""What a project's models predicted on each day, and the labels that have arrived since."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import polars as pl

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.core.ledger import before, read_outputs, read_record, record_paths
from ml.core.project import Project
from ml.core.record import Output, Record
from ml.core.store import READERS
from ml.core.tables import from_parquet
from ml.data.daily_features import ID, TIME, build_day, built_as
from ml.data.parts import DAY
from ml.data.recipe import project_of
from ml.monitoring.findings import Model
from ml.monitoring.measures import BY, LABEL, SCORE
from ml.stages import Stage
from ml.training.clusters import BY_DAY, BY_HOUR


@dataclass(frozen=True)
class Scored:
    """The predictions of one model for one day."""

    day: date
    model: Model
    output: Output
    features: str
    refused: int
    reasons: dict[str, int]
    recipe: str = ""


@dataclass(frozen=True)
class Labels:
    """The features of a day, made as the version was taught, and the column that is its target."""

    output: Output
    target: str


Known = Mapping[tuple[date, Model], Labels]


def scored(job: Job, days: list[date]) -> list[Scored]:
    """Find the newest predictions of each model for each of the days, oldest day first."""
    newest: dict[tuple[date, Model], Record] = {}
    for record in _records_of_days(job, Stage.SCORE, days):
        key = (record.as_of, _model_of(job, record))
        if key not in newest or newest[key].created_at < record.created_at:
            newest[key] = record
    return [
        _scored(day, model, record)
        for (day, model), record in sorted(newest.items(), key=lambda item: _order(*item[0]))
    ]


def labels(job: Job, parts: list[Scored], today: Project) -> Known:
    """Find the labels that are known by now of each day that a model has scored.

    What a label is, the version's own recipe says; the newest data of the day says which it is.
    """
    newest = _newest_features(job, {part.day for part in parts})
    known: dict[tuple[date, Model], Labels] = {}
    for recipe in dict.fromkeys(part.recipe for part in parts):
        with project_of(job.stores.models, recipe, today) as project:
            for part in (one for one in parts if one.recipe == recipe):
                if output := _labelled(job, project, part, newest.get(part.day)):
                    known[part.day, part.model] = Labels(output, project.spec.target)
    return known


def _newest_features(job: Job, days: set[date]) -> dict[date, Record]:
    """Find the newest record of the features of each day.

    They are on record for the day itself and, with its whole window, for the day asked for.
    """
    newest: dict[date, Record] = {}
    for record in _records_of_days(job, Stage.BUILD_FEATURES, sorted({*days, job.as_of})):
        for day in days:
            there = str(day) in record.outputs
            if there and (day not in newest or newest[day].created_at < record.created_at):
                newest[day] = record
    return newest


def _labelled(job: Job, project: Project, part: Scored, newest: Record | None) -> Output | None:
    """Build a day by a version's recipe; where no data is on record, take what it was scored by."""
    if newest is None:
        return built_as(job, part.features) if part.features else None
    files = {
        table: output
        for name, output in before(job, newest, Stage.INGEST).outputs.items()
        for day, table in [name.split("/")]
        if day == str(part.day) and table in project.spec.tables
    }
    return build_day(job, project, str(part.day), files)


def rows(job: Job, part: Scored, known: Known, clusters: Sequence[str]) -> pl.DataFrame:
    """Read one day's predictions, each with its label, null where none has arrived.

    Beside them are the day and, where there is a label, the columns that `clusters` names.
    Raises BadInputError when a file is damaged or is not what its stage publishes.
    """
    name = f"the predictions of {part.day} by version {part.model.version} ({part.output.uri})"
    (content,) = read_outputs(job, Stage.SCORE, [part.output])
    frame = _chosen(from_parquet(content, name), name, {ID: pl.String, SCORE: pl.Float64})
    if frame[SCORE].is_nan().any() or not frame[SCORE].is_between(0, 1).all():
        raise BadInputError(f"{name} hold a score that is not between 0 and 1")
    frame = frame.with_columns(pl.lit(part.day).alias(DAY))
    found = known.get((part.day, part.model))
    if found is None:
        return frame.with_columns(pl.lit(None, pl.Boolean).alias(LABEL))
    labels = _labels(job, found.output, part.day, found.target, clusters)
    return frame.join(labels, on=ID, how="left")


def together(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Put the rows of several days together; a column that one of them lacks is null there."""
    return pl.concat(frames, how="diagonal_relaxed")


def _labels(
    job: Job, output: Output, day: date, target: str, clusters: Sequence[str]
) -> pl.DataFrame:
    name = f"the features of {day} ({output.uri})"
    (content,) = read_outputs(job, Stage.BUILD_FEATURES, [output])
    frame = from_parquet(content, name)
    chosen = _chosen(frame, name, {ID: pl.String, target: pl.Boolean}, may_lack=target)
    return chosen.rename({target: LABEL}).with_columns(_places(frame, clusters))


def _places(frame: pl.DataFrame, clusters: Sequence[str]) -> Iterator[pl.Series]:
    """Give what clusters go by; null where these features lack it, as those of old code may."""
    for name in sorted({TIME, *clusters} - {BY_DAY, BY_HOUR, ID}):
        if name in frame.columns:
            yield frame[name].alias(BY + name)
        else:
            kind = pl.Datetime("us") if name == TIME else None
            yield pl.Series(BY + name, [None] * frame.height, kind)


def _chosen(
    frame: pl.DataFrame, name: str, columns: Mapping[str, type[pl.DataType]], may_lack: str = ""
) -> pl.DataFrame:
    for column, dtype in columns.items():
        if column not in frame.columns:
            raise BadInputError(f"{name} have no column '{column}'")
        if frame.schema[column] != dtype:
            found = frame.schema[column]
            raise BadInputError(f"column '{column}' of {name} is {found}, not {dtype.__name__}")
        if column != may_lack and frame[column].null_count():
            raise BadInputError(f"column '{column}' of {name} has nulls")
    if frame[ID].is_duplicated().any():
        raise BadInputError(f"{name} have an 'id' twice")
    return frame.select(list(columns))


def _records_of_days(job: Job, stage: Stage, days: list[date]) -> list[Record]:
    store = job.stores.data
    folders = [f"{job.project}/{stage}/dt={day}/" for day in days]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda folder: record_paths(store, folder), folders)
        uris = [store.uri(path) for paths in found for path in paths]
        return list(pool.map(lambda uri: read_record(store, uri), uris))


def _model_of(job: Job, record: Record) -> Model:
    where = job.stores.data.uri(f"{job.project}/{Stage.SCORE}/dt={record.as_of}/")
    lacking = [name for name in ("version", "sha256") if not record.facts.get(name)]
    if lacking or len(record.outputs) != 1:
        what = f"'{lacking[0]}'" if lacking else "one file of predictions"
        raise BadInputError(f"record {record.fingerprint} under {where} does not name {what}")
    return Model(version=str(record.facts["version"]), sha256=str(record.facts["sha256"]))


def _scored(day: date, model: Model, record: Record) -> Scored:
    (output,) = record.outputs.values()
    reasons = {str(name): int(count) for name, count in record.facts.get("reasons", {}).items()}
    features = str(record.facts.get("features", ""))
    refused, recipe = int(record.facts.get("refused", 0)), str(record.facts.get("recipe", ""))
    return Scored(day, model, output, features, refused, reasons, recipe)


def _order(day: date, model: Model) -> tuple[date, int, str]:
    number = int(model.version) if model.version.isdigit() else 0
    return day, number, model.sha256
