"""Bring MLflow's two databases up to date, and make its users. Called by migration.py."""

import os

import mlflow.db
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore


def migrate() -> None:
    """Migrate both databases, and make the users."""
    migrate_tracking(os.environ["MLFLOW_BACKEND_STORE_URI"])
    store = SqlAlchemyStore()
    store.init_db(os.environ["AUTH_DATABASE_URI"])  # type: ignore[no-untyped-call]
    ensure_user(store, "ADMIN", admin=True)
    ensure_user(store, "STAGES", admin=False)


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


def settle() -> None:
    """Nothing is left to do once the server may start."""
