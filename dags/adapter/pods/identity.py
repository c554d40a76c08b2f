"""One stage of one run: the names, labels and variables by which everyone recognises it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date

_LABEL_LIMIT = 63
_NAME_LIMIT = 54  # leaves room for the suffix that makes a pod name unique


@dataclass(frozen=True)
class StageRun:
    """A stage of a project for one day, in one run of a DAG.

    `as_of` is the day, as YYYY-MM-DD, or `first/last` for a stage that is to do just those days.
    """

    project: str
    stage: str
    as_of: str
    dag_id: str
    task_id: str
    run_id: str
    # The verbs that its pod does, this stage's first; none when it is alone.
    chain: tuple[str, ...] = ()

    @property
    def pod_name(self) -> str:
        """Return the start of the pod's name, such as `flights-train-20130301`."""
        day = self.as_of.rpartition("/")[2].replace("-", "")
        name = f"{self.project}-{self.stage}-{day}"
        return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:_NAME_LIMIT].strip("-")

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of the pod, by which `kubectl get pods -l` finds it."""
        return {
            "app.kubernetes.io/name": "slipway",
            "app.kubernetes.io/component": "stage",
            "slipway.dev/dag": label_value(self.dag_id),
            "slipway.dev/task": label_value(self.task_id),
            "slipway.dev/run": label_value(self.run_id),
            "slipway.dev/project": label_value(self.project),
            "slipway.dev/stage": label_value(self.stage),
        }

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables through which the stage knows which run it belongs to."""
        return {
            "SLIPWAY_DAG_ID": self.dag_id,
            "SLIPWAY_TASK_ID": self.task_id,
            "SLIPWAY_AIRFLOW_RUN_ID": self.run_id,
        }

    def arguments(self, upstream_record: str | None) -> list[str]:
        """Return the arguments of `python -m ml` that start this stage."""
        verbs = ["chain", *self.chain] if len(self.chain) > 1 else [self.stage]
        first, _, last = self.as_of.rpartition("/")
        arguments = [*verbs, "--project", self.project, "--as-of", last]
        if first:
            days = date.fromisoformat(last) - date.fromisoformat(first)
            arguments += ["--days", str(days.days + 1)]
        return [*arguments, "--upstream", upstream_record] if upstream_record else arguments


def label_value(text: str) -> str:
    """Return `text` as a valid label value; a hash keeps values apart that had to be changed."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    if safe == text and len(safe) <= _LABEL_LIMIT:
        return safe
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{safe[: _LABEL_LIMIT - len(digest) - 1]}-{digest}".lstrip("-")
