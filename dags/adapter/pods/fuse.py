"""Stages that share one pod, as a project's `fuse` asks for.

The first task of a group runs the verbs of the whole group in its pod, and leaves the results of
the others under `fused_<verb>`; each of their tasks finds its own there and starts no pod. When a
stage of the group fails, the tasks before it are done, and its own task finds nothing: it starts a
pod for itself and the rest of the group, and fails or succeeds in its own name, with its own tries.
Nobody has to look into the object store for that, so Airflow needs no rights on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from ml.core.errors import BadInputError
from ml.core.project import ProjectSpec, read_project
from ml.stages import Stage


class StageTask(Protocol):
    """The part of a stage's task that is needed here, whatever operator it is."""

    task_id: str
    stage: Stage
    project: str

    @property
    def downstream_list(self) -> Iterable[Any]:
        """The tasks right after this one."""

    @property
    def upstream_list(self) -> Iterable[Any]:
        """The tasks right before this one."""


def chain_of(task: StageTask) -> tuple[Stage, ...]:
    """Return the stages that the task's pod is to do: its own, and what is fused with it after it.

    Only stages that the DAG has tasks for count. Raises AirflowFailException when the project
    fuses stages whose pods have different rights.
    """
    group = _group(task)
    if len(group) == 1:
        return (task.stage,)
    chain = [task]
    while after := _neighbour(chain[-1].downstream_list, group, upstream=chain[-1].stage):
        chain.append(after)
    return tuple(one.stage for one in chain)


def time_for(chain: Sequence[Stage]) -> timedelta:
    """Return the longest that healthy stages take one after the other."""
    return sum((stage.timeout for stage in chain), timedelta())


def left_for(task: StageTask, context: Context) -> dict[str, Any] | None:
    """Return the result that the pod of a task before left for this one in this run, if any."""
    for before in _before(task):
        result = context["ti"].xcom_pull(task_ids=before.task_id, key=key_of(task.stage))
        if isinstance(result, dict):
            return result
    return None


def key_of(verb: str) -> str:
    """Return the XCom key under which a stage's result is left for its own task."""
    return f"fused_{verb}"


def _before(task: StageTask) -> Iterator[StageTask]:
    """Yield the tasks of the same group before this one, the nearest first."""
    group = _group(task)
    while len(group) > 1 and task.stage.upstream:
        before = _neighbour(task.upstream_list, group, verb=task.stage.upstream)
        if before is None:
            return
        yield before
        task = before


def _neighbour(
    tasks: Iterable[Any], group: Sequence[str], *, verb: str = "", upstream: str = ""
) -> StageTask | None:
    """Find the stage of the group among tasks that has this verb, or this verb before it."""
    for task in tasks:
        stage = getattr(task, "stage", None)
        if not isinstance(stage, Stage) or stage not in group:
            continue
        if stage == verb or (upstream and stage.upstream == upstream):
            found: StageTask = task
            return found
    return None


def _group(task: StageTask) -> tuple[str, ...]:
    try:
        spec = read_project(task.project).spec
    except BadInputError:
        return (task.stage,)  # the stage itself will say what is wrong with the project
    check(task.project, spec)
    return tuple(spec.fused_with(task.stage))


def check(project: str, spec: ProjectSpec) -> None:
    """Raise AirflowFailException when stages would share a pod that may not share their rights."""
    for group in spec.fuse:
        pods = {Stage(verb).profile for verb in group}
        if len(pods) > 1:
            raise AirflowFailException(
                f"project {project} fuses [{', '.join(group)}], whose pods have different rights "
                f"({', '.join(sorted(pods))}): fuse only stages of one kind of pod"
            )


def preflight(verb: str, upstream_record: str | None) -> None:
    """Raise AirflowFailException unless what is handed to the stage is the address of a record."""
    if Stage(verb).upstream is None or _is_record(upstream_record):
        return
    raise AirflowFailException(
        f"{verb} is handed `{str(upstream_record)[:80]}` in place of a record's address, such as "
        "s3://data/…/record.json: only addresses go from stage to stage"
    )


def _is_record(text: str | None) -> bool:
    return (
        bool(text)
        and str(text).startswith(("s3://", "file://"))
        and str(text).endswith("/record.json")
    )
