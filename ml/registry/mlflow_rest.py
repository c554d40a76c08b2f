"""One question to an MLflow server over its documented REST API, without MLflow's client."""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

TRIES = 5
TIMEOUT = 30.0


class RestError(Exception):
    """MLflow said no, or nothing at all; `code` is its error code, if it gave one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def get(uri: str, path: str, question: Mapping[str, str]) -> dict[str, Any]:
    """GET `/api/2.0/mlflow/<path>`, trying again while the server is away."""
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(question)}"
    for left in reversed(range(TRIES)):
        try:
            return _once(url)
        except (urllib.error.URLError, OSError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise _refusal(error) from error
            if not left:
                raise RestError(f"no answer: {getattr(error, 'reason', error)}") from error
            time.sleep(0.5 * 2 ** (TRIES - left - 1))
    raise AssertionError("the last try returns or raises")


def _once(url: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers=_login())  # noqa: S310 - http(s) by the caller
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        return dict(json.load(answer))


def _login() -> dict[str, str]:
    """Use the variables that MLflow's own client uses."""
    name = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if not name:
        return {}
    return {"Authorization": authorization(name, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))}


def authorization(name: str, password: str) -> str:
    """Write the header of HTTP's basic login."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _refusal(error: urllib.error.HTTPError) -> RestError:
    text = error.read().decode(errors="replace")
    try:
        answer = json.loads(text)
        return RestError(f"{error.code}: {answer.get('message', '')}", answer.get("error_code", ""))
    except (ValueError, AttributeError):
        return RestError(f"{error.code}: {text[:200]}")
