"""ingest: freeze the landed partitions of a window as one dataset.

Raw files are kept once, named by their digest, so windows that overlap share them and a landing
folder that is cleaned up later takes nothing away from a dataset.
"""

from datetime import date
from typing import TYPE_CHECKING

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint
from ml.core.job import Job
from ml.core.ledger import Outcome, once
from ml.core.project import ProjectSpec, read_project
from ml.core.record import Result
from ml.data.landing import Manifest, check_presence, landed
from ml.data.raw import File, files_of, keep, output_of
from ml.stages import Stage

if TYPE_CHECKING:
    import polars as pl


def run(job: Job) -> Result:
    """Check the window's partitions and publish the dataset record."""
    project = read_project(job.project, job.settings.projects_path)
    days = project.spec.days.until(job.as_of, job.days)
    manifests = landed(job, days)
    empty = check(project.spec, manifests, job.as_of)
    files = list(files_of(job.project, project.spec, manifests))
    key = fingerprint(
        stage=Stage.INGEST,
        code=code_digest(__name__),
        files=[(file.name, file.landed.sha256, file.landed.rows) for file in files],
    )
    rows = sum(f.landed.rows for f in files if f.table == project.spec.main_table)

    def work(_: str) -> Outcome:
        kept = job.stores.data.sizes(f"{job.project}/raw/")
        keep(job, files, kept, lambda file, schema: _check_types(project.spec, file, schema))
        outputs = {file.name: output_of(job, file) for file in files}
        facts = {"days": len(days), "rows": rows, "empty_days": empty}
        return Outcome(outputs, facts)

    return once(job, Stage.INGEST, key, work)


def check(spec: ProjectSpec, manifests: dict[date, Manifest], as_of: date) -> list[str]:
    """Check what manifests say against project.yaml; return the days on which nothing happened."""
    check_presence(spec, manifests, as_of)
    return sorted(str(d) for d, m in manifests.items() if not m.tables[spec.main_table].rows)


def _check_types(spec: ProjectSpec, file: File, schema: "pl.Schema") -> None:
    from ml.data.declared import is_kin  # loads polars, which only new files need

    # Where there is no value, a column's type is anyone's guess.
    rules = spec.tables[file.table].columns if file.landed.rows else {}
    for column, rule in rules.items():
        found = schema.get(column)
        if found is None:
            raise BadInputError(f"table '{file.table}' of {file.day} has no column '{column}'")
        if not is_kin(rule.type, found):
            raise BadInputError(
                f"column '{column}' of table '{file.table}' of {file.day} is {found}, "
                f"but project.yaml says {rule.type}"
            )
