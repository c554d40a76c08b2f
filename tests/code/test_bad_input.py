"""Bad input, as a person meets it: one sentence, exit code 3, nothing half written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest

from tests.code.workshop import AS_OF, Workshop, parcels

MIDDLE = AS_OF - timedelta(days=3)


def missing(workshop: Workshop) -> None:
    for day in (MIDDLE, MIDDLE + timedelta(days=1), AS_OF):
        (workshop.landed_file(day).parent / "manifest.json").unlink()


def truncated(workshop: Workshop) -> None:
    file = workshop.landed_file(MIDDLE)
    file.write_bytes(file.read_bytes()[:-100])


def changed(workshop: Workshop) -> None:
    file = workshop.landed_file(MIDDLE)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(bytes(content))


def lost(workshop: Workshop) -> None:
    workshop.landed_file(MIDDLE).unlink()


def wrong_type(workshop: Workshop) -> None:
    workshop.land(AS_OF, parcels(AS_OF).with_columns(pl.col("weight").cast(pl.String)))


def no_column(workshop: Workshop) -> None:
    workshop.land(AS_OF, parcels(AS_OF).drop("hours"))


def torn_manifest(workshop: Workshop) -> None:
    (workshop.landed_file(MIDDLE).parent / "manifest.json").write_text('{"project": "par')


INGEST: list[tuple[Callable[[Workshop], None], list[str]]] = [
    (
        missing,
        ["2024-03-05 to 2024-03-06, 2024-03-08", "local/landing/parcels", "python -m ml land"],
    ),
    (truncated, ["dt=2024-03-05/parcels.parquet", "cut short", "--replace"]),
    (changed, ["dt=2024-03-05/parcels.parquet", "sha256", "--replace"]),
    (lost, ["dt=2024-03-05/parcels.parquet", "is gone"]),
    (wrong_type, ["'weight'", "'parcels'", "2024-03-08", "String", "float"]),
    (no_column, ["no column 'hours'", "2024-03-08"]),
    (torn_manifest, ["dt=2024-03-05/manifest.json", "not a manifest"]),
]


@pytest.mark.parametrize(("spoil", "words"), INGEST, ids=[spoil.__name__ for spoil, _ in INGEST])
def test_spoilt_landing_is_named_and_leaves_nothing(
    workshop: Workshop, spoil: Callable[[Workshop], None], words: list[str]
) -> None:
    workshop.land_window()
    spoil(workshop)
    before = workshop.published()
    done = workshop.run("ingest")
    assert_refused(workshop, done.returncode, done.stderr, words)
    assert workshop.published() == before == {}


def assert_refused(workshop: Workshop, code: int, stderr: str, words: list[str]) -> None:
    assert code == 3, stderr
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1, "more than one sentence"
    assert "Traceback" not in stderr
    assert [word for word in words if word not in stderr] == []
    result = workshop.result()
    assert result["status"] == "failed"
    assert stderr.startswith(f"error: {result['error'].removesuffix('…')}")


def spoilt_rows(column: str, value: pl.Expr) -> Callable[[Workshop], None]:
    def spoil(workshop: Workshop) -> None:
        frame = parcels(MIDDLE).with_row_index("n")
        spoilt = pl.when(pl.col("n") < 2).then(value).otherwise(column).alias(column)
        workshop.land(MIDDLE, frame.with_columns(spoilt).drop("n"))

    return spoil


RULES = {
    "out of range": (spoilt_rows("weight", pl.lit(150.0)), ["'weight'", "in_range", "150"]),
    "null": (spoilt_rows("depot", pl.lit(None, pl.String)), ["'depot'", "not_nullable"]),
    "two rows, one key": (spoilt_rows("id", pl.lit("the same")), ["the key", "the same"]),
}


@pytest.mark.parametrize("case", RULES)
def test_rows_that_break_the_rules_stop_the_run(workshop: Workshop, case: str) -> None:
    spoil, words = RULES[case]
    workshop.land_window()
    spoil(workshop)
    ingested = workshop.run("ingest")
    assert ingested.returncode == 0, ingested.stderr
    before = workshop.published()
    done = workshop.ml(
        "validate",
        "-p",
        "parcels",
        "--as-of",
        str(AS_OF),
        "--upstream",
        workshop.result()["record"],
    )
    assert_refused(workshop, done.returncode, done.stderr, [*words, "'parcels'", "2024-03-05"])
    assert workshop.published() == before


def test_unknown_project(workshop: Workshop) -> None:
    done = workshop.run("ingest", project="nothere")
    assert_refused(workshop, done.returncode, done.stderr, ["'nothere'", "flights", "parcels"])
    assert workshop.published() == {}


def test_a_wrong_key_in_project_yaml_is_named(workshop: Workshop) -> None:
    file = workshop.project / "project.yaml"
    file.write_text(file.read_text().replace("target:", "tagret:"))
    done = workshop.run("ingest")
    assert_refused(workshop, done.returncode, done.stderr, ["project.yaml", "tagret"])


MODELS = {
    "looks ahead": (
        ('"stops", late', '"stops", "hours", late'),
        ["looks ahead", "hours", "known_later"],
    ),
    "drops by the label": (
        ('tables["parcels"].select', 'tables["parcels"].drop_nulls("hours").select'),
        ["looks ahead", "the number of rows"],
    ),
    "does not import": (("import polars", "import polarss"), ["model.py", "polarss"]),
    "fails": (('"stops", late', '"stop", late'), ["features()", "stop"]),
    "no target": (('late=pl.col("hours") > 24', 'lte=pl.col("hours") > 24'), ["'late'"]),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_py_that_cannot_work_is_named(workshop: Workshop, case: str) -> None:
    (old, new), words = MODELS[case]
    file = workshop.project / "model.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    workshop.land_window()
    done = workshop.run()
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []
    assert not [name for name in workshop.published() if "build_features" in name]


def test_a_stage_without_its_upstream_says_what_it_needs(workshop: Workshop) -> None:
    done = workshop.run("train")
    assert_refused(workshop, done.returncode, done.stderr, ["--upstream", "split"])


def test_a_record_of_another_day_is_refused(workshop: Workshop) -> None:
    workshop.land_window()
    workshop.run("ingest")
    other = str(AS_OF - timedelta(days=1))
    record = workshop.result()["record"]
    done = workshop.ml("validate", "-p", "parcels", "--as-of", other, "--upstream", record)
    assert_refused(workshop, done.returncode, done.stderr, ["2024-03-08", "2024-03-07"])


def test_an_mlflow_that_is_away_may_be_tried_again(finished: Workshop) -> None:
    trained = next((finished.folder / "local/data/parcels/train").rglob("record.json"))
    done = finished.ml(
        *("evaluate", "-p", "parcels", "--as-of", str(AS_OF), "--upstream", f"file://{trained}"),
        MLFLOW_TRACKING_URI="http://user:secret@127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at http://127.0.0.1:9")
    assert "secret" not in done.stderr
