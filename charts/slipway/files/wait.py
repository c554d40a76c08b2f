"""Wait until a migration has marked its database, and until a bucket can be read when one is named.

Runs as an init container. It costs one small process, so any number of pods can wait at once.
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


def driver() -> ModuleType:
    """The first Postgres library that the image has: both read PGHOST and its siblings."""
    try:
        return importlib.import_module("psycopg2")
    except ModuleNotFoundError:
        return importlib.import_module("psycopg")


def migrated(marker: str) -> None:
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


def main() -> None:
    """Wait for what the environment names."""
    marker = os.environ["SLIPWAY_MIGRATION"]
    where = f"{os.environ['PGHOST']}/{os.environ['PGDATABASE']}"
    until(f"migration {marker} of {where}", lambda: migrated(marker))
    if bucket := os.environ.get("SLIPWAY_WAIT_FOR_BUCKET"):
        until(f"bucket {bucket}", lambda: readable(bucket))


if __name__ == "__main__":
    main()
