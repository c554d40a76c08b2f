"""Which project and which days a run is about, as templates that Airflow fills in for each run."""

from __future__ import annotations

PROJECT = "{{ params.project }}"
"""The run's project."""

# The days whose features started the run, where it was features that did; oldest first.
_BUILT = (
    "(triggering_asset_events.values() | sum(start=[]) | map(attribute='extra')"
    " | map(attribute='as_of', default='') | select | unique | sort)"
)
_OWN = "own_day(dag_run, params.project)"
AS_OF = f"{{{{ params.as_of or ({_BUILT} or ['']) | last or {_OWN} }}}}"
"""The run's day; the newest where several days' features have started it together."""
EVERY_DAY = f"{{{{ params.as_of or {_BUILT} | join(',') or {_OWN} }}}}"
"""All of those days, with commas between them."""
ONE_DAY = f"{AS_OF}/{AS_OF}"
"""That day alone, for a stage that would take the days before it too."""
