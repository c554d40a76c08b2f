"""One stage's assignment: which project, which day, where its inputs are."""

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date

from ml.core.settings import Settings
from ml.core.store import Stores

log = logging.getLogger("slipway")
# The stage whose work is being logged; `run` does several in one process.
doing: ContextVar[str] = ContextVar("doing", default="")


@dataclass(frozen=True)
class Job:
    """What every stage's `run(job)` is given."""

    project: str
    as_of: date
    settings: Settings
    stores: Stores
    upstream: str | None = None
    # How many days up to `as_of`; None where the project's own window is meant.
    days: int | None = None

    @classmethod
    def of(
        cls,
        project: str,
        as_of: date,
        settings: Settings,
        upstream: str | None = None,
        days: int | None = None,
    ) -> "Job":
        """Build a job with the stores the settings name."""
        stores = Stores.at(settings.landing_url, settings.data_url, settings.models_url)
        return cls(project, as_of, settings, stores, upstream, days)
