"""A project's name becomes many things: the whole way, for each kind of name that is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from ml.core.errors import BadInputError
from ml.core.project import find_projects, read_project
from ml.data.landing import publish_partition
from ml.rollout.target import Side
from ml.rollout.targets.manifests import object_name
from tests.code import edge
from tests.code.workshop import AS_OF, MODEL, PROJECT_YAML, Workshop, parcels

# MLflow's own libraries are used in ways that they call outdated.
pytestmark = pytest.mark.filterwarnings("default")

NAMES = ["churn-model", "a--b_c", "x", "a" * 40]
DNS = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def project(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "project.yaml").write_text(PROJECT_YAML)
    (folder / name / "model.py").write_text(MODEL)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_way_from_landing_to_champion(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    edge.at(workshop, monkeypatch)
    project(workshop.folder / "projects", name)
    for back in range(8):
        day = AS_OF - timedelta(days=back)
        publish_partition(workshop.landing, name, day, {"parcels": parcels(day)})
    done = edge.ml("run", project=name)
    assert done.code == 0, done.error
    pinned = edge.ml("pin-champion", project=name)
    assert pinned.code == 0, pinned.error
    assert (workshop.folder / "local/serving" / name / "live").read_text() == "blue"


@pytest.mark.parametrize("name", NAMES)
def test_names_of_objects_are_dns_names(name: str) -> None:
    names = [object_name(name), *(object_name(name, side) for side in Side)]
    assert [one for one in names if not DNS.fullmatch(one)] == []


@pytest.mark.parametrize(("name", "rival"), [("a-b", "a_b"), ("a_b", "a-b"), ("a", "a-monitoring")])
def test_two_that_would_share_a_name_outside_are_refused(
    tmp_path: Path, name: str, rival: str
) -> None:
    """They would have one Service, or one MLflow experiment."""
    project(tmp_path, name)
    assert read_project(name, str(tmp_path)).name == name
    project(tmp_path, rival)
    assert {name, rival} <= set(find_projects(str(tmp_path)))
    for one in (name, rival):
        with pytest.raises(BadInputError, match="share a name outside") as told:
            read_project(one, str(tmp_path))
        assert f"'{name}'" in str(told.value)
        assert f"'{rival}'" in str(told.value)
