"""A connection to an MLflow server, and the one place where its REST API is called.

The connection type is `mlflow`:

    AIRFLOW_CONN_MLFLOW='{"conn_type": "mlflow", "host": "mlflow", "port": 5000,
                          "login": "me", "password": "...", "extra": {"https": false}}'

`host` may also be a whole address, `https://mlflow.example.org/path`, and hold the login,
`https://me:secret@mlflow.example.org`. A password without a login is a token. Extras, all optional:

- `https`: whether to speak TLS when `host` does not say (false),
- `ca_bundle`: a file with the certificates to trust, instead of the machine's,
- `timeout`: seconds an answer may take (30),
- `ui_url`: where browsers find MLflow, for links.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import unquote

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from slipway_mlflow.api import Answer, Call, Question, get

if TYPE_CHECKING:
    import httpx
    from airflow.sdk import Connection

T = TypeVar("T")
TIMEOUT = 30.0
_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _BROKEN = 401, 403, 429, 500
# MLflow says BAD_REQUEST to the second of two that write the same tag or alias at one moment.
_PASSING = frozenset({"BAD_REQUEST", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})


class MlflowUnreachableError(AirflowException):
    """MLflow gave no answer, or none that means anything: a later try may get one."""


class MlflowRefusedError(AirflowFailException):
    """MLflow said no, and will say so again; `code` is its own word for it, if it gave one."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Server:
    """Where an MLflow server is and how to log in, as a connection says."""

    conn_id: str
    url: str
    login: str
    password: str
    verify: str | bool
    timeout: float

    @classmethod
    def of(cls, connection: Connection) -> Server:
        """Read a connection; AirflowFailException when it names no host."""
        extra = connection.extra_dejson
        address = _address(connection, https=extra.get("https") in (True, "true", "True"))
        scheme, _, rest = address.partition("://")
        user, _, bare = rest.rpartition("@")
        login, _, password = (unquote(part) for part in user.partition(":"))
        given = bool(connection.login or connection.password)
        return cls(
            conn_id=connection.conn_id,
            url=f"{scheme}://{bare}",
            login=(connection.login or "") if given else login,
            password=(connection.password or "") if given else password,
            verify=extra.get("ca_bundle") or True,
            timeout=float(extra.get("timeout") or TIMEOUT),
        )

    @property
    def options(self) -> dict[str, Any]:
        """Return what either kind of client is made with."""
        options = {"verify": _trusted(self.verify), "timeout": self.timeout}
        login: dict[str, Any] = {}
        if self.login:
            login = {"auth": (self.login, self.password)}
        elif self.password:
            login = {"headers": {"Authorization": f"Bearer {self.password}"}}
        return {"base_url": f"{self.url}/api/2.0/mlflow/", **options, **login}


