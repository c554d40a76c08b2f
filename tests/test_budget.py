"""A test on the cluster says how long it may take, and fails when it takes more than twice that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.budget import overrun
from tests.timing import Took, by_file, single

REPO = Path(__file__).parents[1]
MARKERS = "e2e: on the cluster\nbudget(seconds): may take"
TESTS = """
import time, pytest
from tests.budget import budget

def test_without_cluster():
    time.sleep(0.3)

@pytest.mark.e2e
@pytest.mark.budget(0.1)
def test_slow():
    time.sleep(0.3)

@pytest.fixture
def slow():
    yield
    time.sleep(0.3)

@pytest.mark.e2e
@pytest.mark.budget(0.1)
def test_slow_fixture(slow): pass

@pytest.fixture(scope="module")
@budget(1)
def shared():
    time.sleep(0.3)

@pytest.mark.e2e
@pytest.mark.budget(0.1)
def test_shared(shared): pass

@pytest.fixture(scope="module")
@budget(0.1)
def slow_and_shared():
    time.sleep(0.3)

@pytest.mark.e2e
@pytest.mark.budget(0.1)
def test_slow_and_shared(slow_and_shared): pass
"""
SILENT = """
import pytest

@pytest.fixture(scope="module")
def shared(): pass

@pytest.mark.e2e
@pytest.mark.budget(1)
def test_one(shared): pass

@pytest.mark.e2e
def test_other(): pass
"""


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run a file of tests of its own, with the plugin that our tests have."""
    (folder / "test_it.py").write_text(tests)
    plugins = ["-p", "no:cacheprovider", "-p", "tests.timing"]
    pytest_itself = [sys.executable, "-m", "pytest", "-qrA", *plugins]
    return subprocess.run(
        [*pytest_itself, "-c", "/dev/null", "-o", f"markers={MARKERS}", "test_it.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_twice_the_budget_is_the_end() -> None:
    assert overrun("it", 10, 20.0) is None
    assert overrun("it", None, 1e6) is None
    assert overrun("it", 10, 20.1) == "it took 20.1 s, more than 2 times its budget of 10 s"


def test_what_takes_too_long_fails_and_nothing_else(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS)
    assert done.returncode == 1, done.stdout
    failed = {line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith("ERROR ")}
    slow = ("test_slow", "test_slow_fixture", "test_slow_and_shared")
    assert failed == {f"test_it.py::{name}" for name in slow}
    assert "fixture slow_and_shared made took 0.3 s, more than 2 times its budget" in done.stdout


def test_without_a_budget_nothing_is_run(tmp_path: Path) -> None:
    done = run(tmp_path, SILENT)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "declare no budget" in done.stderr
    assert "fixture shared (test_it.py)" in done.stderr
    assert "test_it.py::test_other" in done.stderr
    assert "test_one" not in done.stderr


def test_the_table_adds_up_by_file_and_counts_nothing_twice() -> None:
    rows = [
        Took("a.py", "test_long", False, True, 30, 9.0, 2.0, 12.0),
        Took("a.py", "fixture one made", True, True, None, 6.0, 1.0, 7.0),
        Took("a.py", "fixture shared made", False, True, 20, 1.0, 0.5, 1.0),
        Took("a.py", "fixture shared unmade", False, True, 20, 1.0, 0.5, 1.0),
        Took("b.py", "test_short", False, False, None, 4.0, 4.0, 8.0),
    ]
    assert by_file(rows)[2:] == [
        "| a.py |  | 11.0 | 50 | 3.0 | 14 |  |",
        "| b.py |  | 4.0 | 0 | 4.0 | 8 |  |",
        "| in all |  | 15.0 | 50 | 7.0 | 22 |  |",
    ]
    assert single(rows, {"a.py::test_long"})[2:] == [
        "| a.py | test_long | 9.0 | 30 | 2.0 | 12 | failed |",
        "| a.py | fixture one made | 6.0 | 0 | 1.0 | 7 |  |",
    ]
