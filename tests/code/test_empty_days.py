"""A day on which nothing happened is a day: it lands, and stops nothing from there on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.ledger import run_stage
from ml.data.landing import land
from ml.stages import Stage
from tests.code.production import Production
from tests.code.workshop import AS_OF, Workshop, parcels

pytestmark = pytest.mark.filterwarnings("default")

EMPTY, NEXT = AS_OF + timedelta(days=1), AS_OF + timedelta(days=2)
SOURCE = """\
import polars as pl


def tables(day):
    return {answer}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Production:
    """A workshop with a champion, to which nothing happened on the day after."""
    workshop = Workshop.at(tmp_path_factory.mktemp("empty"), database)
    workshop.land_window()
    done = workshop.run()
    assert done.returncode == 0, done.stderr + done.stdout
    workshop.land(EMPTY, parcels(EMPTY, rows=0))
    workshop.land(NEXT)
    return Production(workshop, workshop.folder / "local/mlflow.db")


def landed_by(workshop: Workshop, answer: str) -> Production:
    (workshop.project / "source.py").write_text(SOURCE.format(answer=answer))
    return Production(workshop, workshop.folder / "local/mlflow.db")


def test_a_day_without_rows_lands(workshop: Workshop) -> None:
    shop = landed_by(workshop, '{"parcels": pl.DataFrame({"id": []})}')
    assert land(shop.job(AS_OF), AS_OF).new == 1
    assert pl.read_parquet(workshop.landed_file(AS_OF)).height == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [("{}", "has nothing for"), ("None", "has nothing for"), ("{'x': 1}", "no table 'parcels'")],
)
def test_a_source_that_knows_nothing_of_a_day_says_so(
    workshop: Workshop, answer: str, words: str
) -> None:
    shop = landed_by(workshop, answer)
    with pytest.raises(BadInputError, match=words):
        land(shop.job(AS_OF), AS_OF)


def test_its_features_are_none(shop: Production) -> None:
    record = ""
    for verb in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES):
        told = shop.stage(verb, EMPTY, record)
        record = told["record"]
    assert shop.record(told).facts["rows"] == 0
    assert shop.record(told).outputs == {}


@pytest.mark.parametrize("as_of", [EMPTY, NEXT])
def test_a_window_with_it_is_split(shop: Production, as_of: date) -> None:
    record = ""
    for verb in (Stage.INGEST, Stage.VALIDATE, Stage.BUILD_FEATURES, Stage.SPLIT):
        job = shop.job(as_of, record)
        job = type(job)(job.project, job.as_of, job.settings, job.stores, job.upstream)
        record = run_stage(verb, job).record
    facts = shop.record({"record": record}).facts
    assert (facts["train_rows"], facts["holdout_rows"]) == (900, 150)


def test_a_window_of_nothing_is_a_sentence(workshop: Workshop) -> None:
    for back in range(8):
        day = AS_OF - timedelta(days=back)
        workshop.land(day, parcels(day, rows=0))
    done = workshop.run()
    assert done.returncode == 3
    assert "the train part of the window has no day with rows" in done.stderr


def test_it_is_scored_and_monitored(shop: Production) -> None:
    predictions = pl.read_parquet(shop.score(EMPTY))
    assert predictions.height == 0
    assert predictions.schema["score"] == pl.Float64
    monitored = shop.report(EMPTY)
    assert monitored["status"] == "done"
    found = shop.findings(shop.monitor(EMPTY))
    assert (found.window.scored, found.window.refused) == (0, 0)
    assert "no label has arrived for 0 scored rows" in found.reason


def test_a_range_with_it_adds_up(shop: Production) -> None:
    pin = shop.stage(Stage.PIN_CHAMPION, NEXT)["record"]
    told = run_stage(Stage.SCORE, replace(shop.job(NEXT, pin), days=2)).facts
    alone = shop.stage(Stage.SCORE, NEXT, pin)
    assert (told["days"], told["rows"]) == (2, 150)
    assert told["mean_score"] == alone["mean_score"]
    shop.report(NEXT)
