"""Stop without failing a request: say so first, go on answering, then close."""

from __future__ import annotations

import time
from types import FrameType

import uvicorn


class Drain:
    """Whether the order to stop has come, and how long ago."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: float | None = None

    @property
    def begun(self) -> bool:
        """Whether this process is about to stop and wants no new callers."""
        return self._began is not None

    @property
    def over(self) -> bool:
        """Whether callers have had their time to go elsewhere."""
        return self._began is not None and time.monotonic() - self._began >= self._seconds

    def begin(self) -> None:
        """Take the order to stop."""
        self._began = self._began or time.monotonic()


class DrainingServer(uvicorn.Server):
    """Answers on for the length of the drain after SIGTERM; a second signal stops at once."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; asked again, do what uvicorn does."""
        if self._drain.begun:
            super().handle_exit(sig, frame)
        self._drain.begin()

    async def on_tick(self, counter: int) -> bool:
        """Leave the main loop when the drain is over (asked ten times a second)."""
        self.should_exit = self.should_exit or self._drain.over
        return await super().on_tick(counter)
