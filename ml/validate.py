"""validate: check every table of the dataset against the rules in project.yaml.

What was proven once is not checked again: the proof is named by the file's digest and the rules.
"""

from ml.fingerprint import code_digest, fingerprint, versions
from ml.job import Job, log
from ml.ledger import Outcome, once, read_outputs, upstream
from ml.project import ProjectSpec, Table, read_project
from ml.record import Output, Record, Result, Stage

TELL = ("tables", "checked")


def run(job: Job) -> Result:
    """Validate the dataset that ingest published."""
    spec = read_project(job.project, job.settings.projects_path).spec
    dataset = upstream(job, Stage.INGEST)
    rules = {name: _rules_key(table) for name, table in spec.tables.items()}
    key = fingerprint(stage=Stage.VALIDATE, dataset=dataset.fingerprint, rules=rules)

    def work(_: str) -> Outcome:
        unproven = _unproven(job, dataset, rules)
        from ml.rules import check
        from ml.tables import from_parquet

        log.info("%d of %d files were not checked before", len(unproven), len(dataset.outputs))
        for name, output in unproven.items():
            day, table = name.split("/")
            (content,) = read_outputs(job, Stage.INGEST, [output])
            where = f"table '{table}' of {day}"
            check(spec.tables[table], from_parquet(content, where), where)
        for name, output in unproven.items():
            table = name.split("/")[1]
            job.stores.data.create(_proof(job, rules[table], table, output), b"")
        return Outcome(facts={"tables": len(dataset.outputs), "checked": len(unproven)})

    return once(job, Stage.VALIDATE, key, work, TELL)


def is_proven(job: Job, spec: ProjectSpec, files: dict[str, Output]) -> bool:
    """Whether each table's file has been found to keep today's rules, or has no rows to break."""
    rules = {name: _rules_key(spec.tables[name]) for name, output in files.items() if output.rows}
    sizes = (
        job.stores.data.size(_proof(job, key, name, files[name])) for name, key in rules.items()
    )
    return all(size is not None for size in sizes)


def _rules_key(table: Table) -> str:
    return fingerprint(
        rules=table.model_dump(), code=code_digest("ml.rules"), versions=versions("pandera")
    )


def _proof(job: Job, rules: str, table: str, output: Output) -> str:
    return f"{job.project}/proven/{table}/{rules}/{output.sha256}"


def _unproven(job: Job, dataset: Record, rules: dict[str, str]) -> dict[str, Output]:
    proven = job.stores.data.sizes(f"{job.project}/proven/")
    todo: dict[str, tuple[str, Output]] = {}
    filled = {name: output for name, output in dataset.outputs.items() if output.rows}
    for name, output in filled.items():
        table = name.split("/")[1]
        if (proof := _proof(job, rules[table], table, output)) not in proven:
            todo.setdefault(proof, (name, output))
    return dict(todo.values())
