"""Which of a stage's results Airflow's UI links to."""

from __future__ import annotations

from airflow.sdk import BaseOperatorLink
from slipway_mlflow.links import ModelVersionLink, ReportLink, RunLink

_RUN = RunLink()
_VERSION = ModelVersionLink(model_from="project")
_LINKS: dict[str, tuple[BaseOperatorLink, ...]] = {
    "train": (_RUN,),
    "register": (_RUN, _VERSION),
    "roll_out": (_RUN, _VERSION),
    "report": (_RUN, ReportLink()),
    "present": (_RUN, _VERSION, ReportLink()),
}


def links_of(verb: str) -> tuple[BaseOperatorLink, ...]:
    """Return the links that a stage's task has in the UI; none for a stage that only moves data."""
    return _LINKS.get(verb, ())
