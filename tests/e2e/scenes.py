"""What goes on in the release while tests look at other things: runs mostly wait.

    @scene(90)
    def refused(client: Airflow) -> Refused: ...

makes a fixture `refused` for the session, with a budget. All scenes that the selected tests ask for
are played at the same time, from the first test that needs one on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from k8s.access import Airflow
from tests.budget import budget

Scene = Callable[[Airflow], object]
SCENES: dict[str, Scene] = {}


class Scenes:
    """Scenes being played, each in a thread of its own."""

    def __init__(self, client: Airflow, names: Iterable[str]) -> None:
        scenes = {name: SCENES[name] for name in sorted(names)}
        self._pool = ThreadPoolExecutor(len(scenes) or 1)
        self._played: dict[str, Future[object]] = {
            name: self._pool.submit(scene, client) for name, scene in scenes.items()
        }

    def outcome(self, name: str) -> object:
        """Wait for the end of a scene; return what it returned, raise what it raised."""
        return self._played[name].result()

    def over(self) -> None:
        """Wait until none is played any more."""
        wait(self._played.values())

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(cancel_futures=True)


def scene(seconds: float) -> Callable[[Scene], Any]:
    """Make a scene of a function, with a budget for waiting for it alone."""

    def declare(play: Scene) -> Any:  # noqa: ANN401 - a fixture is what pytest makes of it
        name = play.__name__
        SCENES[name] = play

        @pytest.fixture(scope="session", name=name)
        @budget(seconds)
        def fixture(scenes: Scenes) -> object:
            return scenes.outcome(name)

        return fixture

    return declare


def asked_for(items: Iterable[pytest.Item]) -> set[str]:
    """Return the scenes that tests ask for."""
    return {name for item in items for name in getattr(item, "fixturenames", ()) if name in SCENES}
