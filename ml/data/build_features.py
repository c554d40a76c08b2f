"""build_features: the features of every day of the dataset, each built once."""

from concurrent.futures import ThreadPoolExecutor

from ml.core.fingerprint import fingerprint
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, read_note, read_outputs, upstream
from ml.core.project import Project, read_project
from ml.core.record import Output, Record, Result
from ml.core.store import READERS
from ml.core.tables import from_parquet
from ml.data.daily_features import ID, TIME, Day, build_days, has_time, note_path, recipe_of
from ml.stages import Stage


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
        built |= build_days(job, project, todo)
        return _outcome({day.day: built[day.day] for day in days}, project, len(todo), job)

    return once(job, Stage.BUILD_FEATURES, key, work)


def _days(job: Job, project: Project, dataset: Record, recipe: str) -> list[Day]:
    tables: dict[str, dict[str, Output]] = {}
    for name, output in dataset.outputs.items():
        day, table = name.split("/")
        tables.setdefault(day, {})[table] = output
    main = project.spec.main_table
    return [
        Day(day, files, note_path(job, day, files, recipe))
        for day, files in sorted(tables.items())
        if files[main].rows
    ]


def _kept(job: Job, days: list[Day]) -> dict[str, Output]:
    there = job.stores.data.sizes(f"{job.project}/{Stage.BUILD_FEATURES}/")
    kept = [day for day in days if day.note in there]
    with ThreadPoolExecutor(READERS) as pool:
        notes = list(pool.map(lambda day: read_note(job.stores.data, day.note), kept))
    return {day.day: note for day, note in zip(kept, notes, strict=True)}


def _outcome(days: dict[str, Output], project: Project, built: int, job: Job) -> Outcome:
    names: list[str] = []
    # There is no day when nothing happened on any.
    for content in read_outputs(job, Stage.BUILD_FEATURES, list(days.values())[-1:]):
        schema = from_parquet(content, "the last day's features").schema
        apart = (ID, project.spec.target, *([TIME] if has_time(schema) else []))
        names = [c for c in schema if c not in apart]
    rows = sum(output.rows or 0 for output in days.values())
    return Outcome(days, {"rows": rows, "features": len(names), "built": built, "names": names})
