"""What our sensors have in common: how they wait, give up and end; each adds only its look."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent

LOST = 300
"""Seconds by which a trigger that should have given up by itself is lost."""


@dataclass(frozen=True)
class Sight:
    """What a look saw, in one sentence; with a `result` the wait is over.

    `away` says that nobody answered, which is waited for as well.
    """

    state: str
    result: Any = None
    away: bool = False

    @property
    def level(self) -> int:
        """Return how loudly a log should say it."""
        return logging.WARNING if self.away else logging.INFO


class DeferringSensor(BaseSensorOperator):
    """Wait until a look sees what is waited for, and return that; the parent of our sensors.

    A look that raises AirflowFailException fails the task at once, however it waits.

    :param deferrable: wait in the triggerer; else on a worker, or with `mode="reschedule"`
        on none between two looks
    :param poke_interval: seconds between two looks
    :param timeout: seconds after which the task fails, once and for all
    """

    def __init__(
        self, *, deferrable: bool = True, poke_interval: float = 30, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.deferrable = deferrable

    def look(self) -> Sight:
        """Look once."""
        raise NotImplementedError

    def trigger_until(self, give_up_at: float) -> LookingTrigger:
        """Return what looks in the triggerer, until `give_up_at` in Unix time."""
        raise NotImplementedError

    def overdue(self, waited: timedelta, state: str) -> str:
        """Return the sentence of a wait that was too long."""
        return f"waited {waited} in vain: {state}"

    def broken(self, state: str) -> str:
        """Return the sentence of a look that failed in a way nobody has thought of."""
        return state

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - what was found, whatever it is
        """Look once, then wait in the way that was asked for; return what was found."""
        if not self.deferrable:
            return super().execute(context)
        seen = self._seen()
        if seen.result is None:
            self._defer()
        return seen.result

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Return whether it is there now, and what was found."""
        seen = self._seen()
        return PokeReturnValue(seen.result is not None, seen.result)

    def _seen(self) -> Sight:
        seen = self.look()
        self.log.log(seen.level, "%s", seen.state)
        return seen

    def _defer(self) -> None:
        self.defer(
            trigger=self.trigger_until(time.time() + self.timeout),
            method_name="execute_complete",
            # The trigger gives up by itself; this only catches a trigger that is lost.
            timeout=timedelta(seconds=self.timeout + LOST),
        )

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002 - Airflow's signature
        event: dict[str, Any],
    ) -> Any:  # noqa: ANN401
        """Go on after the trigger: it has found what was waited for, or waiting has no point."""
        status, state = event["status"], event["state"]
        self.log.info("%s", state)
        if status == "timeout":
            waited = timedelta(seconds=round(self.timeout))
            raise AirflowSensorTimeout(self.overdue(waited, state))
        if status == "refused":
            raise AirflowFailException(state)
        if status != "found":
            raise AirflowException(self.broken(state))
        return event["result"]


class LookingTrigger(BaseTrigger):
    """Look every `poke_interval` seconds, until `give_up_at` in Unix time.

    The event's `status` is `found` with a `result`, `timeout`, `refused`, or `error`; its `state`
    is one sentence about what was seen last.
    """

    def __init__(self, poke_interval: float, give_up_at: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poke_interval = poke_interval
        self.give_up_at = give_up_at

    @property
    def subject(self) -> dict[str, Any]:
        """Return the other arguments that make an equal trigger."""
        raise NotImplementedError

    async def look(self) -> Sight:
        """Look once, without holding up the triggerer's other waits."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name this class and the arguments that make an equal trigger."""
        times = {"poke_interval": self.poke_interval, "give_up_at": self.give_up_at}
        return f"{type(self).__module__}.{type(self).__qualname__}", self.subject | times

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the wait is over."""
        try:
            yield TriggerEvent(await self._watch())
        except AirflowFailException as error:
            yield TriggerEvent({"status": "refused", "state": str(error)})
        except Exception as error:
            yield TriggerEvent({"status": "error", "state": str(error)})

    async def _watch(self) -> dict[str, Any]:
        told = ""
        while True:
            seen = await self.look()
            if seen.result is not None:
                return {"status": "found", "state": seen.state, "result": seen.result}
            if seen.state != told:  # an hour's wait is not a hundred equal lines
                self.log.log(seen.level, "%s", seen.state)
            told = seen.state
            if time.time() >= self.give_up_at:
                return {"status": "timeout", "state": seen.state}
            await asyncio.sleep(self.poke_interval)
