"""Sensors that wait without holding a worker: for a day's data, and for MLflow.

- `PartitionSensor`: the manifest of a landing partition is there. It is written after the tables,
  so whoever sees it sees the whole day.
- `MlflowModelVersionSensor`: a model has a version that is ready.
- `MlflowAliasSensor`: an alias is set, or has moved.
- `MlflowMetricSensor`: a metric of a run or of a version is good enough.

Each waits in the triggerer (`deferrable=True`, the default), on a worker (`deferrable=False`), or
on neither between two looks (`deferrable=False, mode="reschedule"`). A server that is away for a
while is waited for too; one that refuses fails the task at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent
from mlflow_conditions import (
    AliasSet,
    Condition,
    MetricReached,
    Seen,
    VersionReady,
    restored,
    stored,
)
from mlflow_hook import MlflowHook, MlflowUnreachableError
from mlflow_links import ModelVersionLink, RunLink

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

_TOO_MANY, _BROKEN = 429, 500


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
        """Return whether the manifest is there now; a store that is away shows none."""
        try:
            there = look_in(self.manifest_url, self.aws_conn_id).exists()
        except ConnectionError as error:
            self.log.warning("cannot reach the store of %s: %s", self.manifest_url, error)
            return False
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
        if event["status"] == "refused":
            raise AirflowFailException(event["message"])
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
        """Yield one event: `found`, `timeout`, or `refused` or `error` with a message."""
        self.log.info("waiting for %s", self.manifest_url)
        try:
            status = await self._watch()
            yield TriggerEvent({"status": status})
        except AirflowFailException as error:
            yield TriggerEvent({"status": "refused", "message": str(error)})
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
        """Return whether it is there.

        Raises ConnectionError when a later look may tell, AirflowFailException when none will.
        """


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
        from botocore.exceptions import BotoCoreError, ClientError

        self.hook = self.hook or S3Hook(aws_conn_id=self.aws_conn_id)
        try:
            return self.hook.head_object(self.key, self.bucket) is not None
        except (BotoCoreError, ClientError) as error:
            if _may_pass(error):
                raise ConnectionError(str(error)) from error
            raise AirflowFailException(self._refusal(error)) from error

    def _refusal(self, error: Exception) -> str:
        # Who may not list a bucket is told 403, not 404, of whatever is not there yet.
        return (
            f"the store refuses to look for s3://{self.bucket}/{self.key}: {error}: check the "
            f"login of the connection `{self.aws_conn_id}`, and that it may list and read the "
            f"bucket `{self.bucket}`, then clear this task"
        )


def _may_pass(error: Exception) -> bool:
    """Return whether an error of the S3 client is an outage, which ends, and not a refusal."""
    from botocore.exceptions import (
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    if isinstance(error, ClientError):
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status == _TOO_MANY or status >= _BROKEN
    # These are about what was asked for, and with which login: the store was never called.
    return not isinstance(
        error, (NoCredentialsError, PartialCredentialsError, ParamValidationError)
    )


class MlflowSensor(BaseSensorOperator):
    """Wait for a condition in MLflow; the parent of the sensors below.

    :param mlflow_conn_id: the Airflow connection of type `mlflow`
    :param deferrable: wait in the triggerer; else on a worker, or with `mode="reschedule"`
        on none between two looks
    :param poke_interval: seconds between two looks
    :param timeout: seconds after which the task fails, once and for all
    """

    ui_color = "#d8e6f3"
    operator_extra_links = (RunLink(), ModelVersionLink())

    def __init__(
        self,
        *,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        deferrable: bool = True,
        poke_interval: float = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.mlflow_conn_id = mlflow_conn_id
        self.deferrable = deferrable

    @property
    def condition(self) -> Condition:
        """Return what is waited for, once the templates are filled in."""
        raise NotImplementedError

    def execute(self, context: Context) -> dict[str, Any]:
        """Look once, then wait in the way that was asked for; return what was found."""
        if not self.deferrable:
            found: dict[str, Any] = super().execute(context)
            return found
        seen = self._look()
        if seen.result is None:
            self._defer()
        return seen.result or {}

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Return whether the condition is met now, and what was found."""
        seen = self._look()
        return PokeReturnValue(seen.result is not None, seen.result)

    def _look(self) -> Seen:
        try:
            seen = MlflowHook(self.mlflow_conn_id).ask(self.condition.look())
        except MlflowUnreachableError as error:
            seen = Seen(str(error))
        self.log.info("%s", seen.state)
        return seen

    def _defer(self) -> None:
        self.defer(
            trigger=MlflowTrigger(
                condition=stored(self.condition),
                mlflow_conn_id=self.mlflow_conn_id,
                poke_interval=self.poke_interval,
                give_up_at=time.time() + self.timeout,
            ),
            method_name="execute_complete",
            # The trigger gives up by itself; this only catches a trigger that is lost.
            timeout=timedelta(seconds=self.timeout + 300),
        )

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002 - Airflow's signature
        event: dict[str, Any],
    ) -> dict[str, Any]:
        """Go on after the trigger: the condition is met, or waiting has no point."""
        state = event["state"]
        self.log.info("%s", state)
        if event["status"] == "timeout":
            waited = timedelta(seconds=round(self.timeout))
            raise AirflowSensorTimeout(f"waited {waited} in vain: {state}")
        if event["status"] == "refused":
            raise AirflowFailException(state)
        if event["status"] != "found":
            raise AirflowException(state)
        result: dict[str, Any] = event["result"]
        return result


