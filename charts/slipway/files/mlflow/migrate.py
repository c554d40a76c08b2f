"""Bring MLflow's two databases up to date, make its users, mark it done.

Runs to the same end any number of times. The server's pods wait for the mark (wait.py).
"""

import os
import sys
import time

import mlflow.db
import psycopg
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

LIMIT_SECONDS = 600
MARK = """
CREATE TABLE IF NOT EXISTS slipway_migration
  (id text PRIMARY KEY, completed_at timestamptz NOT NULL DEFAULT now());
"""
MARK_ROW = """
INSERT INTO slipway_migration (id) VALUES (%s)
  ON CONFLICT (id) DO UPDATE SET completed_at = now();
"""


def wait_for_database() -> None:
    """Return once the database takes a connection."""
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            psycopg.connect("", connect_timeout=3).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > end:
                sys.exit(f"error: {os.environ['PGHOST']} does not answer: {error}".strip())
            time.sleep(1)
        else:
            return


def migrate_tracking(url: str) -> None:
    """`mlflow db upgrade`, called in this process: another start of Python costs seconds."""
    mlflow.db.commands(["upgrade", url], standalone_mode=False)


def ensure_user(store: SqlAlchemyStore, prefix: str, *, admin: bool) -> None:
    """The user of the Secret in <prefix>_USERNAME and _PASSWORD, with that password and role."""
    name, password = os.environ[f"{prefix}_USERNAME"], os.environ[f"{prefix}_PASSWORD"]
    if not store.has_user(name):
        store.create_user(name, password, is_admin=admin)
    elif not store.authenticate_user(name, password) or store.get_user(name).is_admin != admin:
        store.update_user(name, password=password, is_admin=admin)
    print(f"user {name} is there", flush=True)


def mark(migration: str) -> None:
    """Record that this migration is complete."""
    with psycopg.connect("") as connection:
        connection.execute(MARK)
        connection.execute(MARK_ROW, (migration,))


def main() -> None:
    """Wait, migrate both databases, make the users, mark."""
    start = time.monotonic()
    wait_for_database()
    print(f"{time.monotonic() - start:4.0f} s  the database answers", flush=True)
    migrate_tracking(os.environ["MLFLOW_BACKEND_STORE_URI"])
    store = SqlAlchemyStore()
    store.init_db(os.environ["AUTH_DATABASE_URI"])  # type: ignore[no-untyped-call]
    ensure_user(store, "ADMIN", admin=True)
    ensure_user(store, "STAGES", admin=False)
    mark(os.environ["SLIPWAY_MIGRATION"])
    print(f"{time.monotonic() - start:4.0f} s  migrated", flush=True)


if __name__ == "__main__":
    main()
