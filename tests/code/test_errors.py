"""Whatever fails at the edges is one sentence: exit 3 for a person to mend, 1 for what may pass.

First real trouble: folders, disks, databases and buckets that are as people find them. Then each
edge is made to raise all that its library documents.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import botocore.exceptions
import obstore.exceptions
import polars as pl
import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

import ml.core.store
from ml.core.disk import PASSING, refusal
from ml.core.errors import BadInputError, StageError
from ml.core.store import Store
from ml.core.unforeseen import as_sentence
from ml.core.users_code import users_code
from ml.registry.mlflow_client import ToldClient, open_client, speaking_to
from ml.registry.mlflow_rest import MlflowServer
from tests.code import edge
from tests.code.workshop import AS_OF, MODEL, PROJECT, REPO, Workshop, parcels

# MLflow's own libraries are used in ways that they call outdated.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop in which the commands of this process work."""
    edge.at(workshop, monkeypatch)
    return workshop


# Folders and disks


def a_file_for_the_store(folder: Path) -> None:
    (folder / "local/data").write_text("not a folder")


def a_file_for_the_project(folder: Path) -> None:
    (folder / "local/data").mkdir()
    (folder / "local/data" / PROJECT).write_text("not a folder")


def a_folder_for_the_result(folder: Path) -> None:
    (folder / "result.json").mkdir()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (a_file_for_the_store, ["local/data", "a file stands where a folder is needed"]),
        (a_file_for_the_project, ["local/data/parcels", "a file stands where a folder"]),
        (a_folder_for_the_result, ["result.json", "a folder stands where a file is needed"]),
    ],
)
def test_a_blocked_place_is_named(
    here: Workshop, block: Callable[[Path], None], words: list[str]
) -> None:
    here.land_window()
    block(here.folder)
    edge.ml("ingest").insist(3, *words)


