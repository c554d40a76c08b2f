"""A person's answer about a deployment, as it is kept with the version in MLflow."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from airflow.sdk.exceptions import AirflowException
from slipway_mlflow.api import set_tags
from slipway_mlflow.hook import MlflowHook

log = logging.getLogger(__name__)

TAG = "slipway.approval"


@dataclass(frozen=True)
class Approval:
    """Who said what about a version; nobody's answer in time is a no without a name."""

    project: str
    version: str
    approved: bool
    by: str | None
    reason: str

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags of the version that say so."""
        answer = "approved" if self.approved else "rejected" if self.by else "unanswered"
        return {TAG: answer, f"{TAG}_by": self.by or "", f"{TAG}_reason": self.reason}

    def keep(self) -> None:
        """Write the tags; where that fails, Airflow alone keeps the answer, and the log says so.

        The run goes on as it was told: trying again would ask the person again.
        """
        try:
            MlflowHook().ask(set_tags(self.project, self.version, self.tags))
        except AirflowException as error:
            log.warning(
                "the answer is not noted on version %s of %s in MLflow, for which tasks need the "
                "connection `mlflow` (airflow.mlflowConnection in the chart): %s",
                self.version,
                self.project,
                error,
            )
