"""Registers with Airflow what tells people how runs end; `notifications` holds all of it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from notifications.listener import Notifications
from notifications.outbox import OUTBOX


class NotificationsPlugin(AirflowPlugin):
    """Registers the listener with Airflow."""

    name = "notifications"
    listeners = [Notifications(OUTBOX)]  # noqa: RUF012 - Airflow wants a list
