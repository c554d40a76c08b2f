"""Built features start the training of their day: through Airflow's own database and scheduler."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from adapter.pods.local_stage import LocalStageOperator
from adapter.schedule.features import features_of
from adapter.schedule.run_days import AS_OF, EVERY_DAY
from custom_timetables import BackfillTimetable

from tests.dags.conftest import load_dag, run_here

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

pytestmark = pytest.mark.filterwarnings("default")

ETL, TRAINING, BATCH = (
    "etl_feature_engineering",
    "ml_training_pipeline",
    "batch_prediction_pipeline",
)


# SQLite gives a new event the number of a deleted one, so what names it has to go too.
_LINKS_OF_EVENTS = ("dagrun_asset_event", "asset_alias_asset_event")


@dataclass
class Bench:
    """Airflow without its processes: a database, and their steps taken one at a time."""

    calls_file: Path
    landing: Path

    def land(self, day: str, project: str = "flights") -> None:
        manifest = self.landing / project / f"dt={day}" / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")

    def build(self, day: str, **conf: str) -> None:
        """Let the ETL run for a day, as `airflow dags test` does."""
        run = run_here(
            load_dag(ETL),
            logical_date=datetime.fromisoformat(f"{day}T00:00:00+00:00"),
            run_conf=conf,
        )
        assert run.state == "success"

    def schedule(self) -> list[DagRun]:
        """Let the scheduler look once for runs to make; return those it made for assets."""
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.models.dagrun import DagRun
        from airflow.utils.sqlalchemy import prohibit_commit
        from sqlalchemy import select

        with session() as active, prohibit_commit(active) as guard:
            runner = SchedulerJobRunner(Job())
            runner._create_dagruns_for_dags(guard, active)
            made = select(DagRun).where(DagRun.run_type == "asset_triggered")
            return list(active.scalars(made.order_by(DagRun.dag_id)))

    def run(self, run_id: str) -> str:
        """Run the tasks of a training run that the scheduler has made; return its state."""
        from airflow.models.dagrun import DagRun
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.state import TaskInstanceState
        from sqlalchemy import select

        dag = load_dag(TRAINING)
        with session() as active:
            run = active.scalars(select(DagRun).filter_by(run_id=run_id, dag_id=TRAINING)).one()
            run.dag = serialized(TRAINING, active)
            run.state = "running"
            while run.state == "running":
                ready, _ = run.update_state(session=active)
                for ti in ready:
                    ti.try_number += 1
                    ti.state = TaskInstanceState.SCHEDULED
                active.commit()
                for ti in ready:
                    _run_task(ti=ti, task=dag.task_dict[ti.task_id])
                active.expire_all()
            return str(run.state)

    @property
    def calls(self) -> list[str]:
        """Return the stages that were run, with their arguments."""
        return self.calls_file.read_text().splitlines()


@contextmanager
def session() -> Iterator[Session]:
    from airflow.utils.session import create_session

    with create_session() as active:
        yield active


def serialized(dag_id: str, active: Session) -> Any:  # noqa: ANN401 - Airflow's own
    from airflow.models.serialized_dag import SerializedDagModel

    row = active.scalar(SerializedDagModel.latest_item_select_object(dag_id))
    assert row is not None
    return row.dag


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: None,  # noqa: ARG001
) -> Bench:
    from airflow.models.asset import AssetDagRunQueue, AssetEvent
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from sqlalchemy import delete, text, update

    monkeypatch.setenv("SLIPWAY_STAGES", "local")
    monkeypatch.setenv("SLIPWAY_LANDING_URL", str(tmp_path / "landing"))
    canned = (sys.executable, "-m", "tests.dags.canned_stage")
    monkeypatch.setattr(LocalStageOperator, "COMMAND", canned)
    for name, value in {"CALLS": tmp_path / "calls", "DECISION": "refuse"}.items():
        monkeypatch.setenv(name, str(value))
    with session() as active:
        # What other tests have built must not start anything here.
        for left in (*_LINKS_OF_EVENTS, DagRun.__table__, AssetDagRunQueue.__table__):
            active.execute(text(f"delete from {left}"))  # noqa: S608 - names of Airflow's tables
        active.execute(delete(AssetEvent))
        active.execute(update(DagModel).values(is_paused=False))
    return Bench(tmp_path / "calls", tmp_path / "landing")


def test_features_of_a_day_start_the_training_of_that_day(bench: Bench) -> None:
    bench.land("2013-03-04")
    bench.build("2013-03-04")
    assert bench.calls == [
        "ingest --project flights --as-of 2013-03-04 --days 1",
        *(
            f"{verb} --project flights --as-of 2013-03-04"
            f" --upstream file:///data/{before}/record.json"
            for verb, before in (("validate", "ingest"), ("build_features", "validate"))
        ),
    ]
    (event,) = events()
    assert (event["name"], event["uri"]) == (
        "features/flights",
        "x-slipway://data/flights/build_features",
    )
    assert event["extra"] == {
        "as_of": "2013-03-04",
        "record": "file:///data/build_features/record.json",
    }

    scoring, training = bench.schedule()
    assert (scoring.dag_id, training.dag_id) == (BATCH, TRAINING)
    assert training.logical_date is None

    bench.calls_file.unlink()
    assert bench.run(training.run_id) == "success"
    assert bench.calls[0] == "ingest --project flights --as-of 2013-03-04"
    assert {call.split("--as-of ")[1].split()[0] for call in bench.calls} == {"2013-03-04"}


def events() -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import select

    with session() as active:
        found = active.scalars(select(AssetEvent).order_by(AssetEvent.id.desc()).limit(1))
        return [{"name": e.asset.name, "uri": e.asset.uri, "extra": e.extra} for e in found]


def test_features_of_a_day_without_a_whole_window_before_it_train_nothing(bench: Bench) -> None:
    """The example project's days start on 2013-01-01, and a model takes sixty."""
    bench.land("2013-02-28")
    bench.build("2013-02-28")
    (training,) = [run for run in bench.schedule() if run.dag_id == TRAINING]
    bench.calls_file.write_text("")
    assert bench.run(training.run_id) == "success"
    assert bench.calls == []


