"""A row that a model can't score costs itself and no other, online and in batch."""

from __future__ import annotations

import io
import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.project import read_project
from ml.data import parts
from ml.data.daily_features import build
from ml.data.frames import columns_of
from ml.scoring.score import MOST_REASONS, OTHER, PinnedModel, Tally, score, servable
from ml.serving.app import ServedModel
from ml.serving.inputs import INFINITE
from ml.serving.manifest import Column, Row
from ml.serving.refusals import NO_NUMBER, Answers, Halving, Refusal, ask
from ml.serving.rows import row_schema
from ml.training.evaluate import measure
from ml.training.rival import _scores
from ml.training.train import _signature
from tests.code.trained import AS_IT_COMES, KNOWS_ALL, TARGETS, Shop, post, rows, sample

# The same, with a part that ONNX can't express.
AS_IT_COMES_ITSELF = AS_IT_COMES.replace("StandardScaler(), [", "SplineTransformer(), [").replace(
    "import OneHotEncoder", "import OneHotEncoder, SplineTransformer"
)
DAY = date(2024, 3, 9)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def on_graph(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model whose ONNX form is served; nothing was ever missing."""
    shop = Shop(tmp_path_factory.mktemp("graph"))
    return shop.served(shop.fit(KNOWS_ALL), rows())


@pytest.fixture(scope="module")
def itself(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model that ONNX can't express; nothing was ever missing."""
    shop = Shop(tmp_path_factory.mktemp("itself"))
    return shop.served(shop.fit(TARGETS), rows())


@pytest.fixture(params=["on_graph", "itself"])
def served(request: pytest.FixtureRequest) -> ServedModel:
    """A model in either form."""
    found: ServedModel = request.getfixturevalue(request.param)
    return found


def in_batch(model: ServedModel, frame: pl.DataFrame) -> tuple[pl.DataFrame, Counter[str]]:
    """Score a file of features as a scoring pod does; return its predictions and the refusals."""
    pinned = PinnedModel("1", model.manifest.sha256, "")
    pinned.__dict__["_loaded"] = (model.manifest, model.predictor)
    file, tally = io.BytesIO(), Tally()
    frame.write_parquet(file)
    predictions = score(pinned, file.getvalue(), DAY, tally)
    return pl.read_parquet(predictions), tally.reasons


# Halving.


@pytest.mark.parametrize("seed", range(20))
def test_halving_finds_exactly_the_rows_that_fail(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.randint(1, 300)
    bad = set(dice.sample(range(count), dice.randint(0, min(count, 8))))
    lost = set(dice.sample(range(count), dice.randint(0, min(count, 3)))) - bad
    asked: list[int] = []

    def score(some: Sequence[int]) -> list[float]:
        asked.append(len(some))
        if bad & set(some):
            raise KeyError("no such word")
        return [math.nan if n in lost else float(n) for n in some]

    found = Halving(count, score)
    assert set(found.failures) == bad | lost
    assert {n for n, error in found.failures.items() if error is None} == lost
    assert [n for n, one in enumerate(found.scores) if math.isnan(one)] == sorted(bad | lost)
    assert all(one == n for n, one in enumerate(found.scores) if not math.isnan(one))
    assert len(asked) <= 1 + 2 * len(bad) * (1 + math.ceil(math.log2(count)))


def test_halving_stops_when_enough_is_known() -> None:
    asked: list[int] = []

    def score(some: Sequence[int]) -> list[float]:
        asked.append(len(some))
        raise ValueError("never")

    assert sorted(Halving(1024, score, most=5).failures) == [0, 1, 2, 3, 4]
    assert len(asked) < 40
    lost = Halving(1024, lambda some: [math.nan] * len(some), most=5)
    assert sorted(lost.failures) == [0, 1, 2, 3, 4]


def test_a_model_that_gives_fewer_scores_than_rows_scores_none_of_them() -> None:
    found = Halving(4, lambda some: [0.5] * (len(some) - 1))
    assert sorted(found.failures) == [0, 1, 2, 3]


def test_a_word_that_many_rows_hold_is_not_asked_about_for_ever() -> None:
    asked: list[int] = []
    dice = random.Random(0)
    words = [dice.choice(["new", "newer", *"abcdef"]) for _ in range(4000)]

    def predictor(rows: Sequence[Row]) -> list[float]:
        asked.append(len(rows))
        if any(str(row["word"]).startswith("new") for row in rows):
            raise ValueError("unknown")
        return [0.5] * len(rows)

    known = {"word": "a", "size": 1}
    answers = ask(predictor, [{"word": word, "size": 2} for word in words], known)
    refused = [n for n, word in enumerate(words) if word.startswith("new")]
    assert [refusal.row for refusal in answers.refusals] == refused
    assert {refusal.column for refusal in answers.refusals} == {"word"}
    assert [n for n, score in enumerate(answers.scores) if math.isnan(score)] == refused
    assert len(refused) > 500
    assert len(asked) < 500


def test_a_refused_row_counts_as_the_average_when_a_model_is_measured() -> None:
    answers = Answers([0.2, math.nan, 0.4], [Refusal(1, NO_NUMBER)])
    assert answers.guessed == pytest.approx([0.2, 0.3, 0.4])
    assert Answers([math.nan], [Refusal(0, NO_NUMBER)]).guessed == [0.5]


# Whatever an estimator does at a value that it does not like.


class Moody:
    """A predictor that takes no parcel from "south"."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        if self._error and any(row["depot"] == "south" for row in rows):
            raise self._error
        return [math.nan if row["depot"] == "south" else 0.5 for row in rows]


class OwnError(Exception):
    """What a library defines for itself; it says nothing."""


RAISED: list[tuple[Exception | None, str]] = [
    (ValueError("Found unknown categories ['a secret'] in column 0"), "ValueError: Found unknown"),
    (KeyError("a secret"), "KeyError"),
    (ZeroDivisionError("division by zero"), "division by zero"),
    (OwnError(), "OwnError"),
    (RuntimeError("first\nsecond"), "RuntimeError: first"),
    (None, NO_NUMBER),
]


@pytest.mark.parametrize(("error", "told"), RAISED)
def test_whatever_is_raised_names_row_and_column(
    on_graph: ServedModel, error: Exception | None, told: str
) -> None:
    good = {**sample(on_graph.manifest), "depot": "north"}
    manifest = on_graph.manifest.model_copy(update={"sample": [good]})
    model = ServedModel(manifest, Moody(error), "1", "blue")
    reply = post(model, [good, good, {**good, "depot": "south"}])
    assert reply.status_code == 422
    (complaint,) = reply.json()["detail"]
    assert (complaint["row"], complaint["column"]) == (2, "depot")
    assert told in complaint["message"]
    assert "secret" not in reply.text
    assert "second" not in reply.text
    assert post(model, [good]).status_code == 200
    scored, reasons = in_batch(model, rows(30))
    (reason,) = reasons
    assert told in reason
    assert reason.startswith("depot ")
    assert reasons[reason] == (rows(30)["depot"] == "south").sum()
    assert scored["id"].to_list() == rows(30).filter(pl.col("depot") != "south")["id"].to_list()


def test_the_column_is_left_open_where_no_single_one_is_to_blame() -> None:
    def predictor(rows: Sequence[Row]) -> list[float]:
        if any(row["a"] != row["b"] for row in rows):
            raise ValueError("they differ")
        return [0.5] * len(rows)

    (refusal,) = ask(predictor, [{"a": 1, "b": 2, "c": 0}], {"a": 0, "b": 0, "c": 0}).refusals
    assert refusal.column is None


def test_reasons_that_differ_with_every_row_stay_few() -> None:
    tally = Tally()
    tally.refuse([Refusal(n, f"weight {n} is odd") for n in range(1000)])
    assert tally.reasons.total() == 1000
    assert len(tally.reasons) == MOST_REASONS + 1
    assert tally.reasons[OTHER] == 1000 - MOST_REASONS


@pytest.mark.parametrize("text", [AS_IT_COMES, AS_IT_COMES_ITSELF], ids=["onnx", "itself"])
def test_a_new_word_costs_its_own_rows(shop: Shop, text: str) -> None:
    """Public kin: EconML #530. OneHotEncoder() raises at a word that it was not fitted with."""
    model = shop.served(shop.fit(text), rows())
    assert (model.manifest.format == "onnx") is (text == AS_IT_COMES)
    good = sample(model.manifest)
    reply = post(model, [good, {**good, "depot": "the moon"}])
    assert reply.status_code == 422
    (complaint,) = reply.json()["detail"]
    assert (complaint["row"], complaint["column"]) == (1, "depot")
    new = rows(50, seed=3).with_columns(
        depot=pl.when(pl.col("id").is_in(["7", "9"])).then(pl.lit("the moon")).otherwise("depot")
    )
    scored, reasons = in_batch(model, new)
    assert scored.height == 48
    assert [reason[:20] for reason in reasons] == ["depot is refused by "]
    assert reasons.total() == 2


def test_a_model_that_refuses_some_of_the_holdout_is_measured_on_all_of_it(shop: Shop) -> None:
    new = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("new")).otherwise("depot")
    holdout = rows(200, seed=4).with_columns(pl.lit(DAY).alias(parts.DAY), depot=new)
    candidate = shop.fit(AS_IT_COMES)
    model = shop.served(candidate, holdout)
    spec = read_project("parcels", str(shop.folder)).spec
    measured = measure(spec, holdout, model.manifest, model.predictor, None)
    assert 0.5 < measured.candidate.value < 1
    assert len(model.manifest.sample) == 20
    assert {row["depot"] for row in model.manifest.sample} <= {"north", "south", "west"}


def test_a_model_that_scores_nothing_is_no_version(shop: Shop) -> None:
    holdout = rows(50).with_columns(depot=pl.lit("new"))
    with pytest.raises(BadInputError, match=r"scores none of the first 50 rows.*depot|refused"):
        shop.served(shop.fit(AS_IT_COMES), holdout)


def test_a_champion_that_scores_few_rows_is_no_rival_that_guesses(shop: Shop) -> None:
    """It would get the mean of its scores for the others, and lose to anyone."""
    model = shop.served(shop.fit(AS_IT_COMES), rows())
    assert len(_scores(model.manifest, model.predictor, rows())) == rows().height
    new = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("new")).otherwise("depot")
    with pytest.raises(BadInputError, match=r"it gives no score to .* rows: "):
        _scores(model.manifest, model.predictor, rows(200, seed=4).with_columns(depot=new))


