"""How long a test on the cluster may take: it says so itself, and fails at more than twice that.

`@pytest.mark.budget(90)` on a test, or as a module's `pytestmark`, is for the test and the fixtures
made for it alone. Fixtures that tests share say it for themselves:

    @pytest.fixture(scope="module")
    @budget(40)
    def release() -> ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

PATIENCE = 2
"""How many times its budget a test may take: a machine is busier one day than another."""
DECLARED = "_budget_s"
Function = TypeVar("Function", bound=Callable[..., object])


def budget(seconds: float) -> Callable[[Function], Function]:
    """Declare what making and unmaking a shared fixture may take."""

    def declare(function: Function) -> Function:
        setattr(function, DECLARED, seconds)
        return function

    return declare


def of_test(item: pytest.Item) -> float | None:
    """Return the seconds that a test, or the module it is in, declares."""
    marker = item.get_closest_marker("budget")
    return float(marker.args[0]) if marker else None


def of_fixture(fixture: pytest.FixtureDef[Any]) -> float | None:
    """Return the seconds that a fixture declares."""
    seconds: float | None = getattr(fixture.func, DECLARED, None)
    return seconds


def overrun(name: str, budget_s: float | None, seconds: float) -> str | None:
    """Say by how much something took too long; None when it did not, or may take any time."""
    if budget_s is None or seconds <= PATIENCE * budget_s:
        return None
    return f"{name} took {seconds:.1f} s, more than {PATIENCE} times its budget of {budget_s:g} s"


def undeclared(item: pytest.Item) -> Iterator[str]:
    """Yield the test, and the shared fixtures of ours that it uses, when they declare no budget."""
    if of_test(item) is None:
        yield item.nodeid
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():  # type: ignore[attr-defined]
        used = definitions[-1]
        if is_shared(used) and used.baseid and of_fixture(used) is None:
            yield f"fixture {name} ({used.baseid})"


def is_shared(fixture: pytest.FixtureDef[Any]) -> bool:
    """Tell whether a fixture is made for more than one test."""
    return fixture.scope != "function"
