"""What is served is what was trained: one way to the estimator's table, one file that holds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.data.frames import for_estimator
from ml.serving.inputs import INFINITE, MISSING, AsTrained, Input, InputError
from ml.serving.manifest import Column
from ml.serving.trial import PACKAGES
from ml.training.export import answers, compare, export, hard_rows
from ml.training.forms import packages_in, pickled
from tests.code.trained import KNOWS_ALL, TARGETS, Shop, post, rows, sample

REPO = Path(__file__).parents[2]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


OWN_CLASS = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

HEAVY = 20


class Heavy(TransformerMixin, BaseEstimator):
    def fit(self, table, labels=None):
        self.most_ = float(table["weight"].max())
        return self

    def transform(self, table):
        return np.column_stack([table["weight"] / self.most_, table["weight"] > HEAVY])


def model():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(Heavy(), LogisticRegression())
"""
FUNCTION = """
{imports}

def numbers(table):
    return {numbers}


def model():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer({function}), LogisticRegression())
"""
OWN_FUNCTION = FUNCTION.format(
    imports="import numpy as np", numbers='np.log1p(table[["weight"]])', function="numbers"
)
LAMBDA = FUNCTION.format(
    imports="", numbers='table[["weight"]]', function="lambda table: numbers(table) * 2"
)
FOREIGN = FUNCTION.format(
    imports="import polars as pl",
    numbers='pl.Series(table["weight"].to_numpy()).to_frame().to_numpy()',
    function="numbers",
)
FOREIGN_WITHIN = FUNCTION.format(
    imports="",
    numbers='__import__("polars").Series(table["weight"].to_numpy()).to_frame().to_numpy()',
    function="numbers",
)

# The conversion.

DOORS: dict[str, tuple[str, list[object], list[object]]] = {
    "fractions": ("float", [0.1, None, 3, float("nan")], [float(np.float32(0.1)), None, 3.0, None]),
    "words": ("str", ["x", None, ""], ["x", "", ""]),
    "whole numbers": ("int", [1, 2**40], [1, 2**40]),
    "answers": ("bool", [True, False], [True, False]),
}
DTYPES = {"float": pl.Float32(), "str": pl.String(), "int": pl.Int64(), "bool": pl.Boolean()}


@pytest.mark.parametrize("case", DOORS)
def test_the_estimator_sees_the_same_by_every_door(case: str) -> None:
    """From training's table, from a request's rows and from a caller of MLflow."""
    kind, given, expected = DOORS[case]
    column = Column.model_validate({"name": "c", "type": kind, "nullable": None in given})
    frame = pl.DataFrame({"c": given}, schema={"c": DTYPES[kind]}, strict=False)
    trained = for_estimator(frame, [column])["c"]
    online = pd.Series(Input.of(column).seen(given))
    kept = AsTrained(Kept(), [Input.of(column)])
    tables = [pd.DataFrame({"c": given}), pd.DataFrame({"c": pd.array(given)})]
    by_mlflow = [pd.Series(kept.predict(table)) for table in tables]
    for seen in (trained, online, *by_mlflow):
        assert [None if value != value else value for value in seen.tolist()] == expected
    assert trained.dtype == online.dtype


class Kept:
    """An estimator that gives back the column that it sees."""

    def predict(self, table: pd.DataFrame) -> np.ndarray[Any, Any]:
        return table["c"].to_numpy()


WRONG: list[tuple[str, bool, list[object], str]] = [
    ("float", False, [1.0, None], MISSING),
    ("float", False, [1.0, float("nan")], MISSING),
    ("float", True, [1e39], INFINITE),
    ("float", True, [float("inf")], INFINITE),
    ("float", True, ["12"], "is not a number"),
    ("float", True, ["12", None], "is not a number"),
    ("float", True, [True], "is not a number"),
    ("int", False, [1, None], MISSING),
    ("int", False, [1.5], "is not a whole number"),
    ("int", False, [2**63], "is not a whole number"),
    ("int", False, [True], "is not a whole number"),
    ("int", False, ["1"], "is not a whole number"),
    ("bool", False, [True, None], MISSING),
    ("bool", False, [1], "is neither true nor false"),
    ("str", False, ["x", None], MISSING),
    ("str", True, ["x", 7], "is not text"),
]


@pytest.mark.parametrize(("kind", "nullable", "values", "fault"), WRONG)
def test_what_a_column_may_not_hold_is_never_taken_for_something_else(
    kind: str, nullable: bool, values: list[object], fault: str
) -> None:
    with pytest.raises(InputError, match=f"c {fault}"):
        Input("c", kind, nullable).seen(values)


@pytest.mark.parametrize("kind", DTYPES)
def test_no_rows_are_no_trouble(kind: str) -> None:
    assert len(Input("c", kind, False).seen([])) == 0


def test_the_largest_32_bit_number_is_no_infinite_one() -> None:
    largest = float(np.finfo(np.float32).max)
    assert Input("c", "float", False).seen([largest, -largest]).tolist() == [largest, -largest]


# The file.


