"""Probe: exit 0 while this pod's Airflow job beats, 1 when it has stopped.

Reads one row with the Postgres driver and imports nothing of Airflow, so a probe costs well under
0.1 s of CPU. A database that does not answer says nothing about this process: then the probe
passes, since a restart would not help.
"""

import os
import sys

import psycopg2  # type: ignore[import-untyped]

QUERY = """
SELECT extract(epoch FROM now() - max(latest_heartbeat)) FROM job
WHERE job_type = %s AND hostname = %s AND state = 'running'
"""


def main() -> int:
    """Compare the age of the newest heartbeat with the limit; 0 is alive."""
    job_type, limit = sys.argv[1], float(sys.argv[2])
    try:
        connection = psycopg2.connect("", connect_timeout=3, options="-c statement_timeout=3000")
        with connection.cursor() as cursor:
            cursor.execute(QUERY, (job_type, os.environ["POD_IP"]))
            row = cursor.fetchone()
    except psycopg2.OperationalError as error:
        print(f"the database does not answer, so nothing is known: {error}".strip())
        return 0
    age = None if row is None else row[0]
    if age is None:
        print(f"no {job_type} of this pod is running")
        return 1
    print(f"{job_type}: last heartbeat {age:.1f} s ago, limit {limit:.0f} s")
    return int(age > limit)


if __name__ == "__main__":
    sys.exit(main())