# What may be missing.


def test_a_feature_may_be_missing_if_it_ever_was_or_a_rule_says_so(shop: Shop) -> None:
    def nullable(candidate_columns: list[Column]) -> set[str]:
        return {column.name for column in candidate_columns if column.nullable}

    assert nullable(columns_of([rows()], "late")) == set()
    assert nullable(columns_of([rows(gaps=["weight"])], "late")) == {"weight"}
    assert nullable(columns_of([rows(), rows(gaps=["depot"])], "late")) == {"depot"}
    assert nullable(columns_of([rows()], "late", {"weight", "stops", "hours"})) == {"weight"}
    named = shop.fit(TARGETS, yaml="may_be_missing: [weight]\n")
    assert nullable(named.columns) == {"weight"}
    with pytest.raises(BadInputError, match="may_be_missing names 'age'"):
        shop.fit(TARGETS, yaml="may_be_missing: [age]\n")


def test_a_raw_column_s_rule_holds_for_the_feature_of_its_name(shop: Shop) -> None:
    hours = rows().with_columns(hours=pl.lit(1.5, pl.Float32))
    assert {c.name: c.nullable for c in shop.fit(TARGETS, hours).columns}["hours"] is True


def test_not_a_number_is_missing_to_training_too() -> None:
    """Public kin: evidently #187."""
    frame = rows().with_columns(weight=pl.lit(float("nan"), pl.Float32))
    assert [c.nullable for c in columns_of([frame], "late")] == [False, True, False]


