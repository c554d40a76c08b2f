"""What the roll_out stage makes of the record it is started with."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.core.record import Record
from ml.core.settings import Settings
from ml.rollout.places import open_target
from ml.rollout.roll_out import run
from ml.stages import Stage

AS_OF = date(2013, 3, 1)
FACTS = {
    "version": "3",
    "decision": "deploy",
    "reason": "better",
    "artifact": "/nowhere",
    "sha256": "0" * 64,
}


def _job(folder: Path, upstream: str | None) -> Job:
    settings = Settings(data_url=str(folder / "data"), models_url=str(folder / "models"))
    return Job.of("parcels", AS_OF, settings, upstream)


def _started_with(folder: Path, stage: Stage, **facts: str) -> Job:
    record = Record(
        stage=stage, project="parcels", as_of=AS_OF, fingerprint="f" * 16, facts=FACTS | facts
    )
    job = _job(folder, None)
    job.stores.data.create("record.json", record.model_dump_json().encode())
    return _job(folder, job.stores.data.uri("record.json"))


def test_a_stage_without_its_upstream_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="needs --upstream"):
        run(_job(tmp_path, None))


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    upstream = _job(tmp_path, None).stores.data.uri("gone/record.json")
    with pytest.raises(BadInputError, match=r"no record .*gone/record\.json"):
        run(_job(tmp_path, upstream))


def test_a_record_of_another_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is a record of evaluate, not of register"):
        run(_started_with(tmp_path, Stage.EVALUATE))


def test_what_the_gate_refused_is_not_rolled_out(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the gate refused version 3: no better"):
        run(_started_with(tmp_path, Stage.REGISTER, decision="refuse", reason="no better"))


def test_a_version_whose_artifact_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="/nowhere can't be opened"):
        run(_started_with(tmp_path, Stage.REGISTER))


def test_an_unknown_place_is_named_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="SLIPWAY_TARGET is moon; it can be local or kub"):
        open_target("moon")
