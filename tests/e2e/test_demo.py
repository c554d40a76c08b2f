"""`make demo`: it ends with a prediction of the champion, and a second one changes nothing."""

from __future__ import annotations

import pytest

from tests.e2e.readme_demo import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.budget(1)]


def test_it_ends_with_a_prediction_of_the_champion(demo: Demo) -> None:
    assert demo.left.champion is not None
    assert '{"predictions":[' in demo.said
    assert f"champion is {demo.left.champion}" in demo.said
    assert "make ui" in demo.said


def test_a_second_one_changes_nothing(demo: Demo) -> None:
    """It upgrades the release with the same values: no pod restarts, no Secret changes."""
    assert len(demo.left.secrets) >= 14
    assert demo.left_by_second == demo.left
