"""Which of a stage's results Airflow's UI links to: what the table of verbs says that it tells."""

from __future__ import annotations

from airflow.sdk import BaseOperatorLink
from slipway_mlflow.links import ModelVersionLink, ReportLink, RunLink

from ml.stages import Stage

_LINKS: dict[str, BaseOperatorLink] = {
    "run_id": RunLink(),
    "version": ModelVersionLink(model_from="project"),
    "report": ReportLink(),
}


def links_of(stage: Stage) -> tuple[BaseOperatorLink, ...]:
    """Return the links that a stage's task has in the UI; none for a stage that only moves data."""
    return tuple(link for fact, link in _LINKS.items() if fact in stage.tells)
