"""A version goes on with the recipe it was trained by: at the gate, in batch and in monitoring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.ledger import run_stage
from ml.core.record import Record
from ml.data.landing import publish_partition
from ml.stages import Stage
from tests.code.production import Production, put_back
from tests.code.workshop import AS_OF, PROJECT, Workshop, parcels

# MLflow's own libraries are used in ways that they call outdated.
pytestmark = pytest.mark.filterwarnings("default")

DAY = AS_OF + timedelta(days=2)
UP_TO_THE_GATE = (*list(Stage)[: list(Stage).index(Stage.EVALUATE)], Stage.EVALUATE)
SELECT = '"id", "depot", "weight", "stops", late=pl.col("hours") > 24'
CHANGES = {
    "formatting": SELECT.replace(", ", ",  "),
    "a column renamed": SELECT.replace('"stops"', 'halts="stops"'),
    "a column retyped": SELECT.replace('"stops"', 'pl.col("stops").cast(pl.String)'),
    "a column rescaled": SELECT.replace('"weight"', 'pl.col("weight") / 1000'),
    "a column turned round": SELECT.replace('"weight"', '-pl.col("weight")'),
    "a column left out": SELECT.replace('"stops", ', ""),
}
WORSE = SELECT.replace('"weight", "stops"', 'weight=pl.col("weight") * 0, halts=pl.lit(1)')


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Workshop:
    """A workshop with a champion, version 1, and the days of another window."""
    workshop = Workshop.at(tmp_path_factory.mktemp("recipe"), database)
    workshop.land_window(DAY, days=10)
    done = workshop.run()
    assert done.returncode == 0, done.stderr + done.stdout
    return workshop


@pytest.fixture
def shop(trained: Workshop, tmp_path: Path) -> Iterator[Production]:
    """The workshop as it was after the training."""
    with put_back(trained, tmp_path / "mlflow.db") as shop:
        yield shop


def rewrite(shop: Production, select: str) -> None:
    file = shop.workshop.project / "model.py"
    text = file.read_text()
    assert text.count(SELECT) == 1
    file.write_text(text.replace(SELECT, select))


def declare(shop: Production, old: str, new: str) -> None:
    file = shop.workshop.project / "project.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def evaluated(shop: Production, day: date = DAY) -> Record:
    """Make a candidate for a day and return what the gate said of it."""
    record = ""
    for verb in UP_TO_THE_GATE:
        record = run_stage(verb, replace(shop.job(day, record), days=None)).record
    return shop.record({"record": record})


@pytest.fixture(scope="module")
def own_score(trained: Workshop, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What the champion is worth on the days, measured with nothing changed."""
    with put_back(trained, tmp_path_factory.mktemp("own") / "mlflow.db") as shop:
        return float(evaluated(shop).facts["champion_score"])


@pytest.mark.parametrize("change", CHANGES)
def test_the_champion_is_measured_by_its_own_recipe(
    own_score: float, shop: Production, change: str
) -> None:
    rewrite(shop, CHANGES[change])
    facts = evaluated(shop).facts
    assert facts["champion_score"] == own_score > 0.8
    assert facts["holdout_rows"] == 300


def test_a_far_worse_model_on_other_columns_is_refused(shop: Production) -> None:
    rewrite(shop, WORSE)
    facts = evaluated(shop).facts
    assert facts["decision"] == "refuse"
    assert facts["candidate_score"] < facts["champion_score"] - 0.1


def without_stops(shop: Production) -> None:
    """The landed data loses a column that the champion cannot do without."""
    for back in range(10):
        day = DAY - timedelta(days=back)
        shop.workshop.land(day, parcels(day).drop("stops"))
    rewrite(shop, CHANGES["a column left out"])


def test_a_champion_that_cannot_be_measured_is_not_replaced(shop: Production) -> None:
    without_stops(shop)
    facts = evaluated(shop).facts
    assert facts["decision"] == "refuse"
    assert facts["champion_score"] is None
    assert "version 1, can't be measured on these days: features() failed" in facts["reason"]
    assert "write `replace: 1` under gate in project.yaml" in facts["reason"]


@pytest.mark.parametrize(("named", "decision"), [(1, "deploy"), (2, "refuse")])
def test_only_the_version_that_a_person_names_is_replaced_unmeasured(
    shop: Production, named: int, decision: str
) -> None:
    without_stops(shop)
    declare(shop, "gate: {", f"gate: {{replace: {named}, ")
    facts = evaluated(shop).facts
    assert facts["decision"] == decision
    assert "can't be measured" in facts["reason"]


