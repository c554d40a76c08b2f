"""Every task of every DAG fails in turn: the run is red, nothing is deployed, people are told.

The DAGs and their tasks are found, not listed, so a new one is tried without a word here. Stages
take no time, as they run in this process and do nothing; all else is Airflow's own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from adapter.pods.identity import StageRun
from adapter.pods.local_stage import LocalStageOperator
from adapter.pods.results import LIMIT, StageEnd
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from tests.dags.bench import end_of
from tests.dags.conftest import DAGS, run_here, task_of
from tests.dags.receivers import Receiver, outbox, start_receiver

pytestmark = pytest.mark.filterwarnings("default")

FIRST_DAY = datetime(2013, 3, 4, tzinfo=UTC)
# Which way a run goes; a task that is on none of them is reached by another task's failure.
WAYS = (
    {"DECISION": "deploy", "MONITORED": "retrain"},
    {"DECISION": "refuse", "MONITORED": "healthy"},
)
LOCAL = {"SLIPWAY_STAGES": "local"}


def discover() -> dict[str, DAG]:
    """Parse every DAG file for local runs."""
    from airflow.dag_processing.dagbag import DagBag

    with patch.dict(os.environ, LOCAL), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow's own
        bag = DagBag(DAGS)
    assert not bag.import_errors
    return dict(bag.dags)


ALL = discover()
TASKS = [(dag_id, task_id) for dag_id, dag in ALL.items() for task_id in sorted(dag.task_ids)]


@dataclass
class World:
    """Where runs happen: what the stages are told, what they did, and what users are served."""

    folder: Path
    told: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    ended: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def calls(self) -> list[str]:
        """Return the stages that were run, in order."""
        return [line.split()[0] for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def served(self) -> str:
        """Return which version users have, `old` or `new`."""
        return (self.folder / "served").read_text()

    def start_over(self, way: dict[str, str], fault: str) -> None:
        """Forget the last run; the next goes this way, and `fault` is a verb that fails."""
        (self.folder / "calls").write_text("")
        (self.folder / "served").write_text("old")
        files = {name.upper(): str(self.folder / name) for name in ("calls", "served")}
        self.told = {**way, **files, "FAULT": fault, "FAULT_CODE": "3"}

    def run(self, dag: DAG, way: dict[str, str], *failing: str) -> tuple[str, dict[str, str]]:
        """Run a DAG with tasks that fail; return the states of the run and of its tasks."""
        self.start_over(way, "".join(verb_of(dag, task_id) for task_id in failing))
        self.runs += 1
        day = FIRST_DAY + timedelta(days=self.runs)
        self.land(day)
        with failing_by_themselves(dag, [t for t in failing if not verb_of(dag, t)]):
            run = run_here(dag, logical_date=day)
        self.ended.append((dag.dag_id, f"{day:%Y-%m-%d}", str(run.state)))
        return str(run.state), worst(
            {(ti.task_id, str(ti.state)) for ti in run.get_task_instances()}
        )

    def land(self, day: datetime) -> None:
        """Let the day's data be there."""
        manifest = self.folder / f"landing/flights/dt={day:%Y-%m-%d}/manifest.json"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text("{}")

    def ending_of(self, run: StageRun) -> StageEnd:
        """Do as a stage's process would."""
        return end_of(run, self.told)


def worst(states: set[tuple[str, str]]) -> dict[str, str]:
    """Return one state per task: of a mapped task, the failed one."""
    return dict(sorted(states, key=lambda pair: pair[1] == "failed"))


def verb_of(dag: DAG, task_id: str) -> str:
    """Return the verb of `python -m ml` that a task runs; empty when it is no stage."""
    task = task_of(dag, task_id)
    stage = getattr(task, "partial_kwargs", {}).get("stage") or getattr(task, "stage", None)
    return str(stage) if stage else ""


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    yield from start_receiver(tmp_path_factory.mktemp("receiver"))


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    receiver: Receiver,
    airflow_db: None,  # noqa: ARG001
) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    addresses = made.folder / "addresses"
    addresses.write_text(receiver.address)
    env = LOCAL | {
        "SLIPWAY_LANDING_URL": str(made.folder / "landing"),
        "SLIPWAY_NOTIFICATIONS_FILE": str(addresses),
    }
    canned = patch.object(LocalStageOperator, "_ending_of", made.ending_of)
    with patch.dict(os.environ, env), canned:
        ALL.update(discover())
        for dag in ALL.values():
            for task_id in dag.task_ids:
                task_of(dag, task_id).retries = 0
        yield made


