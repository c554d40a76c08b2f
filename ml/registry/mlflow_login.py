"""How to log in to an MLflow: the same for its client and for what is asked over REST.

User and password in MLflow's own variables come first, then a token, then the address, then the
file that MLflow's client reads.
"""

import base64
import configparser
import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ml.core.errors import BadInputError

USER, PASSWORD, TOKEN = (f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN"))
FILE = Path("~/.mlflow/credentials")


@dataclass(frozen=True)
class Login:
    """A user with a password, or a token, or nothing."""

    user: str = ""
    password: str = ""
    token: str = ""

    @property
    def header(self) -> dict[str, str]:
        """The header to send."""
        if self.user:
            return {"Authorization": authorization(self.user, self.password)}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def variables(self) -> dict[str, str]:
        """What to set so that MLflow's client logs in like this."""
        return {USER: self.user, PASSWORD: self.password} if self.user else {}


def login_of(uri: str) -> Login:
    """Find the login for an address, which may hold it itself."""
    user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    if user and password:
        return Login(user, password)
    if token := os.environ.get(TOKEN):
        return Login(token=token)
    parts = _parts(uri)
    if parts.scheme in ("http", "https") and parts.username:
        named = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        return Login(*named)
    return _filed()


def _filed() -> Login:
    filed = configparser.ConfigParser(interpolation=None)
    try:
        filed.read(FILE.expanduser())
    except (configparser.Error, OSError, UnicodeDecodeError):
        return Login()  # MLflow's client says what is wrong with it
    named = (filed.get("mlflow", name.lower(), fallback="") for name in (USER, PASSWORD))
    return Login(*named)


def bare(uri: str) -> str:
    """Return an address without its login."""
    if not uri.startswith(("http://", "https://")):
        return uri
    parts = _parts(uri.rstrip("/"))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _parts(uri: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(uri)
    except ValueError as error:
        raise BadInputError(f"MLFLOW_TRACKING_URI is no address: {error}") from error


def without_password(text: str) -> str:
    """Cut `user:password@` out of every address in a text."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def authorization(name: str, password: str) -> str:
    """Write the header of HTTP's basic login."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
