"""Where stages run and where their inputs are, read from the environment of the Airflow process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from slipway_mlflow.links import mlflow_ui_url


class StagePlace(StrEnum):
    """Where stages run: as pods of the cluster, or as processes beside Airflow."""

    PODS = "pods"
    LOCAL = "local"


_LANDING = {StagePlace.PODS: "s3://landing", StagePlace.LOCAL: "local/landing"}


@dataclass(frozen=True)
class DagEnvironment:
    """What the environment says to the DAG files.

    `landing_url` is an `s3://` address or a folder; `mlflow_ui_url` is where browsers find MLflow.
    """

    place: StagePlace
    pods_dir: str
    namespace: str
    landing_url: str
    in_cluster: bool
    mlflow_ui_url: str

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> DagEnvironment:
        """Read `SLIPWAY_STAGES`, `SLIPWAY_PODS_DIR`, `SLIPWAY_NAMESPACE`, `SLIPWAY_LANDING_URL`
        and `SLIPWAY_MLFLOW_UI_URL`.

        Raises ValueError when `SLIPWAY_STAGES` names no place that exists.
        """
        place = _place(env.get("SLIPWAY_STAGES", StagePlace.PODS))
        return cls(
            place=place,
            pods_dir=env.get("SLIPWAY_PODS_DIR", "/opt/slipway-pods"),
            namespace=env.get("SLIPWAY_NAMESPACE", "slipway"),
            in_cluster="KUBERNETES_SERVICE_HOST" in env,  # else a kubeconfig says where
            landing_url=env.get("SLIPWAY_LANDING_URL", _LANDING[place]).rstrip("/"),
            mlflow_ui_url=mlflow_ui_url(env),
        )


def _place(name: str) -> StagePlace:
    try:
        return StagePlace(name)
    except ValueError:
        places = " or ".join(f"`{place}`" for place in StagePlace)
        raise ValueError(f"SLIPWAY_STAGES is `{name}`: set it to {places}") from None
