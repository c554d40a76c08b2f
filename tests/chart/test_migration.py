"""A migration is marked once it is done, and not before; what waits for it goes on then.

The script runs beside a driver and a component of the test's own, as it does in a pod's folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.rendering import CHART

# A database that takes notes: `log` has what was done to it, marks included.
DRIVER = """
from pathlib import Path

class Connection:
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def close(self): note("answers")
    def cursor(self): return self
    def execute(self, statement, values=()):
        self.asked = statement
        if "INSERT" in statement:
            note(f"mark {values[0]}")
        if statement.startswith("SELECT 1"):
            self.values = values
    def fetchone(self):
        marked = Path("log").read_text() if Path("log").exists() else ""
        if "to_regclass" in self.asked:
            return ("slipway_migration",) if "mark" in marked else (None,)
        return (1,) if f"mark {self.values[0]}" in marked.splitlines() else None

def note(what):
    with Path("log").open("a") as log:
        print(what, file=log)

def connect(where, connect_timeout=0):
    return Connection()
"""
COMPONENT = """
import os
from psycopg2 import note

def migrate():
    note("migrate")
    if "BREAKS_OFF" in os.environ:
        raise SystemExit("error: no")

def settle():
    note("settle")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CHART / "files/migration.py", tmp_path)
    (tmp_path / "psycopg2.py").write_text(DRIVER)
    (tmp_path / "migrate.py").write_text(COMPONENT)
    return tmp_path


def script(folder: Path, verb: str, **how: str) -> subprocess.Popen[bytes]:
    env = os.environ | {"SLIPWAY_MIGRATION": "abc", "PGHOST": "db", "PGDATABASE": "one"} | how
    command = [sys.executable, "-B", str(folder / "migration.py"), verb]
    with (folder / f"{verb}.txt").open("w") as printed:
        return subprocess.Popen(command, cwd=folder, env=env, stdout=printed)


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_mark_comes_after_the_migration_and_before_what_nobody_waits_for(folder: Path) -> None:
    assert script(folder, "run").wait(30) == 0
    assert log(folder) == ["answers", "migrate", "mark abc", "settle"]


def test_migration_that_fails_leaves_no_mark(folder: Path) -> None:
    assert script(folder, "run", BREAKS_OFF="1").wait(30) != 0
    assert log(folder) == ["answers", "migrate"]


def test_waiting_ends_with_the_mark_of_that_migration_alone(folder: Path) -> None:
    assert script(folder, "run", SLIPWAY_MIGRATION="older").wait(30) == 0
    waiting = script(folder, "wait")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(2)
    assert script(folder, "run").wait(30) == 0
    assert waiting.wait(30) == 0
    assert "migration abc of db/one: there" in (folder / "wait.txt").read_text()
