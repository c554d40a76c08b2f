"""Every scenario of the chart's ci folder, rendered once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart.rendering import SCENARIOS, Object, PodSpec, pods, render

_RENDERED: dict[Path, list[Object]] = {}


def _scenario(file: Path) -> list[Object]:
    if file not in _RENDERED:
        _RENDERED[file] = render("--values", str(file))
    return _RENDERED[file]


@pytest.fixture(params=SCENARIOS, ids=lambda file: file.name.removesuffix("-values.yaml"))
def scenario(request: pytest.FixtureRequest) -> list[Object]:
    """The objects of one scenario after the other."""
    return _scenario(request.param)


@pytest.fixture
def scenario_pods(scenario: list[Object]) -> list[PodSpec]:
    """The pods of one scenario after the other, stage and serving pods included."""
    return pods(scenario)


@pytest.fixture
def laptop() -> list[Object]:
    """The objects that the defaults make."""
    return _scenario(SCENARIOS[0])
