"""One flight, three ways: in training's features, in a day's scores, and asked for online.

There is one definition of the features, so the three agree to the last bit.
"""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from ml.core.project import load_code, read_project
from ml.data import parts
from ml.data.daily_features import build
from ml.data.frames import as_rows
from ml.serving.app import Limits, ServedModel, create_app
from ml.serving.artifact import fetch
from ml.serving.drain import Drain
from ml.serving.predictors import load
from tests.data.flights import tables
from tests.data.laptop import copy_flights, ml

DAY = date(2013, 3, 1)
WINDOW = 8
# How good a model of six days is does not matter here.
CHANGES = {
    "window: 60, holdout: 7": "window: 8, holdout: 2",
    "skill: 0.05": "skill: -0.4",
    "clusters: [day]": "clusters: [hour]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laptop on which the flights' model was trained on few days and has scored the last."""
    folder = tmp_path_factory.mktemp("one")
    copy_flights(folder, CHANGES)
    ml(folder, "land", "--from", str(DAY - timedelta(days=WINDOW - 1)), "--to", str(DAY))
    ml(folder, "run", "--as-of", str(DAY))
    ml(folder, "pin-champion", "--as-of", str(DAY))
    pinned = json.loads((folder / "result.json").read_text())["record"]
    ml(folder, "score", "--as-of", str(DAY), "--upstream", pinned)
    return folder


def record(folder: Path, stage: str) -> dict[str, Any]:
    (found,) = (folder / "local/data/flights" / stage / f"dt={DAY}").glob("*/record.json")
    return dict(json.loads(found.read_text()))


def table(uri: str) -> pl.DataFrame:
    return pl.read_parquet(uri.removeprefix("file://"))


def served(folder: Path) -> ServedModel:
    """The champion as a model server loads it."""
    facts = record(folder, "pin_champion")["facts"]
    manifest, content = fetch(facts["artifact"], facts["sha256"])
    return ServedModel(manifest, load(manifest, content), facts["version"], "champion")


def ask(model: ServedModel, rows: list[dict[str, Any]]) -> list[float]:
    """Send rows to the model server's own application, as JSON over HTTP, and take its answer."""

    async def post() -> httpx.Response:
        app = create_app(model, Limits(), Drain(0))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/v1/projects/flights/predict", json={"rows": rows})

    answer = asyncio.run(post())
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == model.version
    return list(answer.json()["predictions"])


def known_beforehand() -> dict[str, pl.DataFrame]:
    """The day's tables as they are before any flight has left."""
    raw = tables(DAY)
    later = read_project("flights", "").spec.known_later
    return {
        name: frame.with_columns(
            pl.lit(None, frame.schema[column]).alias(column) for column in later.get(name, [])
        )
        for name, frame in raw.items()
    }


def test_training_scoring_and_serving_see_the_same_row(folder: Path) -> None:
    """no skew: features and scores of every flight of a day, computed all three ways."""
    model = served(folder)
    columns = [column.name for column in model.manifest.columns]

    batch = record(folder, "score")
    online = build_online()
    built = record(folder, "build_features")["outputs"][str(DAY)]["uri"]
    assert batch["facts"]["features"] == built
    training = table(built)
    assert training.select("id", *columns).equals(online.select("id", *columns))

    holdout = table(record(folder, "split")["outputs"]["holdout"]["uri"])
    frozen = holdout.join(online.select("id"), on="id", how="semi", maintain_order="left")
    labelled = training.filter(pl.col("late").is_not_null())
    assert frozen.drop(parts.DAY).equals(labelled)
    assert frozen[parts.DAY].unique().to_list() == [DAY]

    scores = table(batch["outputs"]["predictions"]["uri"])
    assert scores["id"].equals(online["id"])
    rows = as_rows(online, model.manifest.columns)
    assert scores["score"].to_list() == ask(model, rows)
    assert scores["score"].to_list() == model.predictor(as_rows(training, model.manifest.columns))


def test_one_flight_alone_gets_the_score_it_has_among_all(folder: Path) -> None:
    model = served(folder)
    scores = table(record(folder, "score")["outputs"]["predictions"]["uri"])
    rows = as_rows(build_online(), model.manifest.columns)
    chosen = [0, len(rows) // 2, len(rows) - 1]
    alone = [ask(model, [rows[number]])[0] for number in chosen]
    assert alone == [scores["score"][number] for number in chosen]


def build_online() -> pl.DataFrame:
    """The features of a day that is still to come, by the project's one definition."""
    project = read_project("flights", "")
    return build(project, load_code(project).features, known_beforehand())
