"""The small parts: stores, results, fingerprints, settings, threads, projects, frames."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ml.core.errors import BadInputError
from ml.core.fingerprint import fingerprint
from ml.core.project import Days, find_projects, parse_column, read_project
from ml.core.record import RESULT_BYTES, Result, Status
from ml.core.settings import Settings
from ml.core.store import Store
from ml.core.tables import from_parquet, to_parquet
from ml.core.threads import threads
from ml.data.frames import as_rows, as_written, columns_of, for_estimator
from ml.data.leaks import leaks
from ml.registry.mlflow_login import without_password
from ml.stages import Stage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "a place").as_uri())


def test_a_store_publishes_once(store: Store) -> None:
    assert store.create("a/b.txt", b"first")
    assert not store.create("a/b.txt", b"second")
    assert store.read("a/b.txt") == b"first"
    assert store.sizes("a/") == {"a/b.txt": 5}
    assert store.size("a/c.txt") is None


def test_of_many_writers_one_wins(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.create("one", str(n).encode()), range(32)))
    assert won.count(True) == 1
    assert store.read("one") == str(won.index(True)).encode()


def test_a_store_knows_what_is_its_own(store: Store) -> None:
    assert store.path(store.uri("x/y")) == "x/y"
    with pytest.raises(BadInputError, match="is not in"):
        store.path("s3://elsewhere/x")


def test_what_is_not_there_is_a_file_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("nothing")


@pytest.mark.parametrize("sentence", ["ä" * 3000, '"quotes" and \\ ' * 300, "short"])
def test_a_result_always_fits(sentence: str) -> None:
    result = Result(
        stage=Stage.REGISTER,
        status=Status.DONE,
        record="s3://data/" + "x" * 200,
        facts={"reason": sentence, "version": "12"},
    )
    text = result.as_json()
    assert len(text.encode()) <= RESULT_BYTES
    assert json.loads(text)["version"] == "12"
    assert json.loads(text)["reason"][:3] == sentence[:3]


def test_fingerprints_depend_on_every_part_and_not_on_order() -> None:
    assert fingerprint(a=1, b=[2]) == fingerprint(b=[2], a=1)
    assert len({fingerprint(a=1), fingerprint(a=2), fingerprint(b=1)}) == 3


def test_settings_take_the_environment_and_ignore_what_is_empty(tmp_path: Path) -> None:
    given = Settings.read({"SLIPWAY_DATA_URL": "s3://data/", "SLIPWAY_RESULT_PATH": ""})
    assert given.data_url == "s3://data"
    assert given.result_path is None
    assert given.landing_url == (Path.cwd() / "local/landing").as_uri()
    assert given.tracking_uri == "sqlite:///local/mlflow.db"
    assert Settings.read({"SLIPWAY_MODELS_URL": str(tmp_path)}).models_url == tmp_path.as_uri()


@pytest.mark.parametrize(
    ("quota", "cores", "expected"),
    [(None, 8, 4), (None, 1, 1), (0.5, 8, 1), (2.0, 8, 2), (2.7, 8, 2), (64.0, 8, 8)],
)
def test_threads_follow_the_quota(quota: float | None, cores: int, expected: int) -> None:
    assert threads(quota, cores) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("str", ("str", False, None, None)),
        ("float or null", ("float", True, None, None)),
        ("int -200..3000 or null", ("int", True, -200, 3000)),
    ],
)
def test_column_rules_read_as_written(text: str, expected: tuple[object, ...]) -> None:
    rule = parse_column(text)
    assert isinstance(rule, dict)
    assert (rule["type"], rule["nullable"], rule["low"], rule["high"]) == expected


@pytest.mark.parametrize("text", ["number", "int?", "int 5", "str or none", ""])
def test_other_column_rules_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rule"):
        parse_column(text)


def test_a_window_ends_on_the_day_asked_for() -> None:
    days = Days(window=60).until(date(2013, 3, 1))
    assert (days[0], days[-1], len(days)) == (date(2013, 1, 1), date(2013, 3, 1), 60)


def test_a_window_can_be_asked_to_be_shorter() -> None:
    assert Days(window=60).until(date(2013, 3, 1), 2) == [date(2013, 2, 28), date(2013, 3, 1)]


def test_a_holdout_must_leave_days_to_learn_from() -> None:
    with pytest.raises(ValueError, match="must be below window"):
        Days(window=7, holdout=7)


def test_projects_are_found_as_folders_and_as_flat_files(tmp_path: Path) -> None:
    """A ConfigMap has no folders; and a broken project is listed, as only running it reads it."""
    yaml = "title: t\ntarget: y\ntables: {rows: {columns: {y: bool}}}\n"
    (tmp_path / "one").mkdir()
    (tmp_path / "one/project.yaml").write_text(yaml)
    (tmp_path / "two.project.yaml").write_text(yaml)
    (tmp_path / "broken.project.yaml").write_text("title: [")
    assert find_projects(str(tmp_path)) == ["broken", "flights", "one", "two"]
    two = read_project("two", str(tmp_path))
    assert two.files.model == tmp_path / "two.model.py"
    assert two.spec.main_table == "rows"
    with pytest.raises(BadInputError, match=r"broken\.project\.yaml is not YAML"):
        read_project("broken", str(tmp_path))


@pytest.mark.parametrize(
    "name", ["../flights", "Churn", "churn-", "churn_", "-churn", "9lives", "", "a" * 41]
)
def test_a_name_that_breaks_the_rule_is_told_the_rule(name: str) -> None:
    with pytest.raises(BadInputError, match=r"begins with a small letter.* at most 40"):
        read_project(name)


def test_a_project_that_is_not_there_is_told_of_those_that_are() -> None:
    with pytest.raises(BadInputError, match=r"no project 'churn' \(known: flights\)"):
        read_project("churn", "")


@pytest.mark.parametrize(
    ("again", "line"), [("title: other\n", 4), ("gate: {min_gain: 0, min_gain: 1}\n", 4)]
)
def test_a_key_that_is_there_twice_is_named(tmp_path: Path, again: str, line: int) -> None:
    text = "title: t\ntarget: y\ntables: {rows: {columns: {y: bool}}}\n" + again
    (tmp_path / "one.project.yaml").write_text(text)
    with pytest.raises(BadInputError, match=f"is there twice, again in line {line}"):
        read_project("one", str(tmp_path))


def test_parquet_is_the_same_bytes_each_time_and_notices_damage() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    content = to_parquet(frame)
    assert content == to_parquet(frame)
    assert from_parquet(content, "it").equals(frame)
    for bad in (content[:-3], b"", b"PAR1 nonsense PAR1"):
        with pytest.raises(BadInputError, match=r"^it is"):
            from_parquet(bad, "it")


def test_each_reader_gets_missing_values_its_way() -> None:
    frame = pl.DataFrame(
        {"id": ["a", "b"], "y": [True, False], "s": ["x", None], "f": [1.5, None], "n": [1, 2]},
        schema_overrides={"f": pl.Float32},
    )
    columns = columns_of([frame], "y")
    assert [(c.name, c.type, c.nullable) for c in columns] == [
        ("s", "str", True),
        ("f", "float", True),
        ("n", "int", False),
    ]
    table = for_estimator(frame, columns)
    assert table["s"].tolist() == ["x", ""]
    assert table["f"].isna().tolist() == [False, True]
    assert as_rows(frame, columns)[1] == {"s": None, "f": None, "n": 2}


def test_whole_numbers_may_not_be_missing() -> None:
    frame = pl.DataFrame({"id": ["a", "b"], "y": [True, False], "n": [1, None]})
    with pytest.raises(BadInputError, match=r"'n'.*cast it to Float64"):
        columns_of([frame], "y")


def test_a_leak_is_named_by_its_column() -> None:
    frame = pl.DataFrame({"id": [1], "y": [True], "a": [1], "b": [2]})
    assert leaks(frame, frame.with_columns(y=False, b=3), "y") == ["b"]
    assert leaks(frame, frame.clear(), "y") == ["the number of rows"]


def test_numbers_that_threads_add_up_in_another_order_are_no_leak() -> None:
    nan, inf = float("nan"), float("inf")
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "y": [True] * 4, "a": [0.1 + 0.2, None, nan, inf]})
    other = frame.with_columns(a=pl.Series([0.3, None, nan, inf]))
    assert not frame["a"].equals(other["a"])
    assert leaks(frame, other.reverse(), "y") == []
    for values in ([0.3 + 1e-9, None, nan, inf], [0.3, 0.0, nan, inf], [0.3, None, 1.0, inf]):
        assert leaks(frame, frame.with_columns(a=pl.Series(values)), "y") == ["a"]
    assert leaks(frame, frame.with_columns(a=pl.Series([0.3, None, nan, -inf])), "y") == ["a"]


def test_passwords_stay_out_of_messages() -> None:
    text = without_password("MLflow at http://me:s3cret@host:5000/x and http://other/y")
    assert text == "MLflow at http://host:5000/x and http://other/y"


def test_numbers_of_an_example_are_written_as_a_person_would() -> None:
    values = [35.6, 1e-7, 1013.25, None, float("nan"), float("inf")]
    frame = pl.DataFrame({"f": values}, schema={"f": pl.Float32})
    written = as_written(frame)["f"]
    assert written.to_list()[:4] == values[:4]
    assert written.cast(pl.Float32).equals(frame["f"], null_equal=True)