class MlflowModelVersionSensor(MlflowSensor):
    """Wait until a version of a model is registered and ready; return `model`, `version`, `run_id`.

    :param model: the registered model (templated)
    :param version: the version's number; without one, any version will do (templated)
    """

    template_fields = ("model", "version")

    def __init__(self, *, model: str, version: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version

    @property
    def condition(self) -> VersionReady:
        """Return what is waited for."""
        return VersionReady(self.model, _given(self.version))


class MlflowAliasSensor(MlflowSensor):
    """Wait until an alias names a version; return `model`, `version`, `alias`, `run_id`.

    :param model: the registered model (templated)
    :param alias: the alias, such as `champion` (templated)
    :param version: the version it must name; without one, any (templated)
    :param other_than: a version it must have moved away from (templated)
    """

    template_fields = ("model", "alias", "version", "other_than")

    def __init__(
        self,
        *,
        model: str,
        alias: str,
        version: str | None = None,
        other_than: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alias = alias
        self.version = version
        self.other_than = other_than

    @property
    def condition(self) -> AliasSet:
        """Return what is waited for."""
        return AliasSet(self.model, self.alias, _given(self.version), _given(self.other_than))


class MlflowMetricSensor(MlflowSensor):
    """Wait until a metric's newest value is within limits; return `run_id`, `metric`, `value`.

    Whose metric it is: of the run `run_id`, or of the run behind a `model`'s `version` or `alias`.

    :param metric: the metric's name (templated)
    :param at_least: the smallest value that will do (templated)
    :param at_most: the largest value that will do (templated)
    :param run_id: the run (templated)
    :param model: the registered model (templated)
    :param version: the model's version (templated)
    :param alias: the alias that names the version (templated)
    """

    template_fields = ("metric", "at_least", "at_most", "run_id", "model", "version", "alias")

    def __init__(
        self,
        *,
        metric: str,
        at_least: float | str | None = None,
        at_most: float | str | None = None,
        run_id: str | None = None,
        model: str | None = None,
        version: str | None = None,
        alias: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (run_id is None) == (model is None) or (model and (version is None) == (alias is None)):
            raise ValueError(
                f"{self.task_id}: give either `run_id`, or `model` with either `version` or `alias`"
            )
        self.metric = metric
        self.at_least = at_least
        self.at_most = at_most
        self.run_id = run_id
        self.model = model
        self.version = version
        self.alias = alias

    @property
    def condition(self) -> MetricReached:
        """Return what is waited for."""
        return MetricReached(
            self.metric,
            _number(self.at_least),
            _number(self.at_most),
            self.run_id,
            self.model,
            _given(self.version),
            self.alias,
        )


class MlflowTrigger(BaseTrigger):
    """Look at MLflow every `poke_interval` seconds, until `give_up_at` in Unix time.

    The event's `status` is `found` with a `result`, `timeout`, `refused`, or `error`; its `state`
    is one sentence about what was seen last.
    """

    def __init__(
        self,
        condition: Mapping[str, Any],
        mlflow_conn_id: str,
        poke_interval: float,
        give_up_at: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.condition = dict(condition)
        self.mlflow_conn_id = mlflow_conn_id
        self.poke_interval = poke_interval
        self.give_up_at = give_up_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name this class and the arguments that make an equal trigger."""
        names = ("condition", "mlflow_conn_id", "poke_interval", "give_up_at")
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the wait is over."""
        try:
            yield TriggerEvent(await self._watch())
        except AirflowFailException as error:
            yield TriggerEvent({"status": "refused", "state": str(error)})
        except Exception as error:
            yield TriggerEvent({"status": "error", "state": str(error)})

    async def _watch(self) -> dict[str, Any]:
        hook, condition = MlflowHook(self.mlflow_conn_id), restored(self.condition)
        told = ""
        while True:
            try:
                seen = await hook.aask(condition.look())
            except MlflowUnreachableError as error:
                seen = Seen(str(error))
            if seen.result is not None:
                return {"status": "found", "state": seen.state, "result": seen.result}
            if seen.state != told:  # an hour's wait is not a hundred equal lines
                self.log.info("%s", seen.state)
            told = seen.state
            if time.time() >= self.give_up_at:
                return {"status": "timeout", "state": seen.state}
            await asyncio.sleep(self.poke_interval)


def _given(version: object) -> str | None:
    """Return a version as MLflow writes it; a template may have made it a number, or nothing."""
    return None if version in (None, "") else str(version)


def _number(limit: float | str | None) -> float | None:
    return None if limit is None else float(limit)
