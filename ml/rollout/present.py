"""present: one page about a training: what it learnt from, how it was judged, how it answers now.

The page is one HTML file without scripts, made from the run's records alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job
from ml.core.ledger import Outcome, before, once, publish, upstream
from ml.core.project import read_project
from ml.core.record import Record, Result
from ml.core.store import sha256
from ml.stages import Stage
from ml.training.evaluation import measured

PAGE = Path(__file__).with_name("present.html.jinja")


def run(job: Job) -> Result:
    """Write the page of the version that smoke has asked."""
    asked = upstream(job, Stage.SMOKE)
    title = read_project(job.project, job.settings.projects_path).spec.title
    key = fingerprint(
        stage=Stage.PRESENT,
        asked=asked.fingerprint,
        title=title,
        page=sha256(PAGE.read_bytes()),
        code=code_digest(__name__),
        versions=versions("jinja2"),
    )

    def work(folder: str) -> Outcome:
        from jinja2 import Environment

        template = Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
        page = template.render(content(job, asked, title))
        output = publish(job.stores.data, folder, "report.html", page.encode(), None)
        trained = before(job, asked, Stage.TRAIN)
        facts = {
            "version": asked.facts["version"],
            "run_id": trained.facts["run_id"],
            "report": output.uri,
        }
        return Outcome({"report": output}, facts)

    return once(job, Stage.PRESENT, key, work)


def content(job: Job, asked: Record, title: str) -> dict[str, Any]:
    """Gather what the page shows from the records of the run."""
    registered = before(job, asked, Stage.REGISTER)
    evaluated = before(job, registered, Stage.EVALUATE)
    found = measured(job, evaluated)
    return {
        "project": job.project,
        "title": title,
        **{name: registered.facts[name] for name in ("version", "decision", "reason")},
        "tables": {
            "How it was judged": judged(found, evaluated),
            "What it learnt from": learnt(job, evaluated),
            "How it answers": answers(asked),
        },
        "slices": found["slices"],
        "records": _trail(job, asked),
    }


def judged(found: dict[str, Any], evaluated: Record) -> dict[str, str]:
    """Name the measurements behind the decision."""
    rows = {"AUC of the candidate": _interval(found["candidate"])}
    if found["champion"]:
        rows["AUC of the champion"] = _interval(found["champion"])
        rows["gain"] = _interval(found["gain"])
        rows["champion"] = f"version {evaluated.facts['champion_version']}"
    return rows | {"one prediction": f"{found['latency_ms']:.2f} ms"}


def _interval(measured: dict[str, float]) -> str:
    return f"{measured['value']:.3f} ({measured['low']:.3f} to {measured['high']:.3f})"


def learnt(job: Job, evaluated: Record) -> dict[str, object]:
    """Name the days and rows of the training."""
    split, trained = before(job, evaluated, Stage.SPLIT), before(job, evaluated, Stage.TRAIN)
    facts = split.facts
    return {
        "days": f"{facts['train_from']} to {facts['train_until']}",
        "rows": f"{facts['train_rows']} to learn from, {facts['holdout_rows']} to test",
        "share of positives": facts["positive_share"],
        "served as": f"{trained.facts['format']}: {trained.facts['format_reason']}",
        "MLflow run": trained.facts["run_id"],
    }


def answers(asked: Record) -> dict[str, object]:
    """Name what the deployed model showed when it was first asked."""
    facts = asked.facts
    return {
        "endpoint": facts["endpoint"],
        "model file": facts["sha256"],
        "known rows repeated": f"{facts['rows']}, at most {facts['largest_difference']:.1e} off",
        "one row over the network": f"{facts['p50_ms']} ms (median), {facts['p95_ms']} ms (95 %)",
    }


def _trail(job: Job, record: Record) -> list[str]:
    from ml.core.ledger import read_record

    trail = [str(job.upstream)]
    while record.inputs:
        trail.append(record.inputs[0])
        record = read_record(job.stores.data, record.inputs[0])
    return trail
