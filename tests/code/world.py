"""A project in memory: a place that serves it, a registry that names its versions, a clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from ml.core.errors import RolloutRefusedError
from ml.core.record import Status
from ml.rollout.give_back import give_back
from ml.rollout.history import Word
from ml.rollout.machine import Ended, Patience, RollOut
from ml.rollout.roll_back import roll_back
from tests.code.memory_registry import PROJECT, MemoryAliases
from tests.code.memory_target import MemoryTarget, release

ANNA = Word("anna", "the scores drift")


@dataclass
class World:
    """Nothing is served at first, and the clock is ours."""

    target: MemoryTarget = field(default_factory=MemoryTarget)
    aliases: MemoryAliases = field(default_factory=MemoryAliases)
    said: list[str] = field(default_factory=list)
    now: float = 0.0

    def attempt(self, version: str, compared_with: str | None = None) -> Ended:
        """Roll a version out that was compared with another; "" is no other, None is no gate."""
        made = release(version)
        self.aliases.register(version, made.sha256)
        rival = release(compared_with).sha256 if compared_with else compared_with
        return self.machine.carry_out(replace(made, rival=rival))

    def roll_out(self, version: str, compared_with: str | None = None) -> Status:
        return self.attempt(version, compared_with).status

    def refused(self, version: str) -> str:
        with pytest.raises(RolloutRefusedError) as caught:
            self.roll_out(version)
        return str(caught.value)

    def roll_back(self, word: Word = ANNA) -> str:
        """Return the version that users get."""
        return roll_back(self.machine, PROJECT, lambda past: release(past.version), word).version

    def give_back(self, version: str) -> None:
        give_back(self.machine, PROJECT, version, Word("ben", "it was the data"))

    @property
    def machine(self) -> RollOut:
        return RollOut(
            self.target,
            self.aliases,
            Patience(ready=30, users_way=5, pause=0.5),
            say=self.said.append,
            clock=self._tick,
            sleep=self._sleep,
        )

    def _tick(self) -> float:
        self.now += 0.1
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
