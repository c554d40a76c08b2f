"""Questions to an MLflow server over its documented REST API, without MLflow's client.

Loading the client takes longer than most stages work. The login is the client's, and the trust is
taken from the variables that it uses.
"""

import http.client
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

from ml.registry.mlflow_login import bare, login_of
from ml.registry.mlflow_trouble import TrackingError, TrackingRefusedError, trouble

API = "api/2.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
TRIES = 5
TIMEOUT = 30.0
AWAY = frozenset({429, 500, 502, 503, 504})


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
        """Send a request, again while the server is away; TrackingError when it stays so."""
        for left in reversed(range(TRIES)):
            try:
                return self._once(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code not in AWAY:
                    raise self._refusal(error) from error
                self._give_up(error, left)
            except (OSError, http.client.HTTPException) as error:
                self._give_up(error, left)
            time.sleep(0.5 * 2 ** (TRIES - left - 1))
        raise AssertionError("the last try returns or raises")

    def _give_up(self, error: Exception, left: int) -> None:
        reason = getattr(error, "reason", error)
        said = f"MLflow at {self._address} did not answer: {reason}"
        if isinstance(reason, ssl.SSLCertVerificationError):
            way_out = "name the certificates to trust in MLFLOW_TRACKING_SERVER_CERT_PATH"
            raise TrackingRefusedError(f"{said}: {way_out}") from error
        if isinstance(error, http.client.InvalidURL):
            raise TrackingRefusedError(f"{said}: correct MLFLOW_TRACKING_URI") from error
        if not left:
            raise TrackingError(said) from error

    def _once(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        url = f"{self._address}/{path}"
        headers = {"Content-Type": "application/json"} | login_of(self.uri).header
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - http(s)
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=_trust()) as answer:  # noqa: S310
            return self._read(answer.read())

    def _read(self, text: bytes) -> dict[str, Any]:
        """Read an answer; a file that was kept is answered with nothing."""
        try:
            return dict(json.loads(text)) if text.strip() else {}
        except ValueError as error:
            raise TrackingRefusedError(
                f"what is at {self._address} is no MLflow; it says {text[:80]!r}: "
                "correct MLFLOW_TRACKING_URI"
            ) from error

    @property
    def _address(self) -> str:
        return bare(self.uri)

    def _refusal(self, error: urllib.error.HTTPError) -> TrackingError:
        text = error.read().decode(errors="replace")
        try:
            answer = dict(json.loads(text))
        except ValueError:
            answer = {"message": text[:200]}
        said = f"{error.code}: {answer.get('message', '')}"
        code = str(answer.get("error_code", ""))
        return trouble(self._address, said, code=code, status=error.code)


def _json(said: Mapping[str, object]) -> bytes:
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def _trust() -> ssl.SSLContext:
    """Trust whom MLflow's own client would."""
    file = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
    try:
        context = ssl.create_default_context(cafile=file)
    except OSError as error:
        raise TrackingRefusedError(
            f"MLFLOW_TRACKING_SERVER_CERT_PATH is {file}, which holds no certificates: {error}"
        ) from error
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
