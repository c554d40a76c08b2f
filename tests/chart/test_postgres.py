"""The hook that makes Postgres' roles, with a server that takes its time."""

from __future__ import annotations

import subprocess

import pytest

from tests.chart.rendering import CHART

# The commands of the hook as functions: each question takes ten minutes on the script's own clock.
HOOK = """
pg_isready() {{ SECONDS=$((SECONDS + 600)); ((SECONDS > 36000)) || return {until_then}; }}
psql() {{ cat >/dev/null; }}
sleep() {{ :; }}
source "$0"
"""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "POSTGRES_USER": "postgres",
    "POSTGRES_PASSWORD_FILE": "/dev/null",
    "SLIPWAY_DATABASES": "airflow airflow",
}


@pytest.mark.parametrize(("until_then", "code"), [(1, 0), (2, 1)], ids=["recovers", "is silent"])
def test_the_hook_waits_for_a_server_that_recovers_and_gives_up_one_that_is_silent(
    until_then: int, code: int
) -> None:
    done = subprocess.run(
        ["bash", "-c", HOOK.format(until_then=until_then), CHART / "files/postgres/roles.sh"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("Postgres has not answered for 1800 s" in done.stderr) == bool(code)
