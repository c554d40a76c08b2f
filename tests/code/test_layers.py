"""Imports point one way, and light things stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ML = Path(__file__).parents[2] / "ml"
FOREIGN = {"airflow", "kubernetes", "dags", "k8s", "charts"}
ALLOWED = {ML / "targets/kubernetes.py": {"kubernetes"}, ML / "targets/lease.py": {"kubernetes"}}
FILES = sorted(file for file in ML.rglob("*.py") if ML / "projects" not in file.parents)


def imported(file: Path) -> set[str]:
    """Top-level names of everything a file imports, at any depth in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ML)))
def test_the_core_knows_neither_airflow_nor_kubernetes(file: Path) -> None:
    roots = {name.split(".")[0] for name in imported(file)}
    assert roots & FOREIGN <= ALLOWED.get(file, set())


@pytest.mark.parametrize("project", sorted((ML / "projects").glob("*/*.py")), ids=str)
def test_a_project_imports_nothing_of_ours(project: Path) -> None:
    assert not {name for name in imported(project) if name.split(".")[0] == "ml"}


def test_a_project_is_forty_lines_of_python_and_ten_of_yaml() -> None:
    assert len((ML / "projects/flights/model.py").read_text().splitlines()) <= 40
    assert len((ML / "projects/flights/project.yaml").read_text().splitlines()) <= 10


LIGHT = {
    "ml.project": {"polars", "numpy", "pandas", "obstore", "mlflow", "sklearn"},
    "ml.ingest": {"polars", "numpy", "pandas", "mlflow", "sklearn", "pandera", "onnxruntime"},
    "ml.build_features": {"pandas", "mlflow", "sklearn", "pandera", "onnxruntime", "scipy"},
    "ml.evaluate": {"pandas", "mlflow", "sklearn", "scipy"},
    "ml.register": {"pandas", "mlflow", "sklearn", "polars", "numpy"},
    "ml.monitor": {"pandas", "mlflow", "sklearn", "pandera", "onnxruntime", "scipy", "jinja2"},
    "ml.report": {"pandas", "mlflow", "sklearn", "pandera", "onnxruntime", "scipy", "jinja2"},
    "ml.artifact": {"polars", "numpy", "pandas", "mlflow", "sklearn", "obstore"},
}


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    """A pod's start-up counts, and so does the time a DAG file takes to parse."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ML.parent
    ).stdout.split()
    assert LIGHT[module] & set(loaded) == set()