MOUNTS = {
    "read-only": ("size=1m,ro", "it is read-only"),
    "full": ("size=4k", "the disk is full"),
}


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="this user may not mount",
)
@pytest.mark.parametrize("kind", MOUNTS)
@pytest.mark.parametrize("place", ["data", "serving"])
def test_a_disk_that_can_take_nothing_is_named(workshop: Workshop, kind: str, place: str) -> None:
    """`roll-back` writes its lock first, as every roll-out does."""
    options, words = MOUNTS[kind]
    workshop.land_window()
    disk = workshop.folder / "disk"
    disk.mkdir()
    verb = {"data": ["ingest", "--as-of", str(AS_OF)], "serving": ["roll-back"]}[place]
    if (place, kind) == ("serving", "full"):
        options = "size=4k,nr_inodes=1"
    run = [sys.executable, "-m", "ml", *verb, "-p", PROJECT]
    script = f'mount -t tmpfs -o {options} none {disk} && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *run],
        cwd=workshop.folder,
        env=os.environ
        | {
            "PYTHONPATH": str(REPO),
            "SLIPWAY_PROJECTS_PATH": str(workshop.folder / "projects"),
            f"SLIPWAY_{place.upper()}_{'URL' if place == 'data' else 'DIR'}": str(disk),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    edge.Said(done.returncode, done.stderr).insist(3, str(disk), words)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_told(number: int, tmp_path: Path) -> None:
    """Through the last net, and through a folder's store, which writes the number into its text."""
    told = as_sentence(OSError(number, os.strerror(number), str(tmp_path)), "train")
    # Python gives some numbers a class of their own: those are connections, which may come back.
    passes = number in PASSING or isinstance(
        OSError(number, ""), (ConnectionError, TimeoutError, InterruptedError)
    )
    assert str(tmp_path) in str(told)
    assert "unexpected" not in str(told)
    assert refusal(str(tmp_path), number).exit_code == (1 if number in PASSING else 3)
    assert told.exit_code in ((1, 3) if passes else (3,))


# Settings and project files


@pytest.mark.parametrize("name", ["SLIPWAY_DEBUG"])
def test_a_setting_that_says_nothing_sensible_is_named(
    here: Workshop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here.land_window()
    monkeypatch.setenv(name, "perhaps")
    done = edge.ml("ingest")
    assert done.code == 3
    assert f"error: {name}: " in done.error


FILES: dict[str, tuple[str, bytes | None, list[str]]] = {
    "no date": (
        "project.yaml",
        b"title: x\ntarget: late\ndays: {start: 2024-13-45}\ntables: {}\n",
        ["project.yaml", "month must be in 1..12"],
    ),
    "not text": ("project.yaml", b"\xff\xfe\x00title", ["project.yaml", "is not YAML"]),
    "too deep": ("project.yaml", b"[" * 5000, ["project.yaml", "is not YAML"]),
    "a list as key": ("project.yaml", b"? [a, b]\n: 1\n", ["project.yaml", "unhashable"]),
    "a number": ("project.yaml", b"12\n", ["project.yaml", "the document"]),
    "no model.py": ("model.py", None, ["has no model.py"]),
    "model.py is no text": ("model.py", b"\xff\xfe\x00", ["model.py", "does not import"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_project_file_that_is_none_is_named(here: Workshop, case: str) -> None:
    name, content, words = FILES[case]
    here.land_window()
    if content is None:
        (here.project / name).unlink()
    else:
        (here.project / name).write_bytes(content)
    edge.ml("run").insist(3, *words)


# Data

NUMBERS = [pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Int8, pl.Int128]
COLUMNS: dict[str, pl.Expr] = {
    **{f"stops as {kind.__name__}": pl.col("stops").cast(kind) for kind in NUMBERS},
    "stops beyond 64 bits": pl.lit(2**64 - 1, pl.UInt64).alias("stops"),
    "stops as lists": pl.concat_list("stops").alias("stops"),
    "stops as structs": pl.struct("stops").alias("stops"),
    "stops as arrays": pl.concat_list("stops").list.to_array(1).alias("stops"),
    "stops as bytes": pl.col("depot").cast(pl.Binary).alias("stops"),
    "stops as times": pl.lit(1).cast(pl.Time).alias("stops"),
    "stops as durations": pl.duration(days="stops").alias("stops"),
    "stops as decimals": pl.col("stops").cast(pl.Decimal(10, 2)),
    "stops as nothing": pl.lit(None).alias("stops"),
    "id as lists": pl.concat_list("id").alias("id"),
    "id as structs": pl.struct("id").alias("id"),
    "id as bytes": pl.col("id").cast(pl.Binary),
    "depot as lists": pl.concat_list("depot").alias("depot"),
    "weight as UInt64": pl.col("weight").cast(pl.UInt64),
    "weight as structs": pl.struct("weight").alias("weight"),
    "hours as lists": pl.concat_list("hours").alias("hours"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_any_type_of_column_is_taken_or_told(here: Workshop, case: str) -> None:
    """On one day among ordinary ones, and up to the parts that teach and test."""
    here.land_window()
    here.land(AS_OF, parcels(AS_OF).with_columns(COLUMNS[case]))
    done = edge.ml("chain", "ingest", "validate", "build_features", "split")
    # With no option for it, `chain` takes its stages from the words.
    if done.code != 0:
        done.insist(3, case.split()[0])


def test_a_day_with_other_features_is_named(here: Workshop) -> None:
    here.land_window()
    (here.project / "model.py").write_text(
        MODEL.replace(
            'tables["parcels"].select("id", "depot", "weight", "stops", ',
            'tables["parcels"].select("id", "depot", "weight", *extra(tables), ',
        )
        + """

def extra(tables):
    first = tables["parcels"].select("id").first().collect().item()
    return ["stops"] if first.startswith("2024-03-08") else [pl.col("stops").cast(pl.Float64)]
"""
    )
    done = edge.ml("run")
    done.insist(3, "'stops'", "Float32", "Int64", "every day has the same columns")


# Code of the user

RAISED = {
    "KeyError": "raise KeyError('nope')",
    "ZeroDivisionError": "1 / 0",
    "MemoryError": "raise MemoryError",
    "RecursionError": "raise RecursionError('too deep')",
    "exit": "raise SystemExit(0)",
    "panic": "import polars as pl; raise pl.exceptions.PanicException('a panic of Rust')",
    "no reason": "raise AssertionError",
}
PLACES = {
    "import": ("import polars as pl\n", "import polars as pl\n\n{raised}\n"),
    "features": ("def features(tables):\n", "def features(tables):\n    {raised}\n"),
    "model": ("def model():\n", "def model():\n    {raised}\n"),
}
SOURCE = """
import polars as pl


def tables(day):
    {raised}
"""


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("place", PLACES)
def test_whatever_model_py_raises_is_told_with_its_line(
    here: Workshop, place: str, raised: str
) -> None:
    before, after = PLACES[place]
    assert before in MODEL
    (here.project / "model.py").write_text(
        MODEL.replace(before, after.format(raised=RAISED[raised]), 1)
    )
    here.land_window()
    edge.ml("run").insist(3, "model.py")


ESTIMATOR = """

from sklearn.base import BaseEstimator, ClassifierMixin


class Broken(ClassifierMixin, BaseEstimator):
    classes_ = (False, True)

    def fit(self, table, target):
        {fit}
        return self

    def predict_proba(self, table):
        {predict}


def model():
    return Broken()
"""


@pytest.mark.parametrize("raised", ["KeyError", "exit", "panic"])
@pytest.mark.parametrize("place", ["fit", "predict"])
def test_whatever_an_estimator_raises_is_told(here: Workshop, place: str, raised: str) -> None:
    bodies = {"fit": "pass", "predict": "pass"} | {place: RAISED[raised]}
    (here.project / "model.py").write_text(MODEL + ESTIMATOR.format(**bodies))
    here.land_window()
    edge.ml("run").insist(3, "model()")


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("raise KeyError('nope')", 3, ["the source", "source.py:6", "nope"]),
        ("raise ConnectionError('nobody there')", 1, ["the source", "nobody there"]),
        ("return {'other': pl.DataFrame()}", 3, ["'parcels'"]),
        ("return {'parcels': [1, 2]}", 3, ["'parcels'", "list", "polars DataFrame"]),
        ("return 3", 3, ["'parcels'"]),
    ],
)
def test_whatever_source_py_does_is_told(
    here: Workshop, raised: str, code: int, words: list[str]
) -> None:
    (here.project / "source.py").write_text(SOURCE.format(raised=raised))
    done = edge.command("land", "-p", PROJECT, "--from", str(AS_OF), "--to", str(AS_OF))
    done.insist(code, *words)


def test_what_stops_a_stage_goes_through_code_of_the_user() -> None:
    """A pod that is told to end has 30 seconds: it may not be told that model.py is wrong."""
    from ml.core.errors import Stopped

    for stop in (Stopped(143), KeyboardInterrupt()):
        with pytest.raises(type(stop)), users_code("model()"):
            raise stop


# Records


def test_a_record_that_lacks_a_fact_is_told(here: Workshop) -> None:
    here.land_window()
    assert edge.ml("run").code == 0
    (record,) = (here.folder / "local/data/parcels/register").rglob("record.json")
    record.write_text(record.read_text().replace('"artifact"', '"artefact"'))
    edge.ml("roll-out", "--upstream", f"file://{record}").insist(3, "'artifact'", "record")


def test_a_damaged_note_of_a_day_is_named(here: Workshop) -> None:
    here.land_window()
    assert edge.ml("chain", "ingest", "validate", "build_features").code == 0
    note = next((here.folder / "local/data/parcels/build_features").rglob("output.json"))
    note.write_text("{")
    here.land(AS_OF, parcels(AS_OF, rows=160))
    edge.ml("chain", "ingest", "validate", "build_features").insist(3, str(note), "remove it")


# MLflow


def no_database(file: Path) -> None:
    file.write_bytes(b"this is no database" * 100)


def cut_short(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def missing_table(file: Path) -> None:
    _change(file, "DROP TABLE registered_models")


def newer(file: Path) -> None:
    _change(file, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _change(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as database:
        database.execute(statement)


@pytest.mark.parametrize("spoil", [no_database, cut_short, missing_table, newer, a_folder])
def test_a_spoilt_database_is_named(here: Workshop, spoil: Callable[[Path], None]) -> None:
    file = here.folder / "local/mlflow.db"
    spoil(file)
    edge.ml("pin-champion").insist(3, "MLflow", "mlflow.db")


def test_what_is_gone_from_mlflow_or_the_models_is_told(here: Workshop) -> None:
    """The champion's file, its alias' model, and the experiment, each at the stage that asks."""
    here.land_window()
    assert edge.ml("run").code == 0
    registered = next((here.folder / "local/data/parcels/register").rglob("record.json"))
    rolled = ("roll-out", "--upstream", f"file://{registered}")
    models = here.folder / "local/models"
    shutil.move(models, here.folder / "kept")
    edge.ml(*rolled).insist(3, "version 1 of parcels", "local/models/parcels")
    next_day = AS_OF + timedelta(days=1)
    here.land(next_day)
    edge.ml("run", as_of=next_day).insist(3, "champion (version 1)", "put its files back")
    shutil.rmtree(models)
    shutil.move(here.folder / "kept", models)
    uri = f"sqlite:///{here.folder}/local/mlflow.db"
    client = open_client(uri)
    client.delete_registered_model(PROJECT)
    edge.ml(*rolled).insist(3, PROJECT, "not found", "remove the records")
    edge.ml("pin-champion").insist(3, "no version of 'parcels' is champion")
    (experiment,) = [one for one in client.search_experiments() if one.name == PROJECT]
    client.delete_experiment(experiment.experiment_id)
    here.land(next_day + timedelta(days=1))
    edge.ml("run", as_of=next_day + timedelta(days=1)).insist(3, "experiment", "restore it")


def _errors_of_mlflow() -> Iterator[tuple[Exception, int]]:
    """Each error that MLflow has a code for, and those of the libraries that it lets through."""
    passing = {500, 503, 504, 429, 409, 408}
    for code in databricks_pb2.ErrorCode.keys():  # noqa: SIM118 - not a mapping
        error = MlflowException("said so", databricks_pb2.ErrorCode.Value(code))
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        waits = status in passing or code == "BAD_REQUEST"
        if 400 <= status < 500 or waits:
            yield error, 1 if waits else 3
    cause = sqlite3.OperationalError
    for words, exit_code in {
        "database is locked": 1,
        "attempt to write a readonly database": 3,
        "database or disk is full": 3,
        "unable to open database file": 3,
        "no such table: metrics": 3,
        "database disk image is malformed": 3,
        "disk I/O error": 3,
    }.items():
        yield sqlalchemy.exc.OperationalError("SELECT", None, cause(words)), exit_code
        yield cause(words), exit_code
    for status, exit_code in {403: 3, 404: 3, 429: 1, 503: 1}.items():
        answer = requests.Response()
        answer.status_code = status
        yield requests.HTTPError("said so", response=answer), exit_code
        told: Any = {"Error": {}, "ResponseMetadata": {"HTTPStatusCode": status}}
        yield botocore.exceptions.ClientError(told, "PutObject"), exit_code
    yield requests.ConnectionError("nobody there"), 1
    yield botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), 1
    for number in (errno.EACCES, errno.ENOSPC, errno.EROFS):
        yield OSError(number, os.strerror(number), "/a/place"), 3


@pytest.mark.parametrize(
    ("error", "code"),
    list(_errors_of_mlflow()),
    ids=lambda value: " ".join(str(value).split())[:60],
)
def test_every_error_of_mlflows_client_is_told(error: Exception, code: int) -> None:
    with pytest.raises(StageError) as told, speaking_to("http://me:s3cret@mlflow:5000"):
        raise error
    assert told.value.exit_code == code, str(told.value)
    assert isinstance(told.value, BadInputError) == (code == 3)
    assert "\n" not in str(told.value)
    assert "s3cret" not in str(told.value)


def test_a_client_that_is_kept_tells_its_errors_too(here: Workshop) -> None:
    client = ToldClient(f"sqlite:///{here.folder}/local/mlflow.db")
    with pytest.raises(BadInputError, match="not found"):
        client.get_registered_model("nobody")


# What answers over HTTP


class Answers:
    """A server that answers everything alike, as one that is in trouble does."""

    def __init__(self) -> None:
        outer = self
        self.status, self.body = 200, b""

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b"" if self.command == "HEAD" else outer.body
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - its words

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.server.shutdown()
    made.server.server_close()


BUCKETS = [
    (403, "AccessDenied", 3, "AWS_ACCESS_KEY_ID"),
    (403, "InvalidAccessKeyId", 3, "AWS_ACCESS_KEY_ID"),
    (401, "Unauthorized", 3, "AWS_ACCESS_KEY_ID"),
    (404, "NoSuchBucket", 3, "there is no s3://data"),
    (400, "InvalidBucketName", 3, "AWS_ENDPOINT_URL"),
    (301, "PermanentRedirect", 3, "AWS_ENDPOINT_URL"),
    (507, "XMinioStorageFull", 3, "is full"),
    (429, "TooManyRequests", 1, "did not answer"),
    (500, "InternalError", 1, "did not answer"),
    (503, "SlowDown", 1, "did not answer"),
]
CALLS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("a"),
    "size": lambda store: store.size("a"),
    "sizes": lambda store: store.sizes("a/"),
    "create": lambda store: store.create("a", b""),
    "replace": lambda store: store.replace("a", b""),
}


@pytest.fixture
def bucket(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket at the server, with a patience that suits a test."""
    for name, value in {
        "AWS_ENDPOINT": answers.uri,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    impatient = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
    monkeypatch.setattr(ml.core.store, "PATIENCE", impatient)
    return Store("s3://data")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "code", "exit_code", "words"), BUCKETS)
def test_every_answer_of_a_bucket_is_told(
    bucket: Store,
    answers: Answers,
    status: int,
    code: str,
    exit_code: int,
    words: str,
    call: str,
) -> None:
    answers.status = status
    answers.body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()
    if (call, status) == ("size", 404):
        # A question without a body has an answer without one: nothing tells bucket from object.
        assert bucket.size("a") is None
        return
    with pytest.raises(StageError) as told:
        CALLS[call](bucket)
    assert told.value.exit_code == exit_code, str(told.value)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AWS_ENDPOINT", "http://127.0.0.1:9", 1),
        ("AWS_ENDPOINT", "http://nobody.invalid", 1),
        ("AWS_ENDPOINT", "no address", 3),
        ("AWS_ALLOW_HTTP", "false", 3),
    ],
)
def test_a_bucket_that_can_t_be_reached_is_told(
    bucket: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: int
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StageError) as told:
        bucket.read("a")
    assert told.value.exit_code == code, str(told.value)


KINDS = [
    kind
    for kind in vars(obstore.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, obstore.exceptions.BaseError)
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_error_of_the_store_is_told(kind: type[Exception], call: str) -> None:
    class Raising:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def method(*_: object, **__: object) -> None:
                raise kind("said so")

            return method

    store = Store("s3://data")
    store.__dict__["_open"] = Raising()
    if (kind.__name__, call) == ("AlreadyExistsError", "create"):
        assert store.create("a", b"") is False
        return
    with pytest.raises(StageError) as told:
        CALLS[call](store)
    assert "said so" in str(told.value)


@pytest.mark.parametrize(
    ("status", "code"), [(401, 3), (403, 3), (404, 3), (400, 3), (429, 1), (500, 1), (503, 1)]
)
def test_every_answer_of_an_mlflow_server_is_told(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    monkeypatch.setattr("ml.registry.mlflow_rest.TRIES", 1)
    answers.status, answers.body = status, b'{"message": "said so"}'
    with pytest.raises(StageError) as told:
        MlflowServer(answers.uri).get("registered-models/search")
    assert told.value.exit_code == code, str(told.value)


@pytest.mark.parametrize("uri", ["http://", "http://a b", "http://host:port", "https://[::1"])
def test_an_address_of_mlflow_that_is_none_is_told(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setattr("ml.registry.mlflow_rest.TRIES", 1)
    with pytest.raises(StageError):
        MlflowServer(uri).get("registered-models/search")


# The last net

NET: list[tuple[BaseException, int, str]] = [
    (PermissionError(errno.EACCES, "no", "/a/place"), 3, "/a/place"),
    (OSError(errno.ENOSPC, "full"), 3, "the disk is full"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "nobody"), 1, "nobody"),
    (urllib.error.URLError("nobody"), 1, "nobody"),
    (TimeoutError(), 1, "TimeoutError"),
    (ModuleNotFoundError("No module named 'boto3'", name="boto3"), 3, "package boto3"),
    (MemoryError(), 3, "memory"),
    (BadInputError("said so"), 3, "said so"),
]


@pytest.mark.parametrize(("error", "code", "words"), NET, ids=lambda value: str(value)[:40])
def test_what_nobody_has_caught_is_told_by_its_kind(
    error: BaseException, code: int, words: str
) -> None:
    told = as_sentence(error, "train of parcels")
    assert told.exit_code == code
    assert words in str(told)
    assert "unexpected" not in str(told)


def test_a_fault_of_ours_says_what_was_done_and_who_wants_to_know() -> None:
    try:
        raise KeyError("nothing that a user did")
    except KeyError as error:
        told = as_sentence(error, "train of parcels for 2024-03-08")
    assert told.exit_code == 1
    for words in ("unexpected KeyError", "test_errors.py:", "train of parcels", "SLIPWAY_DEBUG=1"):
        assert words in str(told)


@pytest.mark.parametrize(
    ("status", "code"), [(401, 3), (403, 3), (404, 3), (422, 3), (409, 1), (429, 1), (500, 1)]
)
def test_every_answer_of_a_cluster_is_told(status: int, code: int) -> None:
    from kubernetes.client.exceptions import ApiException

    from ml.rollout.targets.kubernetes import _doing

    refused = pytest.raises(StageError, match="refused to deploy parcels-blue")
    with refused as told, _doing("deploy parcels-blue"):
        raise ApiException(status=status, reason="said so")
    assert told.value.exit_code == code
