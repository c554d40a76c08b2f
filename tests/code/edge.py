"""The command line in this process: as a person meets it, without the start of a new one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from ml.cli import app
from tests.code.workshop import AS_OF, PROJECT, Workshop


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said to the person."""

    code: int
    error: str

    def insist(self, code: int, *words: str) -> None:
        """One sentence, the code that was asked for, and the words in it."""
        assert self.code == code, self.error
        assert self.error.startswith("error: ")
        assert self.error.count("\n") == 1, f"more than one sentence: {self.error}"
        assert "Traceback" not in self.error
        # MLflow has that word in sentences of its own.
        assert not self.error.startswith("error: unexpected")
        assert [word for word in words if word not in self.error] == [], self.error


def at(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a workshop the place where the commands of this process work."""
    for name in [name for name in os.environ if name.startswith(("SLIPWAY_", "MLFLOW_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(workshop.folder)
    monkeypatch.setenv("SLIPWAY_PROJECTS_PATH", str(workshop.folder / "projects"))
    # Whole, as MLflow keeps what it has opened by its address, and this process changes folders.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workshop.folder}/local/mlflow.db")
    monkeypatch.setenv("SLIPWAY_RESULT_PATH", str(workshop.folder / "result.json"))


def ml(verb: str, *options: str, project: str = PROJECT, as_of: object = AS_OF) -> Said:
    """Run a verb for a day, where `at` has led."""
    return command(verb, "-p", project, "--as-of", str(as_of), *options)


def command(*words: str) -> Said:
    """Run any command."""
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stderr)