def test_a_number_that_may_not_be_missing_is_required_everywhere(served: ServedModel) -> None:
    assert row_schema(served.manifest)["required"] == ["depot", "weight", "stops"]
    assert [spec.required for spec in _signature(served.manifest.columns).inputs] == [True] * 3
    good = sample(served.manifest)
    without = {name: value for name, value in good.items() if name != "weight"}
    for row in (without, {**good, "weight": None}):
        reply = post(served, [row])
        assert reply.status_code == 422
        assert reply.json()["detail"][0]["column"] == "weight"
        (refusal,) = ask(served.predictor, [row]).refusals
        assert str(refusal) == "weight is missing"
    for gone in (None, float("nan")):
        lost = pl.lit(gone, pl.Float32)
        day = rows(10).with_columns(
            weight=pl.when(pl.col("id") == "3").then(lost).otherwise("weight")
        )
        scored, reasons = in_batch(served, day)
        assert (scored.height, reasons) == (9, {"weight is missing": 1})


def test_what_may_be_missing_may_be_left_out_everywhere(shop: Shop) -> None:
    frame = rows(gaps=["weight"])
    candidate = shop.fit(TARGETS, frame)
    served = shop.served(candidate, frame)
    assert row_schema(served.manifest)["required"] == ["depot", "stops"]
    needed = {spec.name: spec.required for spec in _signature(candidate.columns).inputs}
    assert needed == {"depot": True, "weight": False, "stops": True}
    good = sample(served.manifest)
    left_out = {name: value for name, value in good.items() if name != "weight"}
    first, second = post(served, [left_out, {**good, "weight": None}]).json()["predictions"]
    assert first == second
    scored, reasons = in_batch(served, frame)
    assert (scored.height, reasons) == (frame.height, {})