class failing_by_themselves:  # noqa: N801 - reads like a function
    """Let the code of tasks that are no stages fail, whatever operator they are."""

    def __init__(self, dag: DAG, task_ids: list[str]) -> None:
        self.tasks = [task_of(dag, task_id) for task_id in task_ids]

    def __enter__(self) -> None:
        for task in self.tasks:
            task.execute = told_to_fail

    def __exit__(self, *_: object) -> None:
        for task in self.tasks:
            del task.execute


def told_to_fail(*_: object, **__: object) -> None:
    """Take the place of an operator's `execute`."""
    raise AirflowFailException("the task was told to fail")


def fail(world: World, dag: DAG, task_id: str) -> tuple[str, dict[str, str]]:
    """Run the DAG so that the task is reached, and fails."""
    before = sorted(dag.get_task(task_id).get_flat_relative_ids(upstream=True))
    others = [other for other in before if verb_of(dag, other)][:1]
    alone: list[tuple[dict[str, str], tuple[str, ...]]] = [(way, ()) for way in WAYS]
    along: list[tuple[dict[str, str], tuple[str, ...]]] = [(WAYS[0], (o,)) for o in others]
    after_failure = task_of(dag, task_id).trigger_rule == "one_failed"
    for way, also in along if after_failure else alone + along:
        state, states = world.run(dag, way, task_id, *also)
        if states[task_id] == "failed":
            return state, states
        assert state == ("failed" if also else "success"), f"{task_id} was not reached, {states}"
    raise AssertionError(f"no way was found on which {task_id} of {dag.dag_id} is reached")


@pytest.mark.parametrize("dag_id", sorted(ALL))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
def test_run_without_a_fault_is_green(world: World, dag_id: str, way: dict[str, str]) -> None:
    state, states = world.run(ALL[dag_id], way)
    assert state == "success"
    assert set(states.values()) <= {"success", "skipped"}


ROLLING_OUT = sorted(
    dag_id for dag_id, dag in ALL.items() if "roll_out" in {verb_of(dag, t) for t in dag.task_ids}
)


@pytest.mark.parametrize("dag_id", ROLLING_OUT)
def test_what_roll_out_refuses_is_no_failure_and_nothing_builds_on_it(
    world: World, dag_id: str
) -> None:
    dag = ALL[dag_id]
    state, states = world.run(dag, WAYS[0] | {"ROLL_OUT_REFUSES": "it was taken back"})
    assert state == "success"
    (refusing,) = [task_id for task_id in dag.task_ids if verb_of(dag, task_id) == "roll_out"]
    after = dag.get_task(refusing).get_flat_relative_ids(upstream=False)
    assert {states[task_id] for task_id in (refusing, *after)} == {"skipped"}
    assert world.calls[-1] == "roll_out"
    assert world.served == "old"


@pytest.mark.parametrize(("dag_id", "task_id"), TASKS)
def test_failed_task_makes_the_run_red(world: World, dag_id: str, task_id: str) -> None:
    dag = ALL[dag_id]
    if task_id == "fin":
        assert runs_no_code(dag, task_id)
        return
    state, states = fail(world, dag, task_id)
    assert state == "failed"
    assert states[task_id] == "failed"
    assert all(states[leaf.task_id] != "success" for leaf in dag.leaves)
    after = dag.get_task(task_id).get_flat_relative_ids(upstream=False)
    assert not {verb_of(dag, other) for other in after} & set(world.calls)
    verb = verb_of(dag, task_id)
    done = world.calls[: world.calls.index(verb)] if verb else world.calls
    assert world.served == ("new" if "roll_out" in done else "old")


def runs_no_code(dag: DAG, task_id: str) -> bool:
    """Tell whether Airflow just marks a task, so that no code of it can fail."""
    task = task_of(dag, task_id)
    callbacks = (task.on_execute_callback, task.on_success_callback)
    return task.task_type == "EmptyOperator" and not any(callbacks) and not task.outlets


def test_people_were_told_of_every_failed_run(world: World, receiver: Receiver) -> None:
    """Stands at the end: sending takes longer than a run, and goes on beside the next."""
    outbox().settle()
    told = [f"{post.body['title']} {post.body['message']}" for post in receiver.posts]
    for dag_id, day, state in world.ended:
        about = [text for text in told if dag_id in text and day in text]
        assert len(about) == 1, f"{dag_id} of {day} was told {len(about)} times"
        assert about[0].startswith("failure") == (state == "failed"), about[0]


def test_no_xcom_of_all_these_runs_is_larger_than_1_kib(world: World) -> None:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    assert world.ended, "run the whole file: this looks at what the tests before have left"
    with create_session() as session:
        rows = session.execute(select(XComModel.task_id, XComModel.key, XComModel.value)).all()
    sizes = {(task_id, key): len(str(value).encode()) for task_id, key, value in rows}
    assert len(sizes) > len(ALL)
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}