def test_a_training_that_somebody_asks_for_is_not_skipped(bench: Bench) -> None:
    bench.land("2013-02-28")
    run = run_here(load_dag(TRAINING), logical_date=datetime(2013, 2, 28, tzinfo=UTC))
    assert {ti.state for ti in run.get_task_instances() if ti.task_id == "wait_for_partition"} == {
        "success"
    }
    assert bench.calls[0] == "ingest --project flights --as-of 2013-02-28"


def test_days_that_are_built_at_once_start_one_training_for_the_newest(bench: Bench) -> None:
    """Its window holds what the other days brought."""
    for day in ("2013-03-06", "2013-03-05"):
        bench.land(day)
        bench.build(day)
    made = [run for run in bench.schedule() if run.dag_id == TRAINING]
    assert len(made) == 1
    bench.calls_file.unlink()
    bench.run(made[0].run_id)
    assert bench.calls[0] == "ingest --project flights --as-of 2013-03-06"


def test_scoring_takes_every_day_whose_features_came_together() -> None:
    from airflow.sdk.definitions._internal.templater import SandboxedEnvironment

    days = ("2013-03-06", "2013-03-05", "2013-03-06")
    found = [SimpleNamespace(extra={"as_of": day}) for day in days]
    rendered = {
        template: SandboxedEnvironment()
        .from_string(template)
        .render(params=SimpleNamespace(as_of=None), triggering_asset_events={"features": found})
        for template in (AS_OF, EVERY_DAY)
    }
    assert rendered == {AS_OF: "2013-03-06", EVERY_DAY: "2013-03-05,2013-03-06"}


def test_features_of_another_project_start_nothing_of_this_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "projects").mkdir()
    text = "title: x\ntarget: y\ntables: {rows: {columns: {y: bool}}}\n"
    (tmp_path / "projects/ours.project.yaml").write_text(text)
    monkeypatch.setenv("SLIPWAY_PROJECTS_PATH", str(tmp_path / "projects"))
    bench.land("2013-03-04", "ours")
    bench.build("2013-03-04", project="ours")
    assert events()[0]["name"] == features_of("ours").name
    assert bench.schedule() == []


@pytest.mark.parametrize("dag_id", [TRAINING, BATCH, ETL])
def test_days_of_the_past_can_be_run(bench: Bench, dag_id: str) -> None:
    from airflow.models.backfill import ReprocessBehavior, _create_backfill
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    del bench
    first = datetime(2013, 2, 27, tzinfo=UTC)
    _create_backfill(
        dag_id=dag_id,
        from_date=first,
        to_date=first + timedelta(days=2),
        max_active_runs=1,
        reverse=False,
        dag_run_conf=None,
        triggering_user_name="somebody",
        reprocess_behavior=ReprocessBehavior.NONE,
    )
    with session() as active:
        made = active.scalars(select(DagRun.logical_date).filter_by(dag_id=dag_id)).all()
    assert set(made) == {first + timedelta(days=n) for n in range(3)}


def test_features_are_told_of_one_after_the_other() -> None:
    """Of two first events at the same moment Airflow takes one, and sets the other task to failed.

    Seen on a cluster as a unique violation of `asset_alias_asset` when two runs of a backfill ended
    together.
    """
    telling = [task for task in load_dag("etl_feature_engineering").tasks if task.outlets]
    assert [task.task_id for task in telling] == ["build_features"]
    assert all(task.max_active_tis_per_dag == 1 for task in telling)


def test_the_clock_starts_no_training(bench: Bench) -> None:
    del bench
    from airflow.models.dag import DagModel
    from airflow.timetables.base import TimeRestriction

    with session() as active:
        model = active.get(DagModel, TRAINING)
        assert model is not None
        assert model.next_dagrun is None
        timetable = serialized(TRAINING, active).timetable
    # Airflow imports plugins under names of its own, so the class is another object there.
    assert type(timetable.timetable).__name__ == BackfillTimetable.__name__
    assert timetable.periodic
    alive = TimeRestriction(earliest=timetable_start(), latest=None, catchup=False)
    assert timetable.next_dagrun_info(last_automated_data_interval=None, restriction=alive) is None


def timetable_start() -> Any:  # noqa: ANN401 - pendulum's date
    from airflow.sdk import timezone

    return timezone.datetime(2024, 1, 1)
