"""What happens when a run is late."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


async def report_late_run(context: dict[str, Any] | None = None, **_: Any) -> None:
    """Say in the triggerer's log which run has missed its deadline."""
    run = (context or {}).get("dag_run", {})
    log.warning("run %s of %s has missed its deadline", run.get("run_id"), run.get("dag_id"))
