"""Do a component's migration and mark it done in its database, or wait for that mark.

Usage: migration.py run | wait

`run` has the component's own migrate.py do the work, to the same end any number of times. `wait`
runs as an init container, for a bucket too when one is named: it costs one small process, so any
number of pods can wait at once.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType

LIMIT_SECONDS = 600
PAUSE_SECONDS = 1
TELL_EVERY_SECONDS = 15
TABLE = """
CREATE TABLE IF NOT EXISTS slipway_migration
  (id text PRIMARY KEY, completed_at timestamptz NOT NULL DEFAULT now())
"""
MARK = """
INSERT INTO slipway_migration (id) VALUES (%s)
  ON CONFLICT (id) DO UPDATE SET completed_at = now()
"""


def driver() -> ModuleType:
    """The first Postgres library that the image has: both read PGHOST and its siblings."""
    try:
        return importlib.import_module("psycopg2")
    except ModuleNotFoundError:
        return importlib.import_module("psycopg")


def answers() -> None:
    """Raise unless the database takes a connection."""
    driver().connect("", connect_timeout=3).close()


def mark(marker: str) -> None:
    """Record that the migration `marker` is complete."""
    with driver().connect("") as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute(MARK, (marker,))


def marked(marker: str) -> None:
    """Raise unless the database says that the migration `marker` was completed."""
    with driver().connect("", connect_timeout=3) as connection, connection.cursor() as cursor:
        # Asked first, because a query of a missing table would fill the server's log with errors.
        cursor.execute("SELECT to_regclass('slipway_migration')")
        if cursor.fetchone() == (None,):
            raise LookupError("no migration is complete")
        cursor.execute("SELECT 1 FROM slipway_migration WHERE id = %s", (marker,))
        if cursor.fetchone() is None:
            raise LookupError(f"migration {marker} is not complete")


def readable(bucket: str) -> None:
    """Raise unless this pod's keys may list `bucket`."""
    boto3 = importlib.import_module("boto3")
    config = importlib.import_module("botocore.config").Config(
        connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1}
    )
    boto3.client("s3", config=config).list_objects_v2(Bucket=bucket, MaxKeys=1)


def until(what: str, check: Callable[[], None]) -> None:
    """Call `check` until it stops raising, saying now and then why; exit 1 at the limit."""
    start = told = time.monotonic()
    while True:
        try:
            check()
        except Exception as error:  # whatever is wrong, waiting is the answer
            now = time.monotonic()
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if now - start > LIMIT_SECONDS:
                sys.exit(f"error: {what} did not come within {LIMIT_SECONDS} s: {reason}")
            if now - told > TELL_EVERY_SECONDS:
                told = now
                print(f"{now - start:4.0f} s  waiting for {what}: {reason}", flush=True)
            time.sleep(PAUSE_SECONDS)
        else:
            print(f"{time.monotonic() - start:4.0f} s  {what}: there", flush=True)
            return


def run(marker: str) -> None:
    """Wait for the database, migrate, mark; then what nothing that starts has to wait for."""
    component = importlib.import_module("migrate")  # takes seconds, as the database may
    until("the database", answers)
    start = time.monotonic()
    component.migrate()
    mark(marker)
    print(f"{time.monotonic() - start:4.0f} s  migrated", flush=True)
    component.settle()


def wait(marker: str) -> None:
    """Wait for the mark, and for the bucket when the environment names one."""
    where = f"{os.environ['PGHOST']}/{os.environ['PGDATABASE']}"
    until(f"migration {marker} of {where}", lambda: marked(marker))
    if bucket := os.environ.get("SLIPWAY_WAIT_FOR_BUCKET"):
        until(f"bucket {bucket}", lambda: readable(bucket))


if __name__ == "__main__":
    {"run": run, "wait": wait}[sys.argv[1]](os.environ["SLIPWAY_MIGRATION"])
