"""What of all that happens people want to be told, as the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow.configuration import conf
from slipway_mlflow.links import mlflow_ui_url

from notifications.notices import Event, Places


@dataclass(frozen=True)
class Subscription:
    """Where the addresses are, which events are sent, and where people find the interfaces."""

    file: Path
    events: frozenset[Event]
    places: Places

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Subscription | None:
        """Read SLIPWAY_NOTIFICATIONS_FILE, SLIPWAY_NOTIFICATIONS_EVENTS, SLIPWAY_MLFLOW_UI_URL.

        None when there is no file, so nothing is to be sent; no events means all of them.
        Raises ValueError when an event is none of those there are.
        """
        if not (file := env.get("SLIPWAY_NOTIFICATIONS_FILE")):
            return None
        names = env.get("SLIPWAY_NOTIFICATIONS_EVENTS", "").replace(",", " ").split()
        airflow = conf.get("api", "base_url", fallback="") or "http://localhost:8080"
        places = Places(airflow.rstrip("/"), mlflow_ui_url(env))
        return cls(
            Path(file), frozenset(_event(name) for name in names) or frozenset(Event), places
        )


def _event(name: str) -> Event:
    try:
        return Event(name)
    except ValueError:
        known = ", ".join(Event)
        raise ValueError(
            f"SLIPWAY_NOTIFICATIONS_EVENTS has `{name}`: it may have {known}"
        ) from None
