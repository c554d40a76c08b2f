"""A project that demands a person's approval: asked before a deployment, both answers and none.

The answers go through Airflow's own REST API, and so does the reading of the question.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from adapter.gate.approval import Approval
from adapter.gate.question import ApprovalQuestion, cut, hours
from adapter.pods.local_stage import LocalStageOperator
from airflow.sdk import DAG

from tests.dags.bench import end_of
from tests.dags.conftest import REPO, load_dag, run_here, task_of

if TYPE_CHECKING:
    from starlette.testclient import TestClient

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")

DAG_ID, GATE = "ml_training_pipeline", "decide_deployment"
DAY = datetime(2013, 3, 5, tzinfo=UTC)
API = "/api/v2"


@dataclass
class Run:
    """How a run ended, what its tasks returned, and where they link to."""

    state: str
    states: dict[str, str]
    results: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


@dataclass
class Desk:
    """Someone at Airflow's API who sees the question and answers it."""

    client: TestClient
    question: dict[str, Any] = field(default_factory=dict)

    def pending(self) -> dict[str, Any] | None:
        """Return the question that a run waits with."""
        found = self.client.get(
            f"{API}/dags/~/dagRuns/~/hitlDetails",
            params={"state": "awaiting_input", "response_received": False},
        )
        assert found.status_code == 200, found.text
        return next(iter(found.json()["hitl_details"]), None)

    def answer(self, option: str, note: str = "") -> None:
        """Wait for the question, keep it, and answer it."""
        self.question = wait_for(self.pending)
        task = self.question["task_instance"]
        answered = self.client.patch(
            f"{API}/dags/{DAG_ID}/dagRuns/{task['dag_run_id']}/taskInstances/{GATE}/-1/hitlDetails",
            json={"chosen_options": [option], "params_input": {"note": note}},
        )
        assert answered.status_code == 200, answered.text

    def let_time_pass(self) -> None:
        """Do what the scheduler does every few seconds: end the waits whose time is up."""
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        self.question = wait_for(self.pending)
        time.sleep(0.5)
        SchedulerJobRunner(job=Job()).check_awaiting_input_timeouts()


def wait_for(look: Callable[[], dict[str, Any] | None], seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise TimeoutError("no question was asked")


@pytest.fixture(scope="module")
def client(airflow_db: None) -> Iterator[TestClient]:  # noqa: ARG001
    from airflow.api_fastapi.app import create_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    app = create_app()
    token = app.state.auth_manager.generate_jwt(SimpleAuthManagerUser(username="ada", role="admin"))
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


@pytest.fixture
def desk(client: TestClient) -> Desk:
    return Desk(client)


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: None) -> DAG:  # noqa: ARG001
    spec = yaml.safe_load((REPO / "ml/projects/flights/project.yaml").read_text())
    careful = tmp_path / "projects/careful.project.yaml"
    careful.parent.mkdir()
    careful.write_text(yaml.safe_dump(spec | {"approval": True}))
    for project in ("careful", "flights"):
        manifest = tmp_path / "landing" / project / f"dt={DAY.date()}" / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
    canned = lambda _, run: end_of(run, os.environ)  # noqa: E731 - in place of a method
    monkeypatch.setattr(LocalStageOperator, "_ending_of", canned)
    for name, value in {
        "SLIPWAY_STAGES": "local",
        "SLIPWAY_LANDING_URL": str(tmp_path / "landing"),
        "SLIPWAY_PROJECTS_PATH": str(careful.parent),
        "CALLS": str(tmp_path / "calls"),
        "DECISION": "deploy",
    }.items():
        monkeypatch.setenv(name, value)
    dag = load_dag(DAG_ID)
    # A gate that broke and asked again would wait for an answer that nobody gives.
    task_of(dag, GATE).retries = 0
    return dag


