"""The stages a DAG can use: what each runs as, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

POOL = "stages"
"""Airflow's pool that every stage's pod takes a place in; the chart makes it and knows its size."""


class Profile(StrEnum):
    """The pod template a stage starts from: it decides the rights and the secrets of the pod."""

    DATA = "data"
    MODEL = "model"
    ROLL_OUT = "roll_out"
    SMOKE = "smoke"


@dataclass(frozen=True)
class Stage:
    """One verb of `python -m ml`.

    `upstream` is the verb whose record this stage starts from; None for the first.
    `timeout` is the longest a healthy stage takes, waiting for its pod included.
    """

    verb: str
    profile: Profile
    upstream: str | None
    timeout: timedelta


_IN_ORDER = (
    Stage("ingest", Profile.DATA, None, timedelta(minutes=30)),
    Stage("validate", Profile.DATA, "ingest", timedelta(minutes=30)),
    Stage("build_features", Profile.DATA, "validate", timedelta(hours=1)),
    Stage("split", Profile.DATA, "build_features", timedelta(minutes=30)),
    Stage("train", Profile.MODEL, "split", timedelta(hours=4)),
    Stage("evaluate", Profile.MODEL, "train", timedelta(hours=1)),
    Stage("register", Profile.MODEL, "evaluate", timedelta(minutes=30)),
    Stage("roll_out", Profile.ROLL_OUT, "register", timedelta(hours=1)),
    Stage("pin_champion", Profile.MODEL, None, timedelta(minutes=30)),
    Stage("score", Profile.DATA, "pin_champion", timedelta(hours=4)),
    Stage("monitor", Profile.MODEL, None, timedelta(minutes=30)),
    Stage("report", Profile.MODEL, "monitor", timedelta(minutes=30)),
    Stage("smoke", Profile.SMOKE, "roll_out", timedelta(minutes=15)),
    Stage("build_artifacts", Profile.DATA, "register", timedelta(minutes=30)),
    Stage("present", Profile.DATA, "smoke", timedelta(minutes=15)),
    Stage("describe", Profile.DATA, "smoke", timedelta(minutes=30)),
)

STAGES: Mapping[str, Stage] = MappingProxyType({stage.verb: stage for stage in _IN_ORDER})
"""Every stage by its verb, in the order of the pipeline."""