# One rule for what 32 bits can't hold.


@pytest.mark.parametrize("value", [1e39, -1e39, 3.5e38])
def test_a_number_beyond_32_bits_is_refused_alike_online_and_in_batch(
    served: ServedModel, value: float
) -> None:
    """Public kin: pycaret #1048."""
    reply = post(served, [{**sample(served.manifest), "weight": value}])
    assert reply.status_code == 422
    assert reply.json()["detail"] == [{"row": 0, "column": "weight", "message": INFINITE}]
    huge = pl.lit(value).cast(pl.Float32)
    day = rows(10).with_columns(weight=pl.when(pl.col("id") == "3").then(huge).otherwise("weight"))
    scored, reasons = in_batch(served, day)
    assert (scored.height, reasons) == (9, {f"weight {INFINITE}": 1})
    with pytest.raises(BadInputError, match=f"'weight' {INFINITE} in 1 rows"):
        columns_of([day], "late")


def test_the_largest_32_bit_number_is_answered_online_and_in_batch(itself: ServedModel) -> None:
    largest = 3.4028235e38
    assert post(itself, [{**sample(itself.manifest), "weight": largest}]).status_code == 200
    day = rows(3).with_columns(weight=pl.lit(largest).cast(pl.Float32))
    assert in_batch(itself, day)[0].height == 3


def test_what_is_not_a_number_is_missing_in_a_day_s_features(shop: Shop) -> None:
    (shop.folder / "parcels.project.yaml").write_text(
        "title: t\ntarget: late\n"
        "tables: {parcels: {columns: {id: str, hours: float or null, wait: float}}}\n"
    )
    project = read_project("parcels", str(shop.folder))
    raw = pl.DataFrame({"id": ["a", "b"], "hours": [0.0, 1.0], "wait": [0.0, 1.0]})
    frame = build(
        project,
        lambda tables: tables["parcels"].select(
            "id", share=pl.col("hours") / pl.col("hours"), late=pl.col("wait") > 0
        ),
        {"parcels": raw},
    )
    assert frame["share"].to_list() == [None, 1.0]


def test_rows_with_no_number_are_sifted_as_training_refuses_them() -> None:
    columns = [Column(name="n", type="int"), Column(name="x", type="float")]
    frame = pl.DataFrame({"n": [1, 2, 3], "x": [0.5, float("nan"), None]})
    assert servable(frame, columns).reasons == {"x is missing": 2}
