"""A run on the cluster that waits for its data says for what, and is told of when it is late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8s.access import Airflow, kubectl
from k8s.demo import AS_OF
from tests.budget import budget
from tests.e2e.receiver import told_of
from tests.e2e.release import sql, wait_until
from tests.e2e.runs import TRAINING, Run

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

NEVER_LANDED = "2013-11-29"
SENSOR = "wait_for_partition"
# Airflow sets a deadline hours ahead; that time is all that is made up.
DUE_NOW = """
update deadline set deadline_time = now() from dag_run
where dag_run.id = deadline.dagrun_id and dag_run.run_id = '{run_id}' and not missed
returning 1
"""


@pytest.fixture(scope="module")
@budget(10)
def waiting(client: Airflow) -> Iterator[Run]:
    """A run that waits for a day that never lands."""
    know_how_long_a_run_takes(client)
    run = Run.start(client, TRAINING, NEVER_LANDED)
    yield run
    run.end()


def know_how_long_a_run_takes(client: Airflow) -> None:
    """Make sure of three green runs: from the third on, there are deadlines."""
    green = client.get(f"/dags/{TRAINING}/dagRuns", state="success", limit=3)["dag_runs"]
    for _ in range(3 - len(green)):
        Run.start(client, TRAINING, AS_OF).green()


def test_sensor_waits_and_says_for_what(waiting: Run) -> None:
    wait_until("the sensor to wait", lambda: waiting.states.get(SENSOR) == "deferred", 60)
    missing = f"landing/flights/dt={NEVER_LANDED}"
    wait_until("its log to say for what", lambda: missing in waiting.log(SENSOR), 60)
    assert waiting.state == "running"


@pytest.mark.budget(20)
def test_late_run_is_told_while_it_goes_on(waiting: Run) -> None:
    due_now = DUE_NOW.format(run_id=waiting.run_id)
    wait_until("a deadline", lambda: sql(due_now, "airflow").strip() or None, 60)
    (notice,) = told_of(waiting.run_id)
    assert notice["title"] == f"late: flights {NEVER_LANDED} ({TRAINING})"
    assert notice["type"] == "warning"
    assert waiting.state == "running"


def test_stages_have_a_pool_of_the_charts_size(client: Airflow) -> None:
    pool = client.get("/pools/stages")
    assert (pool["slots"], pool["include_deferred"]) == (8, True)


def test_versions_of_dags_name_the_image_they_came_from(client: Airflow) -> None:
    read = ["exec", "deploy/slipway-airflow-scheduler", "-c", "scheduler", "--", "printenv"]
    revision = kubectl(*read, "SLIPWAY_REVISION").strip()
    for dag in client.get("/dags")["dags"]:
        found = client.get(f"/dags/{dag['dag_id']}/dagVersions")["dag_versions"]
        newest = max(found, key=lambda version: int(version["version_number"]))
        assert newest["bundle_version"] == revision, dag["dag_id"]
