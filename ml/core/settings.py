"""Everything the environment decides, read once at the command line's edge."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ml.core.errors import BadInputError

PREFIX = "SLIPWAY_"
LOCAL_MLFLOW = "sqlite:///local/mlflow.db"


def as_url(place: str) -> str:
    """Turn a plain folder into a file:// URL and leave any other URL as it is."""
    if "://" in place:
        return place.rstrip("/")
    return Path(place).absolute().as_uri()


class Settings(BaseModel):
    """Where data, models and MLflow are; with nothing set, under ./local.

    Each field is the variable SLIPWAY_<FIELD>, but for MLflow's own MLFLOW_TRACKING_URI.
    """

    # Plain pydantic, as pydantic-settings would double the start-up time of every stage.
    model_config = ConfigDict(frozen=True, validate_default=True)

    landing_url: str = "local/landing"
    data_url: str = "local/data"
    models_url: str = "local/models"
    tracking_uri: str = LOCAL_MLFLOW
    projects_path: str = ""
    result_path: Path | None = None
    revision: str = "unversioned"
    target: str = "local"
    # Where the deployed models answer, `{project}` in it; empty where no server runs.
    serving_url: str = ""
    # Packages that the model server's image has beyond ours, separated by spaces.
    serving_packages: str = ""
    dag_id: str = ""
    task_id: str = ""
    airflow_run_id: str = ""
    debug: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Take the settings from environment variables; an empty one counts as not set.

        Raises BadInputError naming the variable that says nothing sensible.
        """
        given = {name: environment.get(PREFIX + name.upper()) for name in cls.model_fields}
        given["tracking_uri"] = environment.get("MLFLOW_TRACKING_URI")
        try:
            return cls.model_validate({name: value for name, value in given.items() if value})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            raise BadInputError(f"{PREFIX}{name.upper()}: {first['msg']}") from error

    @field_validator("landing_url", "data_url", "models_url")
    @classmethod
    def _absolute(cls, place: str) -> str:
        return as_url(place)
