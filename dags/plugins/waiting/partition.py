"""The wait for a project's data of one day.

It is there when the manifest of its landing partition is: that is written after the tables, so
whoever sees it sees the whole day. A store that is away for a while is waited for too; one that
refuses fails the task at once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from waiting.deferral import DeferringSensor, LookingTrigger, Sight
from waiting.manifest_places import ManifestPlace, look_in


class PartitionSensor(DeferringSensor):
    """Wait for a project's data of one day to have landed; return the manifest's address.

    :param landing_url: where days land, `s3://bucket[/prefix]` or a folder (templated)
    :param project: the project whose data it is (templated)
    :param as_of: the day, as YYYY-MM-DD (templated)
    :param aws_conn_id: the Airflow connection that may read an `s3://` landing
    """

    template_fields = ("landing_url", "project", "as_of")
    ui_color = "#fbe8c8"

    def __init__(
        self,
        *,
        landing_url: str,
        project: str,
        as_of: str,
        aws_conn_id: str = "landing",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.landing_url = landing_url
        self.project = project
        self.as_of = as_of
        self.aws_conn_id = aws_conn_id

    @property
    def manifest_url(self) -> str:
        """Return the address of the manifest that is waited for."""
        return f"{self.landing_url}/{self.project}/dt={self.as_of}/manifest.json"

    def look(self) -> Sight:
        """Look for the manifest once."""
        return _sight(self.manifest_url, look_in(self.manifest_url, self.aws_conn_id))

    def trigger_until(self, give_up_at: float) -> PartitionTrigger:
        """Return what waits for the manifest in the triggerer."""
        return PartitionTrigger(self.manifest_url, self.aws_conn_id, self.poke_interval, give_up_at)

    def overdue(self, waited: timedelta, state: str) -> str:  # noqa: ARG002 - the parent's
        """Return the sentence of a wait that was too long, with the way out."""
        return f"{self.manifest_url} did not land within {waited}: land it and clear this task"

    def broken(self, state: str) -> str:
        """Return the sentence of a look that failed in a way nobody has thought of."""
        return f"cannot look for {self.manifest_url}: {state}"


class PartitionTrigger(LookingTrigger):
    """Look for a manifest until it is there."""

    def __init__(
        self, manifest_url: str, aws_conn_id: str, poke_interval: float, give_up_at: float
    ) -> None:
        super().__init__(poke_interval, give_up_at)
        self.manifest_url = manifest_url
        self.aws_conn_id = aws_conn_id
        self._place = look_in(manifest_url, aws_conn_id)

    @property
    def subject(self) -> dict[str, Any]:
        """Return what is looked for, and as whom."""
        return {"manifest_url": self.manifest_url, "aws_conn_id": self.aws_conn_id}

    async def look(self) -> Sight:
        """Look for the manifest once."""
        # boto3 blocks: a thread keeps the triggerer's other waits going.
        return await asyncio.to_thread(_sight, self.manifest_url, self._place)


def _sight(url: str, place: ManifestPlace) -> Sight:
    """Look for a manifest once."""
    try:
        there = place.exists()
    except ConnectionError as error:
        return Sight(f"cannot reach the store of {url}: {error}", away=True)
    return Sight(f"found {url}", url) if there else Sight(f"waiting for {url}")
