"""What Airflow's database holds after all the runs of these tests: addresses and facts, no data.

Alphabetically last, so that it looks at what every test before it has left.
"""

from __future__ import annotations

import json

import pytest

from k8s.access import kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("demo")]

LIMIT = 1024
LARGEST = """
select coalesce(json_agg(found), '[]') from (
  select dag_id, run_id, task_id, key, octet_length(value::text) as bytes
  from xcom where dag_id not like 'example%' order by bytes desc limit 20
) as found
"""


def ask(question: str) -> list[dict[str, object]]:
    """Ask Airflow's database, as the role that owns it, from within its pod."""
    psql = 'psql -qAt -U "${POSTGRES_USER:-postgres}" -d airflow'
    said = kubectl(
        "exec", "-i", "statefulset/slipway-postgres", "--", "sh", "-c", psql, stdin=question
    )
    found: list[dict[str, object]] = json.loads(said)
    return found


def test_no_xcom_is_larger_than_1_kib() -> None:
    largest = ask(LARGEST)
    assert len(largest) == 20, "there are too few XComs to tell"
    assert [one for one in largest if int(str(one["bytes"])) > LIMIT] == []
