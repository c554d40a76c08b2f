"""Tells Airflow of the connection type `mlflow`: its hook, and its form in the UI.

Airflow takes connection types from installed distributions alone, not from plugins. The folder
`slipway_mlflow-0.1.0.dist-info` beside this one makes the plugins folder one, for any Python that
has it in PYTHONPATH, as the image and `local.env` do.
"""

from __future__ import annotations

from typing import Any

FIELDS: dict[str, Any] = {
    "https": {
        "label": "HTTPS",
        "description": "Speak TLS. Not needed when the host starts with https://.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "File with the certificates to trust, instead of the machine's.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds an answer may take.",
        "schema": {"type": ["number", "null"], "default": 30, "exclusiveMinimum": 0},
    },
    "ui_url": {
        "label": "Address for browsers",
        "description": "Where links lead to. Empty: SLIPWAY_MLFLOW_UI_URL.",
        "schema": {"type": ["string", "null"]},
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow asks every provider for."""
    return {
        "package-name": "slipway-mlflow",
        "name": "MLflow",
        "description": "Hook, operators, sensors and links for MLflow's model registry.",
        "connection-types": [
            {
                "connection-type": "mlflow",
                "hook-class-name": "slipway_mlflow.hook.MlflowHook",
                "hook-name": "MLflow",
                "conn-fields": FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "extra"],
                    "relabeling": {"host": "Host", "login": "User"},
                    "placeholders": {"host": "mlflow, or https://mlflow.example.org"},
                },
            }
        ],
    }
