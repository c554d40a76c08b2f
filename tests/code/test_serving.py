"""The serving process over loopback, with a real model in it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.code.serving_process import Running, outcome, serving
from tests.code.small_model import Published, publish

PREDICT = "/v1/projects/parcels/predict"
ROW = {"copy": 3, "dep delay": 0.5, "carrier": "UA"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(published: Published) -> Iterator[Running]:
    limits = {"SLIPWAY_MAX_ROWS": "50", "SLIPWAY_MAX_BODY_BYTES": "20000"}
    with serving(published.environment() | limits) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as ready:
        yield ready


def test_a_model_repeats_its_own_predictions(client: httpx.Client, published: Published) -> None:
    reply = client.post(PREDICT, json={"rows": published.manifest.sample})
    assert reply.status_code == 200
    assert reply.json()["model_version"] == "7"
    assert reply.json()["predictions"] == pytest.approx(published.manifest.expected, abs=1e-6)
    assert len(set(published.manifest.expected)) > 3
    assert reply.headers["x-model-version"] == "7"
    assert reply.headers["x-model-variant"] == "blue"


def test_a_nullable_column_may_be_null_or_left_out(client: httpx.Client) -> None:
    without = {key: value for key, value in ROW.items() if key != "dep delay"}
    reply = client.post(PREDICT, json={"rows": [without, {**without, "dep delay": None}]})
    first, second = reply.json()["predictions"]
    assert first == second


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({**ROW, "copy": "a secret"}, "copy", "valid integer"),
        ({**ROW, "copy": None}, "copy", "valid integer"),
        ({**ROW, "copy": 2**70}, "copy", "less than or equal"),
        ({**ROW, "dep delay": "a secret"}, "dep delay", "valid number"),
        ({**ROW, "carrier": 7}, "carrier", "valid string"),
        ({**ROW, "arrival": "a secret"}, "arrival", "not permitted"),
        ({"dep delay": 1.0, "carrier": "UA"}, "copy", "required"),
    ],
)
def test_a_bad_value_is_refused_by_row_and_column(
    client: httpx.Client, row: dict[str, object], column: str, message: str
) -> None:
    reply = client.post(PREDICT, json={"rows": [ROW, row]})
    assert reply.status_code == 422
    (complaint,) = reply.json()["detail"]
    assert (complaint["row"], complaint["column"]) == (1, column)
    assert message in complaint["message"].lower()
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "[]", "{}", '{"rows": []}', '{"rows": [], "more": 1}', '{"rows": 3}'),
        *('{"rows": [', '{"rows": [{"copy": NaN}]}', '"a secret"', "\ud800"),
    ],
)
def test_what_is_not_a_request_is_refused(client: httpx.Client, body: str) -> None:
    reply = client.post(PREDICT, content=body.encode(errors="surrogatepass"))
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["message"]
    assert "secret" not in reply.text


def test_not_a_number_is_not_a_value(client: httpx.Client) -> None:
    body = json.dumps({"rows": [{**ROW, "dep delay": float("nan")}]})
    reply = client.post(PREDICT, content=body)
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["column"] == "dep delay"


def test_too_many_rows_and_too_long_a_body_are_refused(client: httpx.Client) -> None:
    many = client.post(PREDICT, json={"rows": [ROW] * 51})
    assert many.status_code == 422
    assert "at most 50" in many.json()["detail"][0]["message"]
    long = client.post(PREDICT, json={"rows": [{**ROW, "carrier": "x" * 30000}]})
    assert long.status_code == 413
    assert "20000 bytes" in long.json()["detail"]


def test_a_hundred_mistakes_give_a_short_answer(client: httpx.Client) -> None:
    reply = client.post(PREDICT, json={"rows": [{"copy": "x", "carrier": 1}] * 50})
    assert reply.json()["detail"][-1] == {"message": "and 80 more"}


def test_the_interface_is_described_by_column(client: httpx.Client, published: Published) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    row = schemas["Row"]
    assert list(row["properties"]) == ["copy", "dep delay", "carrier"]
    assert row["required"] == ["copy", "carrier"]
    assert row["additionalProperties"] is False
    (example,) = schemas["PredictRequest"]["examples"]
    assert example == {"rows": published.manifest.sample[:1]}
    assert client.post(PREDICT, json=example).status_code == 200


def test_the_page_about_the_interface_needs_no_other_server(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(needed) >= 3
    for address in needed:
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200


def test_requests_are_measured_by_version_and_outcome(client: httpx.Client) -> None:
    labels = 'code="{code}",model_version="7",variant="blue"'

    def count(code: int) -> float:
        series = f"slipway_predict_seconds_count{{{labels.format(code=code)}}}"
        found = re.search(re.escape(series) + r" (\S+)", client.get("/metrics").text)
        return float(found[1]) if found else 0.0

    good, bad = count(200), count(422)
    client.post(PREDICT, json={"rows": [ROW]})
    client.post(PREDICT, json={"rows": [{}]})
    assert (count(200), count(422)) == (good + 1, bad + 1)
    assert 'le="0.00025"' in client.get("/metrics").text
    assert "process_resident_memory_bytes" in client.get("/metrics").text


def test_the_scikit_learn_form_of_a_model_answers_the_same(
    tmp_path: Path, published: Published
) -> None:
    fallback = publish(tmp_path, kind="sklearn")
    with serving(fallback.environment()) as running:
        reply = httpx.post(running.url + PREDICT, json={"rows": fallback.manifest.sample})
    assert reply.json()["predictions"] == pytest.approx(published.manifest.expected, abs=1e-5)


class _Callers:
    """Clients that send one request after another, each on a connection that it keeps."""

    def __init__(self, running: Running, count: int) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self._running = running
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> _Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        body = {"rows": [ROW] * 20}
        with httpx.Client(base_url=self._running.url, timeout=10) as client:
            # Like an endpoint controller: no new request after "not ready" was seen.
            while not self._enough.is_set():
                try:
                    code = client.post(PREDICT, json=body).status_code
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return
                self.answers += code == 200
                if code != 200:
                    self.failures.append(str(code))


def test_the_order_to_stop_fails_no_request(published: Published) -> None:
    with serving(published.environment() | {"SLIPWAY_DRAIN_SECONDS": "6"}) as running:
        with _Callers(running, 4) as callers:
            time.sleep(0.5)
            running.process.send_signal(signal.SIGTERM)
            while running.is_ready():
                time.sleep(0.02)
            seen = callers.answers
            time.sleep(0.5)  # callers that have not noticed yet still get answers
        assert running.process.poll() is None
        assert running.process.wait(timeout=20) == 0
    assert callers.failures == []
    assert callers.answers > seen > 0


def test_an_answer_during_the_drain_closes_its_connection(published: Published) -> None:
    with serving(published.environment()) as running, httpx.Client(base_url=running.url) as client:
        assert "connection" not in client.post(PREDICT, json={"rows": [ROW]}).headers
        running.process.send_signal(signal.SIGTERM)
        while running.is_ready():
            time.sleep(0.02)
        last = client.post(PREDICT, json={"rows": [ROW]})
        assert (last.status_code, last.headers["connection"]) == (200, "close")


def test_a_request_half_sent_at_the_order_to_stop_is_answered(published: Published) -> None:
    body = json.dumps({"rows": [ROW]}).encode()

    def slowly() -> Iterator[bytes]:
        yield body[:10]
        running.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        yield body[10:]

    with serving(published.environment() | {"SLIPWAY_DRAIN_SECONDS": "0.2"}) as running:
        reply = httpx.post(running.url + PREDICT, content=slowly())
        assert reply.status_code == 200
        assert running.process.wait(timeout=20) == 0


@pytest.fixture
def own(tmp_path: Path) -> Published:
    """A published model that a test may damage."""
    return publish(tmp_path)


def _no_model(own: Published) -> dict[str, str]:
    own.model.unlink()
    return {}


def _no_folder(_: Published) -> dict[str, str]:
    return {"SLIPWAY_MODEL_URI": "/nowhere/at/all"}


def _cut_short(own: Published) -> dict[str, str]:
    own.model.write_bytes(own.model.read_bytes()[:-100])
    return {}


def _other_digest(_: Published) -> dict[str, str]:
    return {"SLIPWAY_MODEL_SHA256": "0" * 64}


def _other_project(_: Published) -> dict[str, str]:
    return {"SLIPWAY_PROJECT": "flights"}


def _torn_manifest(own: Published) -> dict[str, str]:
    (own.folder / "manifest.json").write_text('{"project": "parcels"')
    return {}


def _not_a_model(own: Published) -> dict[str, str]:
    own.model.write_bytes(b"not a graph")
    digest = hashlib.sha256(b"not a graph").hexdigest()
    _rewrite(own, sha256=digest)
    return {"SLIPWAY_MODEL_SHA256": digest}


def _other_predictions(own: Published) -> dict[str, str]:
    _rewrite(own, expected=[0.5] * len(own.manifest.expected))
    return {}


def _no_version(_: Published) -> dict[str, str]:
    return {"SLIPWAY_MODEL_VERSION": ""}


def _rewrite(own: Published, **changes: object) -> None:
    changed = own.manifest.model_copy(update=changes)
    (own.folder / "manifest.json").write_text(changed.model_dump_json())


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_model, "model.onnx does not exist"),
        (_no_folder, "/nowhere/at/all can't be opened"),
        (_cut_short, "has sha256"),
        (_other_digest, "not 0000"),
        (_other_project, "is a model of parcels, not flights"),
        (_torn_manifest, "manifest.json is damaged"),
        (_not_a_model, "model.onnx can't be loaded"),
        (_other_predictions, "does not repeat its own predictions"),
        (_no_version, "SLIPWAY_MODEL_VERSION"),
    ],
)
def test_a_model_that_is_not_as_promised_is_never_served(
    own: Published, spoil: object, sentence: str
) -> None:
    assert callable(spoil)
    changes = spoil(own)
    code, last = outcome(own.environment() | changes)
    assert code == 1
    assert last.startswith("error: ")
    assert sentence in last
