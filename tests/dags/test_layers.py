"""The rooms of `dags/`: which may import which, by which doors, and that no name means two things.

A room is a folder with an `__init__.py`; a module that stands beside the rooms is one of its own.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.dags.conftest import DAGS, REPO

PLUGINS = DAGS / "plugins"
# Whom each room may import, besides itself and what is installed. What is not here does not exist.
MAY_IMPORT: dict[str, set[str]] = {
    # Below all: they know nothing of Slipway's stages, so any DAG can use them.
    "waiting": set(),
    "slipway_mlflow": {"waiting"},
    "notifications": {"slipway_mlflow"},
    # The names by which users' DAGs, and Airflow's own plugin loader, know those.
    "custom_sensors": {"slipway_mlflow", "waiting"},
    "custom_timetables": set(),
    "mlflow_operator": {"slipway_mlflow"},
    "notify": {"notifications"},
    "preload": set(),
    # The adapter, from the ground up.
    "adapter.bundle": set(),
    "adapter.environment": {"slipway_mlflow"},
    "adapter.news": set(),
    "adapter.deadlines": {"adapter.environment", "adapter.schedule", "ml", "notifications"},
    "adapter.schedule": {"custom_timetables", "ml", "waiting"},
    "adapter.pods": {"adapter.schedule", "ml", "slipway_mlflow"},
    "adapter.pod_trigger": {"adapter.pods"},
    "adapter.gate": {"adapter.environment", "adapter.schedule", "slipway_mlflow"},
    "adapter.graph": {
        "adapter.environment",
        "adapter.pods",
        "adapter.schedule",
        "ml",
        "waiting",
    },
    # The DAG files: what the work is, and how it is done, they need not know.
    "a DAG": {
        "adapter.deadlines",
        "adapter.gate",
        "adapter.graph",
        "adapter.news",
        "adapter.schedule",
    },
}
FILES = sorted(DAGS.rglob("*.py"))


def path_of(file: Path) -> tuple[str, ...]:
    """Return the dotted path of a file, as Python finds it, in parts."""
    base = PLUGINS if PLUGINS in file.parents else DAGS
    return tuple(part for part in file.relative_to(base).with_suffix("").parts if part[:2] != "__")


def room_of(path: tuple[str, ...]) -> str:
    """Return the room of a module, or of a name within one; empty for what is not ours."""
    for length in (1, 2):
        if ".".join(path[:length]) in MAY_IMPORT:
            return ".".join(path[:length])
    return "ml" if path[0] == "ml" else ""


def home_of(file: Path) -> str:
    """Return the room that a file is in."""
    return "a DAG" if file.parent == DAGS else room_of(path_of(file))


def imports_of(file: Path) -> Iterator[tuple[str, ...]]:
    """Yield the path of everything that a file imports, at any depth in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by dots: write the whole path"
            yield from ((*str(node.module).split("."), alias.name) for alias in node.names)


@cache
def doors_of(room: str) -> frozenset[str] | None:
    """Return what a room's `__all__` names; None when it is a single module."""
    for base in (DAGS, PLUGINS):
        init = base.joinpath(*room.split("."), "__init__.py")
        if init.is_file():
            return frozenset(ast.literal_eval(assigned(init)["__all__"]))
    return None


def assigned(file: Path) -> dict[str, ast.expr]:
    """Return what a module assigns, by name."""
    body = ast.parse(file.read_text()).body
    pairs = [(node.targets[0], node.value) for node in body if isinstance(node, ast.Assign)]
    return {target.id: value for target, value in pairs if isinstance(target, ast.Name)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DAGS)))
def test_imports_go_where_they_may_and_through_the_door(file: Path) -> None:
    home = home_of(file)
    if path_of(file) == ("adapter",):
        assert list(imports_of(file)) == []
        return
    assert home, f"{file} is in no room that this test knows"
    for path in imports_of(file):
        room = room_of(path)
        if room in ("", home):
            continue
        assert room in MAY_IMPORT[home], f"{home} may not import {'.'.join(path)}"
        doors = None if room == "ml" else doors_of(room)
        inside = "".join(path[len(room.split(".")) :][:1])
        assert doors is None or inside in doors, f"{inside} is no door of {room}"


def test_rooms_import_one_way() -> None:
    """Raises graphlib.CycleError when they do not."""
    order = list(TopologicalSorter(MAY_IMPORT).static_order())
    assert set(order) == {*MAY_IMPORT, "ml"}


def test_each_room_exists() -> None:
    assert {home_of(file) for file in FILES} - {""} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(name for name in MAY_IMPORT if doors_of(name)))
def test_a_rooms_door_is_a_sentence_and_names_of_modules(room: str) -> None:
    """Reading it costs nothing, whoever passes through."""
    base = DAGS if room.startswith("adapter") else PLUGINS
    folder = base.joinpath(*room.split("."))
    init = folder / "__init__.py"
    docstring, *rest = ast.parse(init.read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert len(rest) == 1
    modules = {file.stem for file in folder.glob("*.py")}
    assert set(ast.literal_eval(assigned(init)["__all__"])) <= modules


@pytest.mark.parametrize("name", ["custom_sensors", "mlflow_operator"])
def test_what_users_import_from_holds_nothing_itself(name: str) -> None:
    assert only_hands_on(PLUGINS / f"{name}.py")


def only_hands_on(file: Path) -> bool:
    """Return whether a module has nothing in it but what it imports, and `__all__`."""
    body = ast.parse(file.read_text()).body[1:]
    kept = [node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    return len(kept) == 1 and "__all__" in assigned(file)


def test_no_file_is_long() -> None:
    assert [file for file in FILES if len(file.read_text().splitlines()) > 400] == []


def named() -> Iterator[tuple[str, Path]]:
    """Yield every name of a module, a folder or a class, and where it is."""
    for top in ("ml", "dags", "k8s", "charts"):
        for file in (REPO / top).rglob("*.py"):
            if file.name == "__init__.py":
                yield file.parent.name, file.parent
            elif file.name != "__main__.py" and not only_hands_on(file):
                yield file.stem, file
            nodes = ast.walk(ast.parse(file.read_text()))
            yield from ((node.name, file) for node in nodes if isinstance(node, ast.ClassDef))


def test_no_name_means_two_things() -> None:
    """Neither in here, nor one thing here and another in the work, the chart or the cluster."""
    places: dict[str, set[Path]] = defaultdict(set)
    for name, place in named():
        places[name].add(place)
    doubles = {name: found for name, found in places.items() if len(found) > 1}
    ours = {name: sorted(map(str, found)) for name, found in doubles.items() if any_of_dags(found)}
    assert ours == {}


def any_of_dags(places: set[Path]) -> bool:
    """Return whether one of these is in `dags/`."""
    return any(DAGS in place.parents for place in places)
