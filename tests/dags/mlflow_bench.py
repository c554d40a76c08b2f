"""A server for the MLflow plugins, and what a training leaves on it; imported as fixtures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import pytest
from mlflow_operator import MlflowPromoteOperator, MlflowRegisterVersionOperator
from slipway_mlflow.api import find_alias
from slipway_mlflow.hook import MlflowHook

from tests.mlflow_server import STAGES, connect, mlflow_server

MODELS = (f"model{number}" for number in count())


@dataclass
class MlflowBench:
    """A server, and what a training leaves on it."""

    url: str
    model: str = field(default_factory=lambda: next(MODELS))
    experiment: str = ""

    def call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        where = {"params": content} if method == "GET" else {"json": content}
        url = f"{self.url}/api/2.0/mlflow/{path}"
        answer = httpx.request(method, url, auth=STAGES, timeout=60, **where)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def run(self, **metrics: float) -> str:
        """Make a run with metrics, and return its id."""
        if not self.experiment:
            made = self.call("POST", "experiments/create", name=self.model)
            self.experiment = made["experiment_id"]
        run = self.call("POST", "runs/create", experiment_id=self.experiment, start_time=1)["run"]
        run_id = str(run["info"]["run_id"])
        for key, value in metrics.items():
            self.measure(run_id, key, value)
        return run_id

    def measure(self, run_id: str, key: str, value: float) -> None:
        now = int(time.time() * 1000)
        # JSON knows no NaN; MLflow takes and gives its name.
        number = "NaN" if math.isnan(value) else value
        self.call("POST", "runs/log-metric", run_id=run_id, key=key, value=number, timestamp=now)

    def source(self, run_id: str) -> str:
        """Return the address of a run's model."""
        return f"mlflow-artifacts:/{self.experiment}/{run_id}/artifacts/model"

    def version(self, **metrics: float) -> str:
        """Train and register, and return the version."""
        run_id = self.run(**metrics)
        return str(self.register(run_id).execute({})["version"])

    def register(self, run_id: str, **kwargs: Any) -> MlflowRegisterVersionOperator:
        source = self.source(run_id)
        return MlflowRegisterVersionOperator(
            task_id="register", model=self.model, source=source, run_id=run_id, **kwargs
        )

    def promote(self, version: str, **kwargs: Any) -> MlflowPromoteOperator:
        return MlflowPromoteOperator(
            task_id="promote", model=self.model, version=version, metric="auc", **kwargs
        )

    def alias(self, name: str) -> str | None:
        return MlflowHook().ask(find_alias(self.model, name))

    def name(self, alias: str, version: str) -> None:
        self.call("POST", "registered-models/alias", name=self.model, alias=alias, version=version)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def bench(server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowBench:
    connect(monkeypatch, server)
    return MlflowBench(server)
