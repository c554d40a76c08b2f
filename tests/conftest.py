"""What the tests on the cluster share: a release in which the demo has been run, and a client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8s.access import Airflow
from tests.budget import budget, of_test
from tests.e2e.connections import airflow
from tests.e2e.forget import forget_projects
from tests.e2e.preparation import prepare
from tests.e2e.readme_demo import Demo, run_demo_twice
from tests.e2e.release import projects
from tests.e2e.scenes import Scenes, asked_for

pytest_plugins = ["tests.timing"]


# Until these files say it themselves.
BUDGETS = {"tests/dags/test_stage_pods.py": 15, "tests/images/test_images.py": 15}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those be first that look at a release with a user's values: `client` changes some."""
    for item in items:
        if (seconds := BUDGETS.get(item.nodeid.partition("::")[0])) and of_test(item) is None:
            item.add_marker(pytest.mark.budget(seconds))
    items.sort(key=lambda item: not needs_the_demo_alone(item))


def needs_the_demo_alone(item: pytest.Item) -> bool:
    """Tell whether a test looks at the release as the demo left it."""
    names = getattr(item, "fixturenames", ())
    return "demo" in names and "client" not in names


@pytest.fixture(scope="session")
@budget(120)
def demo() -> Demo:
    """A release in which the demo has been run; every test on a cluster stands on what it left.

    What an earlier run of the tests left of their projects is removed: each begins as on a new one.
    """
    done = run_demo_twice()
    forget_projects(projects())
    return done


@pytest.fixture(scope="session")
@budget(90)
def client(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Airflow:  # noqa: ARG001
    """The release's Airflow, after the demo, once the tests' projects and values are there."""
    prepare(tmp_path_factory.mktemp("values"))
    return airflow()


@pytest.fixture(scope="session")
@budget(5)
def scenes(client: Airflow, request: pytest.FixtureRequest) -> Iterator[Scenes]:
    """The scenes that the selected tests ask for, being played."""
    scenes = Scenes(client, asked_for(request.session.items))
    yield scenes
    scenes.close()
