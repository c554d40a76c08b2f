"""What Airflow's database holds after all the runs of these tests: addresses and facts, no data.

Alphabetically last, so that it looks at what every test before it has left.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e.release import sql

pytestmark = [pytest.mark.e2e, pytest.mark.budget(3), pytest.mark.usefixtures("client")]

LIMIT = 1024
LARGEST = """
select coalesce(json_agg(found), '[]') from (
  select dag_id, run_id, task_id, key, octet_length(value::text) as bytes
  from xcom where dag_id not like 'example%' order by bytes desc limit 20
) as found
"""


def test_no_xcom_is_larger_than_1_kib() -> None:
    largest: list[dict[str, object]] = json.loads(sql(LARGEST, "airflow"))
    assert len(largest) == 20, "there are too few XComs to tell"
    assert [one for one in largest if int(str(one["bytes"])) > LIMIT] == []
