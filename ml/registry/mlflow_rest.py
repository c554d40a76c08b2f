"""Questions to an MLflow server over its documented REST API, without MLflow's client.

Loading the client takes longer than most stages work. The login and the trust are taken from the
variables that MLflow's own client uses.
"""

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.core.errors import StageError

API = "api/2.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
TRIES = 5
TIMEOUT = 30.0
AWAY = frozenset({429, 500, 502, 503, 504})


class RestError(StageError):
    """MLflow said no, or nothing at all; `error_code` is its word for it, if it gave one."""

    def __init__(self, message: str, error_code: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code


@dataclass(frozen=True)
class MlflowServer:
    """A server by its address, which may hold a login: `https://user:password@host`."""

    uri: str

    def get(self, path: str, **question: str) -> dict[str, Any]:
        """Ask; a field of the question may not be empty."""
        return self._answer("GET", f"{API}/{path}?{urllib.parse.urlencode(question)}")

    def post(self, path: str, **said: object) -> dict[str, Any]:
        """Tell; what is None is left out."""
        return self._answer("POST", f"{API}/{path}", _json(said))

    def delete(self, path: str, **said: object) -> dict[str, Any]:
        """Have something removed."""
        return self._answer("DELETE", f"{API}/{path}", _json(said))

    def put_artifact(self, path: str, content: bytes) -> None:
        """Have the server keep a file among its artifacts."""
        self._answer("PUT", f"{ARTIFACTS}/{urllib.parse.quote(path)}", content)

    def _answer(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Send a request, again while the server is away; RestError when it stays so."""
        for left in reversed(range(TRIES)):
            try:
                return self._once(method, path, body)
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError) and error.code not in AWAY:
                    raise self._refusal(error) from error
                if not left:
                    reason = getattr(error, "reason", error)
                    raise RestError(
                        f"MLflow at {self._address} did not answer: {reason}"
                    ) from error
                time.sleep(0.5 * 2 ** (TRIES - left - 1))
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        url = f"{self._address}/{path}"
        headers = {"Content-Type": "application/json"} | self._login()
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - http(s)
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=_trust()) as answer:  # noqa: S310
            return self._read(answer.read())

    def _read(self, text: bytes) -> dict[str, Any]:
        """Read an answer; a file that was kept is answered with nothing."""
        try:
            return dict(json.loads(text)) if text.strip() else {}
        except ValueError as error:
            told = f"{text[:80]!r}"
            raise RestError(f"what is at {self._address} is no MLflow; it says {told}") from error

    @property
    def _address(self) -> str:
        """The address without its login."""
        parts = urllib.parse.urlsplit(self.uri.rstrip("/"))
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def _login(self) -> dict[str, str]:
        name = os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
        if name and password:
            return {"Authorization": authorization(name, password)}
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            return {"Authorization": f"Bearer {token}"}
        parts = urllib.parse.urlsplit(self.uri)
        if parts.username:
            named = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            return {"Authorization": authorization(*named)}
        return {}

    def _refusal(self, error: urllib.error.HTTPError) -> RestError:
        text = error.read().decode(errors="replace")
        try:
            answer = dict(json.loads(text))
        except ValueError:
            answer = {"message": text[:200]}
        sentence = f"MLflow at {self._address}: {error.code}: {answer.get('message', '')}"
        return RestError(sentence, str(answer.get("error_code", "")))


def authorization(name: str, password: str) -> str:
    """Write the header of HTTP's basic login."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _json(said: Mapping[str, object]) -> bytes:
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def _trust() -> ssl.SSLContext:
    """Trust whom MLflow's own client would."""
    context = ssl.create_default_context(
        cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
    )
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
