"""The HTTP interface of one loaded model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml.serving.drain import Drain
from ml.serving.manifest import ArtifactManifest
from ml.serving.metrics import Metrics, new_metrics
from ml.serving.predictors import Predictor
from ml.serving.refusals import Refusal, ask
from ml.serving.rows import complaints, request_adapter

# Each costs some predictions to find, and nobody else is answered meanwhile.
_MOST_REFUSALS = 5
_SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True)
class ServedModel:
    """A model that may be served: loaded, tested and known by its version."""

    manifest: ArtifactManifest
    predictor: Predictor
    version: str
    variant: str


@dataclass(frozen=True)
class Limits:
    """The largest request that is answered."""

    rows: int = 1000
    body_bytes: int = 4 << 20


class _RefusedError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, detail: object) -> None:
        self.status = status
        self.detail = detail


def create_app(model: ServedModel, limits: Limits, drain: Drain) -> FastAPI:
    """Build the application around a model that is ready to answer."""
    project = model.manifest.project
    # Its /docs brings its own scripts: pods, and many who look at them, reach no other server.
    app = FastAPIOffline(
        redoc_url=None,
        title=f"{project}: predictions",
        version=model.version,
        description=f"ServedModel version {model.version}, which tells `{model.manifest.target}`.",
    )
    metrics = new_metrics(model.version, model.variant)
    adapter = request_adapter(model.manifest, limits.rows)
    path = f"/v1/projects/{project}/predict"
    _add_predict(app, path, _Answering(model, limits, adapter, metrics))
    _add_health(app, drain, metrics)
    app.openapi = lambda: _openapi(app, adapter)  # type: ignore[method-assign]
    app.add_middleware(_Labelled, model=model, drain=drain, metrics=metrics, path=path)
    return app


@dataclass(frozen=True)
class _Answering:
    """Everything that one prediction needs."""

    model: ServedModel
    limits: Limits
    adapter: TypeAdapter[Any]
    metrics: Metrics

    def answer(self, body: bytes) -> bytes:
        """The JSON answer to a JSON request; raises _RefusedError."""
        try:
            rows = self.adapter.validate_json(body)["rows"]
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            raise _RefusedError(422, complaints(found)) from None
        known = next(iter(self.model.manifest.sample), None)
        answers = ask(self.model.predictor, rows, known, most=_MOST_REFUSALS)
        if answers.refusals:
            raise _RefusedError(422, [_told(refusal) for refusal in answers.refusals])
        self.metrics.scored(len(rows))
        return _json({"predictions": answers.scores, "model_version": self.model.version})


def _told(refusal: Refusal) -> dict[str, object]:
    told: dict[str, object] = {"row": refusal.row}
    if refusal.column is not None:
        told["column"] = refusal.column
    return told | {"message": refusal.reason}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _reply(status: int, content: object) -> Response:
    return Response(_json(content), status, media_type="application/json")


def _add_predict(app: FastAPI, path: str, answering: _Answering) -> None:
    body = {"content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}PredictRequest"}}}}
    answers: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}Predictions"}}}},
        413: {"description": "The request is too long."},
        422: {"description": "A row or column is not as the model needs it."},
    }
    extra = {"requestBody": {"required": True, **body}}

    @app.post(path, openapi_extra=extra, responses=answers, tags=["predict"])
    async def predict(request: Request) -> Response:
        """Score rows. The order of the predictions is the order of the rows."""
        try:
            content = await _body(request, answering.limits.body_bytes)
            return Response(answering.answer(content), media_type="application/json")
        except _RefusedError as refusal:
            return _reply(refusal.status, {"detail": refusal.detail})


async def _body(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _RefusedError(
                413, f"the request is longer than {most} bytes; send fewer rows at once"
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _add_health(app: FastAPI, drain: Drain, metrics: Metrics) -> None:
    @app.get("/v2/health/live", tags=["health"])
    async def live() -> Response:
        """Whether this process works at all."""
        return _reply(200, {"live": True})

    @app.get("/v2/health/ready", tags=["health"])
    async def ready() -> Response:
        """Whether to send requests here: the model is loaded and the process is to stay."""
        return _reply(503 if drain.begun else 200, {"ready": not drain.begun})

    @app.get("/metrics", tags=["health"], include_in_schema=False)
    async def read_metrics() -> Response:
        """The measures for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _openapi(app: FastAPI, adapter: TypeAdapter[Any]) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schema.setdefault("components", {}).setdefault("schemas", {}).update(_schemas(adapter))
        app.openapi_schema = schema
    return app.openapi_schema


def _schemas(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    request = adapter.json_schema(ref_template=_SCHEMAS + "{model}")
    definitions = request.pop("$defs", {})
    number = {"type": "array", "items": {"type": "number"}}
    answer = {
        "type": "object",
        "required": ["predictions", "model_version"],
        "properties": {"predictions": number, "model_version": {"type": "string"}},
    }
    return {**definitions, "PredictRequest": request, "Predictions": answer}


class _Labelled:
    """Tells in every answer which model gave it, and measures the predictions."""

    def __init__(
        self, app: ASGIApp, model: ServedModel, drain: Drain, metrics: Metrics, path: str
    ) -> None:
        self._app = app
        self._model = model
        self._drain = drain
        self._metrics = metrics
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == self._path:
            await self._measured(scope, receive, send)
        else:
            await self._app(scope, receive, lambda message: send(self._label(message)))

    def _label(self, message: Message) -> Message:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["x-model-version"] = self._model.version
            headers["x-model-variant"] = self._model.variant
            if self._drain.begun:
                headers["connection"] = "close"
        return message

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, code = time.perf_counter(), 500
        in_flight = self._metrics.in_flight.labels(*self._metrics.labels)

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(self._label(message))

        with in_flight.track_inprogress():
            try:
                await self._app(scope, receive, noting)
            finally:
                self._metrics.answered(code, time.perf_counter() - began)
