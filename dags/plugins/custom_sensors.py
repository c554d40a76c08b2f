"""Sensors that wait for a day's data without holding a worker.

`PartitionSensor` succeeds once the manifest of a landing partition is there. The manifest is
written after the tables, so whoever sees it sees the whole day.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook


class PartitionSensor(BaseSensorOperator):
    """Wait for a project's data of one day to have landed; return the manifest's address.

    :param landing_url: where days land, `s3://bucket[/prefix]` or a folder (templated)
    :param project: the project whose data it is (templated)
    :param as_of: the day, as YYYY-MM-DD (templated)
    :param aws_conn_id: the Airflow connection that may read an `s3://` landing
    :param deferrable: wait in the triggerer; else on a worker, or with `mode="reschedule"`
        on none between two looks
    :param poke_interval: seconds between two looks
    :param timeout: seconds after which the task fails, once and for all
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
        deferrable: bool = True,
        poke_interval: float = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.landing_url = landing_url
        self.project = project
        self.as_of = as_of
        self.aws_conn_id = aws_conn_id
        self.deferrable = deferrable

    @property
    def manifest_url(self) -> str:
        """Return the address of the manifest that is waited for."""
        return f"{self.landing_url}/{self.project}/dt={self.as_of}/manifest.json"

    def execute(self, context: Context) -> str:
        """Look once, then wait in the way that was asked for."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            self.log.info("waiting for %s", self.manifest_url)
            self._defer()
        return self._found()

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """Return whether the manifest is there now."""
        there = look_in(self.manifest_url, self.aws_conn_id).exists()
        if not there and not self.deferrable:
            self.log.info("waiting for %s", self.manifest_url)
        return there

    def _defer(self) -> None:
        self.defer(
            trigger=PartitionTrigger(
                manifest_url=self.manifest_url,
                aws_conn_id=self.aws_conn_id,
                poke_interval=self.poke_interval,
                give_up_at=time.time() + self.timeout,
            ),
            method_name="execute_complete",
            # The trigger gives up by itself; this only catches a trigger that is lost.
            timeout=timedelta(seconds=self.timeout + 300),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:  # noqa: ARG002
        """Go on after the trigger: the manifest is there, or waiting has no point."""
        if event["status"] == "timeout":
            waited = timedelta(seconds=round(self.timeout))
            raise AirflowSensorTimeout(
                f"{self.manifest_url} did not land within {waited}: land it and clear this task"
            )
        if event["status"] != "found":
            raise AirflowException(f"cannot look for {self.manifest_url}: {event['message']}")
        return self._found()

    def _found(self) -> str:
        self.log.info("found %s", self.manifest_url)
        return self.manifest_url


class PartitionTrigger(BaseTrigger):
    """Look for a manifest every `poke_interval` seconds, until `give_up_at` in Unix time.

    A store that cannot be reached for a while is waited for too; one that refuses is not.
    """

    def __init__(
        self, manifest_url: str, aws_conn_id: str, poke_interval: float, give_up_at: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.manifest_url = manifest_url
        self.aws_conn_id = aws_conn_id
        self.poke_interval = poke_interval
        self.give_up_at = give_up_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name this class and the arguments that make an equal trigger."""
        names = ("manifest_url", "aws_conn_id", "poke_interval", "give_up_at")
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: `found`, `timeout`, or `error` with a message."""
        self.log.info("waiting for %s", self.manifest_url)
        try:
            status = await self._watch()
            yield TriggerEvent({"status": status})
        except Exception as error:
            yield TriggerEvent({"status": "error", "message": str(error)})

    async def _watch(self) -> str:
        place = look_in(self.manifest_url, self.aws_conn_id)
        while True:
            try:
                # boto3 blocks: a thread keeps the triggerer's other waits going.
                if await asyncio.to_thread(place.exists):
                    return "found"
            except ConnectionError as error:
                self.log.warning("cannot reach the store of %s: %s", self.manifest_url, error)
            if time.time() >= self.give_up_at:
                return "timeout"
            await asyncio.sleep(self.poke_interval)


class Place(Protocol):
    """Somewhere a manifest may be."""

    def exists(self) -> bool:
        """Return whether it is there; raise ConnectionError when that cannot be told now."""


def look_in(url: str, aws_conn_id: str) -> Place:
    """Return the place an address means: an object in a store, or a file."""
    if url.startswith("s3://"):
        return _ObjectPlace(url, aws_conn_id)
    return _FilePlace(url)


class _FilePlace:
    def __init__(self, url: str) -> None:
        self.path = Path(url.removeprefix("file://"))

    def exists(self) -> bool:
        return self.path.exists()


class _ObjectPlace:
    def __init__(self, url: str, aws_conn_id: str) -> None:
        self.bucket, _, self.key = url.removeprefix("s3://").partition("/")
        self.aws_conn_id = aws_conn_id
        self.hook: S3Hook | None = None

    def exists(self) -> bool:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # heavy, and not for every parse
        from botocore.exceptions import BotoCoreError

        self.hook = self.hook or S3Hook(aws_conn_id=self.aws_conn_id)
        try:
            return self.hook.head_object(self.key, self.bucket) is not None
        except BotoCoreError as error:
            raise ConnectionError(str(error)) from error
