"""Runs a stage as a process beside Airflow: for `airflow dags test`, without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, BaseXCom, Context

from adapter.pods.fuse import chain_of, key_of, left_for, preflight
from adapter.pods.identity import StageRun
from adapter.pods.outcome import conclude, skip_refused
from adapter.pods.results import StageEnd, apart
from adapter.pods.stage_links import links_of
from adapter.schedule.features import announce
from ml.stages import Stage

_LAST_LINES = 20


class LocalStageOperator(BaseOperator):
    """One stage in one process: the same arguments, result and failures as in a pod."""

    template_fields = ("project", "as_of", "upstream_record")
    ui_color = "#d7e8d0"

    COMMAND = (sys.executable, "-m", "ml")

    def __init__(
        self,
        *,
        stage: Stage,
        project: str,
        as_of: str,
        upstream_record: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"execution_timeout": stage.timeout, **kwargs})
        self.stage = stage
        self.operator_extra_links = links_of(stage)
        self.project = project
        self.as_of = as_of
        self.upstream_record = upstream_record

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the stage to its end and return its result; a stage that is done is not run."""
        left = left_for(self, context)
        if left:
            self.log.info("%s was done together with the stage before", self.stage)
            return self._told(context, left)
        preflight(self.stage, self.upstream_record)
        run = StageRun(
            project=self.project,
            stage=str(self.stage),
            as_of=self.as_of,
            dag_id=self.dag_id,
            task_id=self.task_id,
            run_id=context["run_id"],
            chain=tuple(map(str, chain_of(self))),
        )
        ending, others = apart(self.stage, self._ending_of(run))
        for verb, result in others.items():
            context["ti"].xcom_push(key=key_of(verb), value=result)
        return self._told(context, conclude(self.stage, ending, self.log))

    def _told(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        announce(self.outlets, context, self.project, self.as_of, result)
        # Before what may end the task, as what is returned after that would reach nobody.
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=result)
        skip_refused(self.stage, result)
        return result

    def _ending_of(self, run: StageRun) -> StageEnd:
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "result.json")
            env = {**os.environ, **run.environment, "SLIPWAY_RESULT_PATH": str(result)}
            with _process([*self.COMMAND, *run.arguments(self.upstream_record)], env) as process:
                last = self._log_of(process)
            message = result.read_text() if result.exists() else ""
        failed = process.returncode != 0
        return StageEnd(process.returncode, message or ("".join(last) if failed else ""))

    def _log_of(self, process: subprocess.Popen[str]) -> list[str]:
        """Copy the process's output into the task's log; return its last lines."""
        lines: list[str] = []
        for line in process.stdout or ():
            self.log.info("%s", line.rstrip("\n"))
            lines = [*lines, line][-_LAST_LINES:]
        return lines


@contextmanager
def _process(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process that does not outlive its task, however that ends."""
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
