"""Imports point one way, rooms keep their doors, and light things stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.stages import Stage

ROOT = Path(__file__).parents[2]
ML = ROOT / "ml"
FOREIGN = {"airflow", "kubernetes", "dags", "k8s", "charts"}
ALLOWED = {
    ML / "rollout/targets/kubernetes.py": {"kubernetes"},
    ML / "rollout/targets/lease.py": {"kubernetes"},
}
FILES = sorted(file for file in ML.rglob("*.py") if ML / "projects" not in file.parents)
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "serving": set(),
    "data": {"core", "serving"},
    "registry": {"core"},
    "training": {"core", "data", "registry", "serving"},
    "rollout": {"core", "registry", "serving", "training"},
    "scoring": {"core", "data", "serving"},
    "monitoring": {"core", "data", "registry", "serving", "training"},
}
"""Which rooms each room may import from; all may look at the table of verbs."""
ENTRANCE = {"__init__", "__main__", "cli", "pipeline", "stages"}


def imported(file: Path) -> set[str]:
    """Names of everything a file imports, at any depth in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names.add(str(node.module))
    return names


def room_of(file: Path) -> str:
    """The room a file is in, or the file's own name beside the rooms."""
    return file.relative_to(ML).parts[0].removesuffix(".py")


def doors(file: Path) -> Iterator[tuple[str, str]]:
    """Each (room, module) of ours that a file imports from another room than its own."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ml."):
            parts = str(node.module).split(".")[1:]
            for module in parts[1:2] or [alias.name for alias in node.names]:
                if parts[0] in ROOMS and parts[0] != room_of(file):
                    yield parts[0], module


def offered(room: str) -> set[str]:
    """What a room's `__all__` names."""
    for node in ast.parse((ML / room / "__init__.py").read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    raise AssertionError(f"ml/{room}/__init__.py has no __all__")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ML)))
def test_the_core_knows_neither_airflow_nor_kubernetes(file: Path) -> None:
    roots = {name.split(".")[0] for name in imported(file)}
    assert roots & FOREIGN <= ALLOWED.get(file, set())


def test_the_rooms_are_all_there_is() -> None:
    folders = {path.name for path in ML.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*ROOMS, "projects"}
    assert {path.stem for path in ML.glob("*.py")} == ENTRANCE


def test_no_arrow_points_back() -> None:
    """With the arrows that are allowed, the rooms can be put in a row."""
    left = dict(ROOMS)
    while left:
        free = {room for room, uses in left.items() if not uses & left.keys()}
        assert free, f"{sorted(left)} go round in a circle"
        left = {room: uses for room, uses in left.items() if room not in free}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_the_rooms_before_it(room: str) -> None:
    used = {other for file in (ML / room).rglob("*.py") for other, _ in doors(file)}
    assert used == ROOMS[room], "an arrow that nobody uses should not be allowed either"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_what_others_use_and_nothing_else(room: str) -> None:
    users = [*FILES, *(ROOT / "dags").rglob("*.py"), *(ROOT / "k8s").rglob("*.py")]
    inside = [file for file in users if ML / room in file.parents]
    used = {
        module
        for file in set(users) - set(inside)
        for other, module in (doors(file) if ML in file.parents else outside_doors(file))
        if other == room
    }
    assert used == offered(room)
    assert all((ML / room / f"{module}.py").is_file() for module in used)


def outside_doors(file: Path) -> Iterator[tuple[str, str]]:
    """As `doors`, for a file outside ml/."""
    for name in imported(file):
        parts = name.split(".")
        if parts[0] == "ml" and len(parts) > 2:
            yield parts[1], parts[2]


@pytest.mark.parametrize("room", ROOMS)
def test_the_door_of_a_room_only_tells(room: str) -> None:
    """One sentence and `__all__`: nothing runs when a module behind it is imported."""
    tree = ast.parse((ML / room / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert [type(node) for node in tree.body[1:]] in ([ast.Assign], [ast.AnnAssign])


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_imports_no_other_stage(stage: Stage) -> None:
    file = ML / stage.room / f"{stage}.py"
    others = {other.module for other in Stage if other is not stage}
    assert imported(file) & others == set()
    helpers = {name for name in imported(file) if name.startswith("ml.")}
    for name in helpers:
        path = ML.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if path.is_file():
            assert imported(path) & {other.module for other in Stage} == set(), name


def named(file: Path) -> Iterator[str]:
    """Classes and types that a file defines."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            yield from (name for name in names if name[0].isupper() and not name.isupper())


def test_no_name_is_given_twice() -> None:
    """Neither to two modules of the core, nor to two classes or types."""
    modules = Counter(file.stem for file in FILES if not file.stem.startswith("__"))
    assert [name for name, count in modules.items() if count > 1] == []
    classes = defaultdict(list)
    for file in FILES:
        for name in named(file):
            classes[name].append(str(file.relative_to(ML)))
    assert {name: files for name, files in classes.items() if len(files) > 1} == {}


def test_no_file_is_long() -> None:
    assert [str(file) for file in FILES if len(file.read_text().splitlines()) > 400] == []


@pytest.mark.parametrize("project", sorted((ML / "projects").glob("*/*.py")), ids=str)
def test_a_project_imports_nothing_of_ours(project: Path) -> None:
    assert not {name for name in imported(project) if name.split(".")[0] == "ml"}


def test_a_project_is_forty_lines_of_python_and_ten_of_yaml() -> None:
    assert len((ML / "projects/flights/model.py").read_text().splitlines()) <= 40
    assert len((ML / "projects/flights/project.yaml").read_text().splitlines()) <= 10


MONITORS = {"pandas", "mlflow", "sklearn", "pandera", "onnxruntime", "scipy", "jinja2"}
LIGHT = {
    "ml.core.project": {"polars", "numpy", "pandas", "obstore", "mlflow", "sklearn"},
    "ml.data.ingest": {
        "polars",
        "numpy",
        "pandas",
        "mlflow",
        "sklearn",
        "pandera",
        "onnxruntime",
    },
    "ml.data.build_features": {"pandas", "mlflow", "sklearn", "pandera", "onnxruntime", "scipy"},
    "ml.training.evaluate": {"pandas", "mlflow", "sklearn", "scipy"},
    "ml.registry.register": {"pandas", "mlflow", "sklearn", "polars", "numpy"},
    "ml.monitoring.monitor": MONITORS,
    "ml.monitoring.report": MONITORS,
    "ml.serving.manifest": {"polars", "numpy", "pandas", "mlflow", "sklearn", "obstore"},
    "ml.stages": {"pydantic", "yaml", "polars", "numpy"},
}


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    """A pod's start-up counts, and so does the time a DAG file takes to parse."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert LIGHT[module] & set(loaded) == set()
