"""Scoring whole days: the pinned version, the good rows, once; and everything that can be wrong."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ml.core.record import Result, Status
from ml.data.sift import TWICE
from ml.scoring.score import in_short, servable
from ml.serving.inputs import INFINITE
from ml.serving.manifest import Column
from ml.stages import Stage
from tests.code.workshop import AS_OF, PROJECT, Workshop, parcels

NUMBERS = count(1)


@pytest.fixture
def day() -> date:
    """A day of the test's own, in the workshop that all of them share."""
    return AS_OF + timedelta(days=10 * next(NUMBERS))


@pytest.fixture(scope="module")
def pinned(finished: Workshop) -> str:
    """The record of the champion that the one training run has left."""
    done = finished.run("pin-champion")
    assert done.returncode == 0, done.stderr
    return str(finished.result()["record"])


def score(
    workshop: Workshop, record: str, day: date, *options: str
) -> subprocess.CompletedProcess[str]:
    given = ("-p", PROJECT, "--as-of", str(day), "--upstream", record)
    return workshop.ml("score", *given, *options)


def scored(workshop: Workshop, record: str, day: date, *options: str) -> dict[str, Any]:
    """Score a day that can be scored; return its record."""
    done = score(workshop, record, day, *options)
    assert done.returncode == 0, done.stderr
    return read(str(workshop.result()["record"]))


def read(uri: str) -> dict[str, Any]:
    return dict(json.loads(Path(uri.removeprefix("file://")).read_text()))


def pinned_with(pinned: str, **facts: str) -> str:
    """Write a pin that differs from the real one in some facts."""
    name = "-".join(facts)
    other = pinned.replace(pinned.split("/")[-2], name)
    file = Path(other.removeprefix("file://"))
    file.parent.mkdir()
    record = read(pinned)
    file.write_text(json.dumps(record | {"facts": record["facts"] | facts}))
    return other