def test_a_missing_word_is_an_empty_one_wherever_it_is_asked_for(shop: Shop) -> None:
    """Public kin: mlflow #4827. A target encoder has no ONNX form and tells None from ''."""
    frame = rows(gaps=["depot"])
    candidate = shop.fit(TARGETS, frame)
    model = shop.served(candidate, frame)
    assert model.manifest.format == "sklearn"
    known = sample(model.manifest)
    null, empty, left_out = (
        {**known, "depot": None},
        {**known, "depot": ""},
        {name: value for name, value in known.items() if name != "depot"},
    )
    scores = post(model, [null, empty, left_out]).json()["predictions"]
    trained = answers(candidate, pl.DataFrame([null], schema=frame.drop("id", "late").schema))
    assert scores == [trained[0]] * 3
    assert compare(candidate, model.predictor, hard_rows(frame, candidate.columns)).passed


def test_a_scaler_and_a_regression_have_their_onnx_form(shop: Shop) -> None:
    """Nothing is ever missing, so no hard row misses anything."""
    exported = export(shop.fit(KNOWS_ALL), rows(seed=1))
    assert exported.format == "onnx", exported.reason


def test_hard_rows_miss_what_may_be_missing_and_nothing_else() -> None:
    columns = [
        Column(name="depot", type="str"),
        Column(name="weight", type="float", nullable=True),
        Column(name="stops", type="int"),
    ]
    hard = hard_rows(rows(), columns)
    gaps = {name for name in hard.columns if hard[name].null_count()}
    assert gaps == {"weight"}
    assert {"", "never seen"} <= set(hard["depot"])


@pytest.mark.parametrize("value", [3e38, -3e38, 2**62, -(2**62)])
def test_hard_rows_stay_within_what_a_column_can_hold(value: float) -> None:
    name = "weight" if isinstance(value, float) else "stops"
    frame = rows().with_columns(pl.lit(value).cast(rows().schema[name]).alias(name))
    columns = [Column(name="weight", type="float"), Column(name="stops", type="int")]
    assert for_estimator(hard_rows(frame, columns), columns).notna().all(axis=None)


def test_an_estimator_that_answers_at_random_is_no_version(shop: Shop) -> None:
    model = """
import numpy as np
from sklearn.linear_model import LogisticRegression


class Dice(LogisticRegression):
    def predict_proba(self, table):
        return np.random.default_rng().uniform(size=(len(table), 2))


def model():
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(make_column_transformer(("passthrough", ["weight"])), Dice())
"""
    with pytest.raises(BadInputError, match=r"can't be served as it was trained: .*differently"):
        export(shop.fit(model), rows())


@pytest.mark.parametrize("model", [OWN_CLASS, OWN_FUNCTION, LAMBDA], ids=["class", "def", "lambda"])
def test_what_model_py_defines_travels_in_the_file(shop: Shop, model: str) -> None:
    """Public kin: mlflow #5178, #1291. A server has never heard of model.py."""
    candidate = shop.fit(model)
    exported = export(candidate, rows())
    assert exported.format == "cloudpickle", exported.reason
    loaded = shop.publish(candidate, exported, rows())
    (shop.folder / "parcels.model.py").unlink()
    environment = {
        "SLIPWAY_PROJECT": "parcels",
        "SLIPWAY_MODEL_URI": str(shop.folder / "models/parcels" / exported.digest),
        "SLIPWAY_MODEL_SHA256": exported.digest,
        "SLIPWAY_MODEL_VERSION": "1",
    }
    code = "import os, ml.serving.__main__ as m; m.load_model(m.ServingSettings()); print('served')"
    bare = {k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=bare | environment | {"PYTHONPATH": str(REPO)},
        cwd=shop.folder,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "served\n", done.stderr
    assert loaded.manifest.file == "model.pkl"


@pytest.mark.parametrize("model", [FOREIGN, FOREIGN_WITHIN], ids=["at the top", "inside"])
def test_a_package_that_servers_lack_is_told_at_training_time(shop: Shop, model: str) -> None:
    candidate = shop.fit(model)
    with pytest.raises(BadInputError, match=r"polars.*SLIPWAY_SERVING_PACKAGES"):
        export(candidate, rows())
    assert export(candidate, rows(), ["polars"]).format == "cloudpickle"


def test_a_trial_knows_what_a_model_server_is_made_of() -> None:
    import tomllib

    group = tomllib.loads((REPO / "pyproject.toml").read_text())["dependency-groups"]["serving"]
    assert sorted(PACKAGES) == sorted(need.split(">")[0].split("=")[0] for need in group)


def test_what_mlflow_must_install_is_read_from_the_model(shop: Shop) -> None:
    plain, foreign = (shop.fit(model) for model in (KNOWS_ALL, FOREIGN))
    needed = packages_in(pickled(plain.estimator, plain.module))
    assert "scikit-learn" in needed
    assert "polars" not in needed
    assert packages_in(pickled(foreign.estimator, foreign.module))["polars"] == pl.__version__


@pytest.mark.parametrize(
    "error", ["KeyError('depot')", "OSError('no licence')", "ImportError('x')"]
)
def test_whatever_is_raised_while_fitting_is_told_in_a_sentence(shop: Shop, error: str) -> None:
    model = OWN_CLASS.replace("self.most_ = float", f"raise {error}\n        self.most_ = float")
    with pytest.raises(
        BadInputError, match=f"model.. of 'parcels' does not fit at .*: {error[:5]}"
    ):
        shop.fit(model)