class MlflowHook(BaseHook):
    """Ask an MLflow server, and wait for the answer on a worker or in the triggerer.

    Questions are those of `slipway_mlflow.api`:
    `MlflowHook().ask(find_alias("flights", "champion"))`.

    :param mlflow_conn_id: the Airflow connection of type `mlflow`
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow"
    conn_type = "mlflow"
    hook_name = "MLflow"

    def __init__(self, mlflow_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mlflow_conn_id = mlflow_conn_id

    def get_conn(self) -> httpx.Client:
        """Return a client of the server's REST API, logged in; the caller closes it."""
        import httpx  # here and below: not for every parse of a DAG file

        return httpx.Client(**self._server().options)

    def ask(self, question: Question[T]) -> T:
        """Carry a question out, each of its calls in turn.

        Raises MlflowUnreachableError when a later try may help, MlflowRefusedError when not.
        """
        import httpx

        server = self._server()
        asked = _Asked(question)
        with httpx.Client(**server.options) as client:
            while call := asked.call:
                with _told_apart(server):
                    response = client.request(**_request(call))
                asked.answer(_read(server, call, response))
        return asked.result

    async def aask(self, question: Question[T]) -> T:
        """Carry a question out without blocking: `ask` for triggers."""
        import httpx

        server = Server.of(await self.aget_connection(self.mlflow_conn_id))
        asked = _Asked(question)
        async with httpx.AsyncClient(**server.options) as client:
            while call := asked.call:
                with _told_apart(server):
                    response = await client.request(**_request(call))
                asked.answer(_read(server, call, response))
        return asked.result

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the server answers under this name and takes this login, and if not, why."""
        try:
            self.ask(_look_around())
            server = self._server()
        except AirflowException as error:
            return False, str(error)
        return True, f"MLflow at {server.url} answers" + (
            f" the user `{server.login}`" if server.login else ", without a login"
        )

    def _server(self) -> Server:
        return Server.of(self.get_connection(self.mlflow_conn_id))


def _look_around() -> Question[None]:
    """Ask for what any user may see; unlike /health it needs the login and the database."""
    yield get("registered-models/search", max_results=1)


class _Asked(Generic[T]):
    """A question under way: `call` is the next one, None once there is a `result`."""

    def __init__(self, question: Question[T]) -> None:
        self._question = question
        self._result: list[T] = []
        self.call: Call | None = None
        self._go_on(None)

    def answer(self, answer: Answer) -> None:
        """Hand over the answer to `call`."""
        self._go_on(answer)

    def _go_on(self, answer: Answer | None) -> None:
        try:
            # A generator takes None first, and an answer each time after.
            self.call = self._question.send(answer)  # type: ignore[arg-type]
        except StopIteration as ended:
            self.call = None
            self._result.append(ended.value)

    @property
    def result(self) -> T:
        """Return what the question found out."""
        return self._result[0]


def _address(connection: Connection, *, https: bool) -> str:
    host = (connection.host or "").rstrip("/")
    if not host:
        raise AirflowFailException(f"the connection `{connection.conn_id}` names no host of MLflow")
    user = host.rpartition("@")[0].rpartition("/")[2]
    half = "@" in host and not all(user.partition(":"))
    if half or any(sign.isspace() or sign in "?#" for sign in host):
        raise AirflowFailException(
            f"the host of the connection `{connection.conn_id}` is no address: "
            "write `mlflow`, or a whole address such as `https://mlflow.example.org`"
        )
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "https" if https else "http", host
    name, slash, path = rest.partition("/")
    if connection.port and ":" not in name.rpartition("@")[2]:
        name = f"{name}:{connection.port}"
    return f"{scheme}://{name}{slash}{path}"


def _trusted(verify: str | bool) -> Any:  # noqa: ANN401 - True, or a context made from a file
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def _request(call: Call) -> dict[str, Any]:
    where = "params" if call.method == "GET" else "json"
    return {"method": call.method, "url": call.path, where: dict(call.content)}


@contextmanager
def _told_apart(server: Server) -> Iterator[None]:
    """Turn a connection that fails into one sentence."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise MlflowUnreachableError(f"MLflow at {server.url} does not answer: {why}") from None


def _read(server: Server, call: Call, response: httpx.Response) -> Answer:
    """Return the answer's object; raise one sentence for any other answer."""
    said = _object(response)
    if response.is_success and said is not None:
        return said
    code = str((said or {}).get("error_code", ""))
    if code in call.expected:
        return {}
    passing = response.status_code == _TOO_MANY or response.status_code >= _BROKEN
    if passing or code in _PASSING or response.is_success:
        raise MlflowUnreachableError(
            f"MLflow at {server.url} is in trouble: {response.status_code} to {call.path}"
        )
    raise MlflowRefusedError(_refusal(server, call, response, said), code)


def _object(response: httpx.Response) -> Answer | None:
    try:
        value = response.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refusal(server: Server, call: Call, response: httpx.Response, said: Answer | None) -> str:
    user = f"`{server.login}`" if server.login else "a user without a name"
    if response.status_code == _UNAUTHORIZED:
        return (
            f"MLflow at {server.url} does not take the login of {user}: "
            f"correct the connection `{server.conn_id}`"
        )
    if response.status_code == _FORBIDDEN and "Invalid Host" in response.text:
        return (
            f"MLflow does not answer to the name in {server.url}: "
            "add it to the server's allowed hosts"
        )
    if response.status_code == _FORBIDDEN:
        return f"MLflow forbids {user} {_named(call)}, or there is no such thing"
    message = (said or {}).get("message") or f"{response.status_code} {response.reason_phrase}"
    return f"MLflow refuses {_named(call)}: {' '.join(str(message).split())[:400]}"


def _named(call: Call) -> str:
    """Return a call as a reader of a log knows it again."""
    subject = (call.content.get(key) for key in ("run_id", "name", "version", "alias"))
    return " ".join([call.path, *(f"`{part}`" for part in subject if part)])
