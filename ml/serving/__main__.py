"""Serve one pinned model: `python -m ml.serving`, told what by the environment."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time

import uvicorn
from pydantic import ValidationError

from ml.serving.app import Limits, ServedModel, create_app
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.drain import Drain, DrainingServer
from ml.serving.predictors import load
from ml.serving.server_settings import ServingSettings

_log = logging.getLogger("ml.serving")
_WARM_UP_ROUNDS = 20
# Longer than the idle time-outs of usual clients, so that they, not we, end a quiet connection.
_KEEP_ALIVE_SECONDS = 650


def main() -> int:
    """Load the model, answer until told to stop, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = ServingSettings()  # type: ignore[call-arg]  # filled from the environment
        model = load_model(settings)
    except ValidationError as error:
        return _refuse(_first_mistake(error))
    except ArtifactError as error:
        return _refuse(str(error))
    except Exception as error:
        if os.environ.get("SLIPWAY_DEBUG") == "1":
            raise
        return _refuse(f"the model can't be served: {type(error).__name__}: {error}")
    return _serve(model, settings)


def load_model(settings: ServingSettings) -> ServedModel:
    """Fetch, check, load and warm the model; raises ArtifactError."""
    began = time.monotonic()
    manifest, content = fetch(settings.model_uri, settings.model_sha256)
    if manifest.project != settings.project:
        raise ArtifactError(
            f"{settings.model_uri} is a model of {manifest.project}, not {settings.project}"
        )
    predictor = load(manifest, content)
    for _ in range(_WARM_UP_ROUNDS):
        predictor(manifest.sample[:1])
    _log.info(
        "model %s of %s is loaded and repeats its predictions (%s, %d bytes, %.2f s)",
        *(settings.model_version, settings.project, manifest.format, len(content)),
        time.monotonic() - began,
    )
    return ServedModel(manifest, predictor, settings.model_version, settings.variant)


def _serve(model: ServedModel, settings: ServingSettings) -> int:
    drain = Drain(settings.drain_seconds)
    app = create_app(model, Limits(settings.max_rows, settings.max_body_bytes), drain)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=15,
    )
    gc.collect()
    gc.freeze()  # what is loaded now stays: no collection has to look at it again
    server = DrainingServer(config, drain)
    server.run()
    return 0 if server.started else 1


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 1


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = "SLIPWAY_" + "_".join(str(part) for part in first["loc"]).upper()
    return f"{name}: {first['msg']}"


if __name__ == "__main__":
    sys.exit(main())
