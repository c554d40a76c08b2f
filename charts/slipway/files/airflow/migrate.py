"""Bring Airflow's database up to date, and make the administrator where users live in it.

Called by migration.py.
"""

import os
import subprocess


def migrate() -> None:
    """Migrate, and make the user."""
    subprocess.run(["airflow", "db", "migrate"], check=True)
    if "ADMIN_USERNAME" in os.environ:
        ensure_administrator()


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


def settle() -> None:
    """Make the pool that bounds the stage pods, waiting ones included, or give it its new size."""
    from airflow.models.pool import Pool

    slots = int(os.environ["SLIPWAY_STAGE_SLOTS"])
    description = "Stage pods that run at once: airflow.stageSlots of the chart"
    Pool.create_or_update_pool("stages", slots, description, include_deferred=True)
    print(f"up to {slots} stage pods run at once", flush=True)
