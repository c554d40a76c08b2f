"""validate: check every table of the dataset against the rules in project.yaml.

What was proven once is not checked again: the proof is named by the file's digest and the rules.
"""

from ml.core.fingerprint import fingerprint
from ml.core.job import Job, log
from ml.core.ledger import Outcome, once, read_outputs, upstream
from ml.core.project import read_project
from ml.core.record import Result
from ml.data.proofs import proof_path, rules_key, unproven
from ml.stages import Stage


def run(job: Job) -> Result:
    """Validate the dataset that ingest published."""
    spec = read_project(job.project, job.settings.projects_path).spec
    dataset = upstream(job, Stage.INGEST)
    rules = {name: rules_key(table) for name, table in spec.tables.items()}
    key = fingerprint(stage=Stage.VALIDATE, dataset=dataset.fingerprint, rules=rules)

    def work(_: str) -> Outcome:
        todo = unproven(job, dataset, rules)
        from ml.core.tables import from_parquet
        from ml.data.rules import check

        log.info("%d of %d files were not checked before", len(todo), len(dataset.outputs))
        for name, output in todo.items():
            day, table = name.split("/")
            (content,) = read_outputs(job, Stage.INGEST, [output])
            where = f"table '{table}' of {day}"
            check(spec.tables[table], from_parquet(content, where), where)
        for name, output in todo.items():
            table = name.split("/")[1]
            job.stores.data.create(proof_path(job, rules[table], table, output), b"")
        return Outcome(facts={"tables": len(dataset.outputs), "checked": len(todo)})

    return once(job, Stage.VALIDATE, key, work)
