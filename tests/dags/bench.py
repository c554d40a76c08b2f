"""The training pipeline in local mode, whose stages take no time and do as they are told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter.pods.identity import StageRun
from adapter.pods.local_stage import LocalStageOperator
from adapter.pods.results import StageEnd
from airflow.sdk import DAG

from tests.dags import canned_stage
from tests.dags.conftest import load_dag, run_here

DAG_ID = "ml_training_pipeline"
DAY = datetime(2013, 3, 4, tzinfo=UTC)


def end_of(run: StageRun, told: Mapping[str, str], record: str | None = None) -> StageEnd:
    """Do as a stage's process would, in this one: starting Python takes longer than a run."""
    verb, *arguments = run.arguments(record)
    code, result = canned_stage.main(verb, arguments, dict(told))
    return StageEnd(code, json.dumps(result))


@dataclass
class Bench:
    """The DAG, and what became of its last run."""

    dag: DAG
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def tell(self, **variables: str) -> None:
        """Set variables that the canned stages read."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name.upper(), value)

    def run(self, conf: dict[str, Any] | None = None) -> tuple[str, dict[str, str]]:
        """Run the DAG; return the state of the run, and of each task."""
        for task in self.dag.tasks:
            task.retry_delay = timedelta(milliseconds=10)
        run = run_here(self.dag, logical_date=DAY, run_conf=conf)
        states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
        return str(run.state), states

    def land_instead(self, day: str) -> None:
        """Let the data of another day be there, and not of this."""
        landing = self.folder / "landing/flights"
        (landing / f"dt={DAY:%Y-%m-%d}").rename(landing / f"dt={day}")

    @property
    def lines(self) -> list[str]:
        """Return the stages that were run, with their arguments."""
        return (self.folder / "calls").read_text().splitlines()

    @property
    def calls(self) -> list[str]:
        """Return the stages that were run, in order."""
        return [line.split()[0] for line in self.lines]

    @property
    def started(self) -> list[str]:
        """Return what each process was started for."""
        return (self.folder / "calls.started").read_text().splitlines()

    def end_of(self, operator: LocalStageOperator, run: StageRun) -> StageEnd:
        """Take the place of the operator's process."""
        with (self.folder / "calls.started").open("a") as started:
            started.write(f"{run.arguments(None)[0]}\n")
        return end_of(run, os.environ, operator.upstream_record)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: None) -> Bench:  # noqa: ARG001
    landed = tmp_path / f"landing/flights/dt={DAY:%Y-%m-%d}/manifest.json"
    landed.parent.mkdir(parents=True)
    landed.write_text("{}")
    (tmp_path / "calls").touch()
    monkeypatch.setenv("SLIPWAY_STAGES", "local")
    monkeypatch.setenv("SLIPWAY_LANDING_URL", str(tmp_path / "landing"))
    made = Bench(load_dag(DAG_ID), tmp_path, monkeypatch)
    monkeypatch.setattr(LocalStageOperator, "_ending_of", lambda *given: made.end_of(*given))
    made.tell(calls=str(tmp_path / "calls"), decision="deploy", fault_code="3")
    return made
