"""Bring Airflow's database up to date, make the administrator where users live in it, mark it done.

Runs to the same end any number of times. Pods that need the database wait for the mark (wait.py).
"""

import os
import subprocess
import sys
import time

import psycopg2  # type: ignore[import-untyped]

LIMIT_SECONDS = 600
MARK = """
CREATE TABLE IF NOT EXISTS slipway_migration
  (id text PRIMARY KEY, completed_at timestamptz NOT NULL DEFAULT now());
INSERT INTO slipway_migration (id) VALUES (%s)
  ON CONFLICT (id) DO UPDATE SET completed_at = now();
"""


def wait_for_database() -> None:
    """Return once the database takes a connection."""
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            psycopg2.connect("", connect_timeout=3).close()
        except psycopg2.OperationalError as error:
            if time.monotonic() > end:
                sys.exit(f"error: {os.environ['PGHOST']} does not answer: {error}".strip())
            time.sleep(1)
        else:
            return


def ensure_administrator() -> None:
    """Give the FAB auth manager its administrator with the password of the Secret."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    name, password = os.environ["ADMIN_USERNAME"], os.environ["ADMIN_PASSWORD"]
    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        if user := manager.find_user(name):
            manager.reset_password(user.id, password)
        else:
            role = manager.find_role("Admin")
            manager.add_user(name, "Slipway", "Administrator", f"{name}@localhost", role, password)
    print(f"administrator {name} is there", flush=True)


def set_stage_slots(slots: int) -> None:
    """Make the pool that bounds the stage pods, waiting ones included, or give it its new size."""
    from airflow.models.pool import Pool

    description = "Stage pods that run at once: airflow.stageSlots of the chart"
    Pool.create_or_update_pool("stages", slots, description, include_deferred=True)
    print(f"up to {slots} stage pods run at once", flush=True)


def mark(migration: str) -> None:
    """Record that this migration is complete."""
    with psycopg2.connect("") as connection, connection.cursor() as cursor:
        cursor.execute(MARK, (migration,))


def main() -> None:
    """Wait, migrate, make the user, mark, set the pool."""
    start = time.monotonic()
    wait_for_database()
    print(f"{time.monotonic() - start:4.0f} s  the database answers", flush=True)
    subprocess.run(["airflow", "db", "migrate"], check=True)
    if "ADMIN_USERNAME" in os.environ:
        ensure_administrator()
    mark(os.environ["SLIPWAY_MIGRATION"])
    print(f"{time.monotonic() - start:4.0f} s  migrated", flush=True)
    # After the mark, as nothing that starts needs to wait for it.
    set_stage_slots(int(os.environ["SLIPWAY_STAGE_SLOTS"]))


if __name__ == "__main__":
    main()
