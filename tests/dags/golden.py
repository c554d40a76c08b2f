"""Renders the pod of every stage, from the chart's templates through the adapter.

    python -m tests.dags.golden        write what the tests compare with, to read as a diff

The chart must be installed as a folder and `helm` be on PATH.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import yaml

from tests.dags.conftest import REPO

if TYPE_CHECKING:
    from adapter.pods.pod_stage import StagePodOperator
    from airflow.sdk import Context

    from ml.stages import Stage

GOLDEN = Path(__file__).parent / "golden"
DAG_ID = "ml_training_pipeline"
RUN_ID = "golden__2013-03-01"
IMAGE_TAG = "stages.image.tag=golden"


def pod_templates() -> dict[str, str]:
    """Return the chart's pod templates, file name to text."""
    command = ["helm", "template", "slipway", str(REPO / "charts" / "slipway"), "-n", "slipway"]
    shown = subprocess.run(
        [*command, "--set", IMAGE_TAG, "--show-only", "templates/stages-configmap.yaml"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    maps = {one["metadata"]["name"]: one["data"] for one in yaml.safe_load_all(shown) if one}
    templates: dict[str, str] = maps["slipway-stage-pods"]
    return templates


def render(stage: Stage, folder: Path) -> dict[str, Any]:
    """Return the pod of a stage as it is sent to Kubernetes, but for its name's random end."""
    from adapter.pods.pod_stage import StagePodOperator
    from airflow.sdk import DAG
    from kubernetes.client import ApiClient

    operator = StagePodOperator(
        task_id=str(stage),
        dag=DAG(DAG_ID, schedule=None),
        stage=stage,
        project="flights",
        as_of="2013-03-01",
        upstream_record="s3://data/record.json" if stage.upstream else None,
        pods_dir=str(folder),
        namespace="slipway",
        random_name_suffix=False,
    )
    pod = operator.build_pod_request_obj(context_of(operator), dry_run=True)
    sent: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return sent


def context_of(operator: StagePodOperator) -> Context:
    """Return the part of a task's context that a pod is named after."""
    ids = {"dag_id": DAG_ID, "task_id": operator.task_id, "map_index": -1, "try_number": 1}
    parts = {"ti": SimpleNamespace(**ids), "run_id": RUN_ID, "dag": SimpleNamespace()}
    return cast("Context", parts)


def render_all() -> dict[str, str]:
    """Return the YAML of every stage's pod, verb to text."""
    from ml.stages import Stage

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in pod_templates().items():
            (folder / file).write_text(text)
        return {str(stage): yaml.safe_dump(render(stage, folder)) for stage in Stage}


def main() -> None:
    """Write the golden files."""
    GOLDEN.mkdir(exist_ok=True)
    for verb, text in render_all().items():
        (GOLDEN / f"{verb}.yaml").write_text(text)
        sys.stdout.write(f"{GOLDEN / verb}.yaml\n")


if __name__ == "__main__":
    main()