def run(dag: DAG, project: str, meanwhile: Callable[[], None] | None = None) -> Run:
    """Run the DAG to its end while something else happens beside it."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    beside = threading.Thread(target=meanwhile, daemon=True) if meanwhile else None
    if beside:
        beside.start()
    done = run_here(dag, nap=0.2, logical_date=DAY, run_conf={"project": project})
    if beside:
        beside.join(60)
    with create_session() as session:
        query = XComModel.get_many(run_id=done.run_id, dag_ids=[DAG_ID], key="return_value")
        rows: Any = session.scalars(query).all()
        results = {row.task_id: XComModel.deserialize_value(row) for row in rows}
        query = XComModel.get_many(run_id=done.run_id, dag_ids=[DAG_ID], key="_link_RunLink")
        found: Any = session.scalars(query).all()
        links = {row.task_id: XComModel.deserialize_value(row) for row in found}
    states = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    return Run(str(done.state), states, results, links)


def test_nobody_is_asked_unless_the_project_demands_it(dag: DAG, desk: Desk) -> None:
    done = run(dag, "flights")
    assert done.state == "success"
    assert done.states["deployment.roll_out"] == "success"
    assert desk.pending() is None
    assert "by" not in done.results[GATE]
    assert done.links["training_evaluation.register"] == "http://localhost:5000/#/runs/ab12"


def test_approved_candidate_is_rolled_out(dag: DAG, desk: Desk) -> None:
    done = run(dag, "careful", lambda: desk.answer("Approve", "looks good"))
    assert done.state == "success"
    assert done.states["deployment.roll_out"] == "success"
    assert done.states["keep_champion"] == "skipped"
    assert done.results[GATE] == {
        "decision": "deploy",
        "reason": "ada approved it: looks good",
        "version": "3",
        "by": "ada",
    }


def test_question_shows_the_comparison(dag: DAG, desk: Desk) -> None:
    run(dag, "careful", lambda: desk.answer("Reject"))
    assert desk.question["subject"] == "Deploy version 3 of careful?"
    assert desk.question["options"] == ["Approve", "Reject"]
    assert desk.question["defaults"] == ["Reject"]
    body = desk.question["body"]
    assert "| candidate | 3 | 0.7312 |" in body
    assert "| champion | 2 | 0.7205 |" in body
    assert "6,543 rows" in body
    assert "auc 0.51 is under 0.55" in body
    assert "http://localhost:5000/#/models/careful/versions/3" in body
    assert "http://localhost:5000/#/runs/ab12" in body
    assert "No answer within 12 hours is a no" in body


def test_rejected_candidate_is_a_refusal_with_its_reason(dag: DAG, desk: Desk) -> None:
    done = run(dag, "careful", lambda: desk.answer("Reject", "Friday\nevening"))
    assert done.state == "success"
    assert done.states["deployment.roll_out"] == "skipped"
    assert done.states["keep_champion"] == "success"
    assert done.states["fin"] == "success"
    refusal = {
        "decision": "refuse",
        "reason": "ada rejected it: Friday evening",
        "version": "3",
        "by": "ada",
    }
    assert done.results["keep_champion"] == done.results[GATE] == refusal


def test_no_answer_in_time_is_a_refusal(dag: DAG, desk: Desk) -> None:
    task_of(dag, GATE).response_timeout = timedelta(milliseconds=100)
    done = run(dag, "careful", desk.let_time_pass)
    assert done.state == "success"
    assert done.states["deployment.roll_out"] == "skipped"
    assert done.states["keep_champion"] == "success"
    assert done.results["keep_champion"]["reason"].startswith("nobody approved it within")


def test_nobody_is_asked_about_what_the_gate_refuses(
    dag: DAG, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISION", "refuse")
    done = run(dag, "careful")
    assert done.state == "success"
    assert done.results["keep_champion"]["reason"] == "auc 0.51 is under 0.55"
    assert desk.pending() is None


def test_unreadable_project_is_red_and_deploys_nothing(dag: DAG, tmp_path: Path) -> None:
    (tmp_path / "projects/careful.project.yaml").write_text("title: [")
    done = run(dag, "careful")
    assert done.state == "failed"
    # The wait for its data asks already on which clocks its days are.
    assert done.states[GATE] == "upstream_failed"
    assert "failed" in done.states.values()
    assert not (tmp_path / "calls").exists()


def test_answer_is_noted_on_the_version(
    dag: DAG, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That MLflow takes it is a test of the plugins', who have a server."""
    kept: list[Approval] = []
    monkeypatch.setattr(Approval, "keep", lambda approval: kept.append(approval))
    run(dag, "careful", lambda: desk.answer("Reject", "Friday"))
    assert kept == [Approval("careful", "3", False, "ada", "ada rejected it: Friday")]


@pytest.mark.parametrize(
    ("approved", "by", "answer"),
    [(True, "ada", "approved"), (False, "ada", "rejected"), (False, None, "unanswered")],
)
def test_tags_of_an_answer(approved: bool, by: str | None, answer: str) -> None:
    tags = Approval("careful", "3", approved, by, "why").tags
    assert tags == {
        "slipway.approval": answer,
        "slipway.approval_by": by or "",
        "slipway.approval_reason": "why",
    }


def test_question_about_a_first_model_names_no_champion() -> None:
    body = ApprovalQuestion("p", {"version": "1", "reason": "good"}, "12 hours").body(
        "http://mlflow"
    )
    assert "| champion | none yet | |" in body
    assert "None" not in body


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (timedelta(hours=12), "12 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(seconds=1), "1 second"),
    ],
)
def test_limits_read_as_people_say_them(limit: timedelta, text: str) -> None:
    assert hours(limit) == text


def test_long_notes_are_cut_to_one_line() -> None:
    assert cut("a\n b", 10) == "a b"
    assert cut("x" * 300, 200) == "x" * 192 + "…"
    assert len(json.dumps(cut("да" * 150, 200))) <= 200