def test_what_is_allowed_unmeasured_must_still_be_good(shop: Production) -> None:
    without_stops(shop)
    declare(shop, "gate: {min_skill: 0.05", "gate: {replace: 1, min_skill: 0.49")
    assert "not surely above" in evaluated(shop).facts["reason"]


def test_a_champion_that_sees_nothing_of_the_days_is_told(shop: Production) -> None:
    """What was its main table holds nothing by then, and on the last day nothing happened."""
    for back in range(10):
        day = DAY - timedelta(days=back)
        letters = parcels(day, 0 if day == DAY else 150)
        tables = {"letters": letters, "parcels": parcels(day, 150 if back > 1 else 0)}
        publish_partition(shop.workshop.landing, PROJECT, day, tables)
    rewrite(shop, SELECT)
    file = shop.workshop.project / "model.py"
    file.write_text(file.read_text().replace('tables["parcels"]', 'tables["letters"]'))
    columns = "{key: [id], columns: {id: str, hours: float or null}}"
    declare(shop, "tables:\n", f"tables:\n  letters: {columns}\n")
    facts = evaluated(shop).facts
    assert facts["decision"] == "refuse"
    assert "its table 'parcels' has no rows on them" in facts["reason"]


def test_a_champion_whose_features_differ_by_day_is_told(shop: Production) -> None:
    """The landed data has changed its type in a column that the rules leave free."""
    shop.workshop.land(DAY, parcels(DAY).with_columns(pl.col("stops").cast(pl.String)))
    rewrite(shop, CHANGES["a column left out"])
    facts = evaluated(shop).facts
    assert facts["decision"] == "refuse"
    assert "its features differ from day to day" in facts["reason"]


def test_rows_that_only_one_side_sees_are_not_compared(shop: Production) -> None:
    rewrite(shop, SELECT + '\n    ).filter(pl.col("id").str.ends_with("7").not_()')
    assert evaluated(shop).facts["holdout_rows"] == 270


def test_a_candidate_that_picks_its_rows_is_not_compared(shop: Production) -> None:
    rewrite(shop, SELECT + '\n    ).filter(pl.col("weight") < 20')
    facts = evaluated(shop).facts
    assert facts["decision"] == "refuse"
    assert "of 300 rows that one of the two sees" in facts["reason"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_day_is_scored_by_the_recipe_of_its_version(shop: Production, change: str) -> None:
    before = pl.read_parquet(shop.score(DAY))
    rewrite(shop, CHANGES[change])
    after = shop.record(shop.stage(Stage.SCORE, DAY, pin(shop)))
    rows = pl.read_parquet(after.outputs["predictions"].uri.removeprefix("file://"))
    assert rows.equals(before)


def test_a_day_that_its_recipe_cannot_read_says_whose_recipe_it_is(shop: Production) -> None:
    without_stops(shop)
    with pytest.raises(BadInputError, match="scored by the recipe that it was trained by"):
        shop.score(DAY)


def pin(shop: Production) -> str:
    return str(shop.stage(Stage.PIN_CHAMPION, DAY)["record"])


def test_labels_are_those_that_the_version_was_taught(shop: Production) -> None:
    """What late means may change; the model in use is not worse for it."""
    shop.prepare(DAY)
    shop.score(DAY)
    before = shop.monitor(DAY)
    rewrite(shop, SELECT.replace("late=", "slow=").replace("> 24", "< 24"))
    declare(shop, "target: late", "target: slow")
    shop.prepare(DAY)
    assert shop.monitor(DAY) == before | {"status": "skipped"}


def test_a_recipe_that_is_gone_is_told(shop: Production) -> None:
    (recipe,) = (shop.workshop.folder / f"local/models/{PROJECT}/recipes").iterdir()
    recipe.unlink()
    with pytest.raises(BadInputError, match=f"{recipe.name}, the recipe of a version, is gone"):
        shop.score(DAY)


def test_a_recipe_that_was_changed_is_told(shop: Production) -> None:
    (recipe,) = (shop.workshop.folder / f"local/models/{PROJECT}/recipes").iterdir()
    recipe.write_text(recipe.read_text().replace("> 24", "> 12"))
    with pytest.raises(BadInputError, match="is damaged"):
        shop.score(DAY)


def test_a_version_from_before_recipes_takes_todays_where_it_fits(shop: Production) -> None:
    shop.client.delete_model_version_tag(PROJECT, "1", "slipway.recipe")
    assert evaluated(shop).facts["champion_score"] > 0.8
    rewrite(shop, CHANGES["a column retyped"])
    facts = evaluated(shop).facts
    assert facts["decision"] == "refuse"
    assert "of the columns that it looks at, 'stops' is str, not int" in facts["reason"]
    with pytest.raises(BadInputError, match="can't look at today's features: 'stops' is str"):
        shop.score(DAY)