def rows_of(record: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(record["outputs"]["predictions"]["uri"].removeprefix("file://"))


def test_every_row_gets_the_pinned_version(finished: Workshop, pinned: str, day: date) -> None:
    finished.land(day)
    record = scored(finished, pinned, day)
    pin = read(pinned)["facts"]
    rows = rows_of(record)
    assert rows.schema == {
        "id": pl.String(),
        "score": pl.Float64(),
        "model_version": pl.String(),
        "model_sha256": pl.String(),
        "as_of": pl.Date(),
    }
    assert rows["id"].to_list() == parcels(day)["id"].to_list()
    assert rows["score"].is_between(0, 1).all()
    assert rows["score"].n_unique() > 50
    for column, value in (("version", pin["version"]), ("sha256", pin["sha256"]), (None, day)):
        name = f"model_{column}" if column else "as_of"
        assert rows[name].unique().to_list() == [value]
    assert record["facts"]["rows"] == 150
    assert record["facts"]["mean_score"] == pytest.approx(rows["score"].mean(), abs=1e-6)
    assert record["facts"]["features"].endswith(".parquet")
    assert record["outputs"]["predictions"]["uri"].startswith(
        f"file://{finished.folder}/local/data/{PROJECT}/score/dt={day}/{record['fingerprint']}/"
    )
    told = finished.result()
    assert (told["rows"], told["refused"], told["reasons"]) == (150, 0, {})


def test_same_day_and_version_again_is_nothing_to_do(
    finished: Workshop, pinned: str, day: date
) -> None:
    finished.land(day)
    first = scored(finished, pinned, day)
    before = finished.published()
    assert scored(finished, pinned, day) == first
    assert finished.result()["status"] == "skipped"
    assert finished.result()["rows"] == 150
    assert finished.published() == before


def test_a_new_version_writes_beside_the_old(finished: Workshop, pinned: str, day: date) -> None:
    finished.land(day)
    old = scored(finished, pinned, day)
    new = scored(finished, pinned_with(pinned, version="2"), day)
    assert new["facts"]["features"] == old["facts"]["features"]
    assert rows_of(new)["model_version"].unique().to_list() == ["2"]
    assert rows_of(old)["model_version"].unique().to_list() == ["1"]
    assert rows_of(new)["score"].equals(rows_of(old)["score"])


def test_a_day_that_lands_again_is_scored_again(finished: Workshop, pinned: str, day: date) -> None:
    """late data: half of a day landed first, the whole day later."""
    finished.land(day, parcels(day).head(60))
    half = scored(finished, pinned, day)
    finished.land(day)
    whole = scored(finished, pinned, day)
    assert (half["facts"]["rows"], whole["facts"]["rows"]) == (60, 150)
    assert rows_of(half).height == 60
    assert half["facts"]["features"] != whole["facts"]["features"]


def test_features_are_the_ones_that_the_etl_has_built(
    finished: Workshop, pinned: str, day: date
) -> None:
    finished.land(day)
    assert finished.ml("ingest", "-p", PROJECT, "--as-of", str(day), "--days", "1").returncode == 0
    for stage in ("validate", "build-features"):
        given = ("-p", PROJECT, "--as-of", str(day), "--upstream", finished.result()["record"])
        assert finished.ml(stage, *given).returncode == 0
    built = read(finished.result()["record"])["outputs"][str(day)]["uri"]
    before = set(finished.published())
    assert scored(finished, pinned, day)["facts"]["features"] == built
    new = {Path(name).parent for name in set(finished.published()) - before}
    assert [str(folder).split("/")[3] for folder in new] == ["score"]


def test_a_range_is_one_file_a_day(finished: Workshop, pinned: str, day: date) -> None:
    for back in range(3):
        finished.land(day - timedelta(days=back), parcels(day - timedelta(days=back), 40 + back))
    assert score(finished, pinned, day - timedelta(days=2)).returncode == 0
    scored(finished, pinned, day, "--days", "3")
    told = finished.result()
    assert (told["days"], told["rows"], told["status"]) == (3, 123, "done")
    folders = [f"dt={day - timedelta(days=back)}" for back in range(3)]
    made = finished.folder / "local/data" / PROJECT / "score"
    assert [len(list((made / one).glob("*/record.json"))) for one in folders] == [1, 1, 1]


def spoilt(day: date, *columns: pl.Expr) -> pl.DataFrame:
    return parcels(day).with_row_index("n").with_columns(*columns).drop("n")


def on_row(row: int, value: object, column: str) -> pl.Expr:
    return pl.when(pl.col("n") == row).then(pl.lit(value)).otherwise(column).alias(column)


def test_bad_rows_are_counted_and_the_rest_is_scored(
    finished: Workshop, pinned: str, day: date
) -> None:
    frame = spoilt(day, on_row(0, 150.0, "weight"), on_row(1, None, "depot"))
    twice = frame.with_columns(
        id=pl.when(pl.col("id").is_in(frame["id"][2:4])).then(pl.lit("same")).otherwise("id")
    )
    finished.land(day, twice)
    record = scored(finished, pinned, day)
    expected = {"weight is out of 0..100": 1, "depot is missing": 1, TWICE: 2}
    assert record["facts"]["reasons"] == expected
    assert finished.result()["reasons"] == expected
    assert (record["facts"]["refused"], record["facts"]["rows"]) == (4, 146)
    assert rows_of(record)["id"].to_list() == parcels(day)["id"].to_list()[4:]


def test_text_among_numbers_costs_its_own_row_only(
    finished: Workshop, pinned: str, day: date
) -> None:
    text = pl.col("weight").cast(pl.String)
    finished.land(
        day,
        spoilt(day, text).with_row_index("n").with_columns(on_row(7, "heavy", "weight")).drop("n"),
    )
    record = scored(finished, pinned, day)
    assert record["facts"]["reasons"] == {"weight is not float": 1}
    whole = day + timedelta(days=1)
    finished.land(whole, parcels(day))
    same = rows_of(record).join(rows_of(scored(finished, pinned, whole)), on="id")
    assert same["score"].equals(same["score_right"])
    assert same.height == 149


def test_what_is_not_known_yet_refuses_nothing(finished: Workshop, pinned: str, day: date) -> None:
    """The delay of a parcel that is under way is no reason not to tell whether it will be late."""
    finished.land(day, parcels(day).with_columns(hours=pl.lit("under way")))
    assert scored(finished, pinned, day)["facts"]["rows"] == 150


def nothing_landed(workshop: Workshop, day: date) -> None:
    del workshop, day


def corrupt(workshop: Workshop, day: date) -> None:
    workshop.land(day)
    file = workshop.landed_file(day)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(bytes(content))


def cut_short(workshop: Workshop, day: date) -> None:
    workshop.land(day)
    file = workshop.landed_file(day)
    file.write_bytes(file.read_bytes()[:-100])


def column_gone(workshop: Workshop, day: date) -> None:
    workshop.land(day, parcels(day).drop("weight"))


def all_rows_bad(workshop: Workshop, day: date) -> None:
    workshop.land(day, parcels(day).with_columns(weight=pl.lit(-1.0)))


DAYS: list[tuple[Callable[[Workshop, date], None], list[str]]] = [
    (nothing_landed, ["no partition has landed for", "python -m ml land"]),
    (corrupt, ["parcels.parquet", "sha256"]),
    (cut_short, ["parcels.parquet", "cut short"]),
    (column_gone, ["no column 'weight'"]),
    (all_rows_bad, ["no row of", "weight is out of 0..100 (150)"]),
]


@pytest.mark.parametrize(("spoil", "words"), DAYS, ids=[spoil.__name__ for spoil, _ in DAYS])
def test_a_day_that_cannot_be_scored_is_named_and_leaves_nothing(
    finished: Workshop,
    pinned: str,
    day: date,
    spoil: Callable[[Workshop, date], None],
    words: list[str],
) -> None:
    spoil(finished, day)
    before = {name for name in finished.published() if "/score/" in name}
    done = score(finished, pinned, day)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert [word for word in [*words, str(day)] if word not in done.stderr] == []
    assert finished.result()["status"] == "failed"
    assert {name for name in finished.published() if "/score/" in name} == before


def test_a_missing_day_stops_a_range_before_it_begins(
    finished: Workshop, pinned: str, day: date
) -> None:
    finished.land(day)
    before = finished.published()
    done = score(finished, pinned, day, "--days", "3")
    assert done.returncode == 3
    assert f"{day - timedelta(days=2)} to {day - timedelta(days=1)}" in done.stderr
    assert finished.published() == before


def test_without_a_champion_it_is_said_how_to_get_one(workshop: Workshop) -> None:
    done = workshop.run("pin-champion")
    assert done.returncode == 3
    assert "no version of 'parcels' is champion yet" in done.stderr
    assert "ml_training_pipeline" in done.stderr
    assert workshop.published() == {}


def test_another_record_is_no_pin(finished: Workshop, day: date) -> None:
    finished.land(day)
    trained = next((finished.folder / "local/data/parcels/train").rglob("record.json"))
    assert "pin_champion for parcels" in score(finished, f"file://{trained}", day).stderr
    without = finished.run("score", as_of=day)
    assert (without.returncode, "--upstream is missing" in without.stderr) == (3, True)


def test_a_champion_that_is_damaged_is_named(finished: Workshop, pinned: str, day: date) -> None:
    finished.land(day)
    done = score(finished, pinned_with(pinned, sha256="0" * 64), day)
    assert done.returncode == 3
    assert "version 1 can't be scored with" in done.stderr


def test_rows_that_the_server_would_refuse_are_refused() -> None:
    columns = [
        Column(name="n", type="int"),
        Column(name="x", type="float", nullable=True),
    ]
    frame = pl.DataFrame({"n": [1, None, 3, 4], "x": [0.5, 0.5, float("inf"), None]})
    sifted = servable(frame, columns)
    assert sifted.reasons == {"n is missing": 1, f"x {INFINITE}": 1}
    assert sifted.frame["n"].to_list() == [1, 4]


def results() -> Iterator[Result]:
    for number, rows in enumerate((100, 300)):
        yield Result(
            stage=Stage.SCORE,
            status=Status.DONE if number else Status.SKIPPED,
            record=f"s3://data/{number}",
            facts={
                "version": "3",
                "rows": rows,
                "mean_score": 0.1 + number / 10,
                "refused": 31,
                "reasons": {f"{'c' * 90}{n} is missing": 1 for n in range(31)},
            },
        )


def test_days_are_summed_up_within_the_limit_of_a_result() -> None:
    told = in_short(list(results()))
    assert told.facts["rows"] == 400
    assert told.facts["mean_score"] == 0.175
    assert told.facts["refused"] == 62
    assert told.status is Status.DONE
    assert isinstance(told.facts["reasons"], dict)
    assert Counter(told.facts["reasons"]).total() == 62
    assert len(told.as_json().encode()) <= 1024
