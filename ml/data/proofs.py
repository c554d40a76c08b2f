"""What has been proven of a landed file: that it keeps the rules of project.yaml.

A proof is an empty object, named by the file's digest and the rules.
"""

from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job
from ml.core.project import ProjectSpec, Table
from ml.core.record import Output, Record


def is_proven(job: Job, spec: ProjectSpec, files: dict[str, Output]) -> bool:
    """Whether each table's file has been found to keep today's rules, or has no rows to break."""
    rules = {name: rules_key(spec.tables[name]) for name, output in files.items() if output.rows}
    sizes = (
        job.stores.data.size(proof_path(job, key, name, files[name])) for name, key in rules.items()
    )
    return all(size is not None for size in sizes)


def rules_key(table: Table) -> str:
    """Name everything but the data that decides whether a file passes."""
    return fingerprint(
        rules=table.model_dump(), code=code_digest("ml.data.rules"), versions=versions("pandera")
    )


def proof_path(job: Job, rules: str, table: str, output: Output) -> str:
    """Return where the proof of a file is."""
    return f"{job.project}/proven/{table}/{rules}/{output.sha256}"


def unproven(job: Job, dataset: Record, rules: dict[str, str]) -> dict[str, Output]:
    """Find the files of a dataset that have no proof for these rules, each content once."""
    proven = job.stores.data.sizes(f"{job.project}/proven/")
    todo: dict[str, tuple[str, Output]] = {}
    filled = {name: output for name, output in dataset.outputs.items() if output.rows}
    for name, output in filled.items():
        table = name.split("/")[1]
        if (proof := proof_path(job, rules[table], table, output)) not in proven:
            todo.setdefault(proof, (name, output))
    return dict(todo.values())
