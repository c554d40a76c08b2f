"""Who has lost the hold on a project changes nothing any more, at whatever step that happens."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ml.core.errors import StageError
from ml.rollout.give_back import give_back
from ml.rollout.roll_back import roll_back
from ml.rollout.target import Deployed, ReplacedError, Side
from ml.rollout.targets.local import LocalTarget
from tests.code.memory_registry import PROJECT
from tests.code.memory_target import Flaw, release
from tests.code.world import ANNA, World


@dataclass
class Loss:
    """The hold is lost right after the call number `at` to the place or the registry."""

    world: World
    at: int
    calls: int = 0
    seen: Any = field(default=None)

    def watched(self, owner: object) -> Any:  # noqa: ANN401 - stands in for a place or a registry
        """Return the owner, each of whose methods is counted."""
        return _Watched(owner, self)

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.world.target.replaced = True
            self.seen = self.state()

    def state(self) -> object:
        """All that a roll-out can change; that instances become ready goes on by itself."""
        target, models = self.world.target, self.world.aliases.models
        sides = {side: (one.version, one.wanted) for side, one in target.sides.items()}
        return copy.deepcopy((target.live, sides, models.aliases, models.tags))


class _Watched:
    def __init__(self, owner: object, loss: Loss) -> None:
        self._owner, self._loss = owner, loss

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._owner, name)

        def call(*given: object, **named: object) -> Any:  # noqa: ANN401
            result = method(*given, **named)
            self._loss.count()
            return result

        return call


def made(*, taken: str = "", flaw: Flaw | None = None) -> World:
    """Version 2 is champion, 1 the way back, whose side runs something else."""
    world = World()
    for version in ("1", "2"):
        world.roll_out(version)
    world.aliases.register("3", release("3").sha256)
    if taken:
        world.aliases.remarks[taken]["slipway.taken_back"] = "yesterday"
    world.target.sides[Side.BLUE] = Deployed()
    world.target.flaw = flaw or Flaw()
    return world


def _roll_out(world: World, loss: Loss) -> None:
    watched(world, loss).carry_out(release("3"))


def _roll_back(world: World, loss: Loss) -> None:
    roll_back(watched(world, loss), PROJECT, lambda past: release(past.version), ANNA)


def _give_back(world: World, loss: Loss) -> None:
    give_back(watched(world, loss), PROJECT, "1", ANNA)


def watched(world: World, loss: Loss) -> Any:  # noqa: ANN401
    machine = world.machine
    return replace(
        machine, target=loss.watched(machine.target), aliases=loss.watched(machine.aliases)
    )


CASES: dict[str, tuple[Callable[[World, Loss], None], dict[str, Any]]] = {
    "roll out": (_roll_out, {}),
    "roll out what fails": (_roll_out, {"flaw": Flaw(lies={"3"})}),
    "roll out what was taken back": (_roll_out, {"taken": "3"}),
    "roll back": (_roll_back, {}),
    "roll back to what fails": (_roll_back, {"flaw": Flaw(lies={"1"})}),
    "roll back where users do not follow": (_roll_back, {"flaw": Flaw(users_way_stuck=True)}),
    "give back": (_give_back, {"taken": "1"}),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_changed_after_the_hold_is_lost(case: str) -> None:
    act, given = CASES[case]
    at = 0
    while True:
        at += 1
        world = made(**given)
        loss = Loss(world, at)
        with suppress(StageError):
            act(world, loss)
        if loss.seen is None:
            break
        assert loss.state() == loss.seen, f"changed after call {at}"
    assert at > 5, "the sweep met too few calls to be one"


def test_the_one_who_was_replaced_says_so_and_may_be_tried_again() -> None:
    world = made()
    with pytest.raises(
        ReplacedError, match=r"version 3 .* was not rolled out here: the hold"
    ) as it:
        _roll_out(world, Loss(world, at=6))
    assert it.value.exit_code == 1
    assert world.aliases.remarks["3"].get("slipway.rollout") is None  # the other one sees to it


def test_a_lock_file_that_was_removed_is_a_lost_hold(tmp_path: Path) -> None:
    """Another process may lock the new one at that place at once."""
    target = LocalTarget(tmp_path)
    with target.hold(PROJECT) as insist:
        insist()
        (tmp_path / PROJECT / "lock").unlink()
        with pytest.raises(ReplacedError, match="lock was removed while"):
            insist()
        with target.hold(PROJECT) as other:
            other()
            with pytest.raises(ReplacedError):
                insist()
