"""`helm test`: Airflow, MLflow, the object store and the database answer each other.

Prints one line per question and ends with exit code 1 if any answer was wrong.
"""

import base64
import importlib
import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

TIMEOUT_SECONDS = 20


def ask(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    raw: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """The answer's body; HTTPError when the server refuses."""
    data = raw if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if body is not None else {}
    request = urllib.request.Request(  # noqa: S310 - the chart gives http addresses
        url, data=data, method=method, headers=sent | (headers or {})
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        return bytes(answer.read())


def basic(prefix: str) -> dict[str, str]:
    """The header of a user whose name and password are in the environment."""
    user = f"{os.environ[f'{prefix}_USERNAME']}:{os.environ[f'{prefix}_PASSWORD']}"
    return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


def airflow_is_healthy() -> str:
    """Each process has beaten into the database lately, and the API server reads it there."""
    health = json.loads(ask(f"{os.environ['AIRFLOW_URL']}/api/v2/monitor/health"))
    status = {part: facts.get("status") for part, facts in health.items() if facts}
    wrong = [part for part in status if status[part] != "healthy"]
    if wrong or "metadatabase" not in status:
        raise ValueError(f"not healthy: {status}")
    return ", ".join(sorted(status))


def airflow_lets_the_administrator_in() -> str:
    """The generated password opens the API, and a wrong one does not."""
    url = os.environ["AIRFLOW_URL"]
    login = {"username": os.environ["ADMIN_USERNAME"], "password": os.environ["ADMIN_PASSWORD"]}
    token = json.loads(ask(f"{url}/auth/token", method="POST", body=login))["access_token"]
    dags = ask(f"{url}/api/v2/dags", headers={"Authorization": f"Bearer {token}"})
    refused(lambda: ask(f"{url}/auth/token", method="POST", body=login | {"password": "wrong"}))
    return f"{json.loads(dags)['total_entries']} DAGs"


def mlflow_answers_to_every_name() -> str:
    """No spelling of the Service is taken for an attack."""
    names = os.environ["MLFLOW_HOSTS"].split()
    for name in names:
        url = f"{os.environ['MLFLOW_URL']}/api/2.0/mlflow/experiments/get?experiment_id=0"
        ask(url, headers=basic("STAGES") | {"Host": name})
    url = os.environ["MLFLOW_URL"]
    wrong = {"Authorization": "Basic " + base64.b64encode(b"stages:wrong").decode()}
    refused(lambda: ask(f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0", headers=wrong))
    return f"{len(names)} spellings"


def mlflow_keeps_an_artifact() -> str:
    """A run goes into the database and its artifact, through MLflow, into the object store."""
    url, user = os.environ["MLFLOW_URL"], basic("STAGES")
    run = json.loads(
        ask(
            f"{url}/api/2.0/mlflow/runs/create",
            method="POST",
            body={"experiment_id": _experiment(url, user), "run_name": "helm-test"},
            headers=user,
        )
    )["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    file = f"{url}/api/2.0/mlflow-artifacts/artifacts/{path.lstrip('/')}/hello.txt"
    text = uuid.uuid4().hex.encode()
    try:
        ask(file, method="PUT", raw=text, headers=user)
        same(ask(file, headers=user), text)
    finally:
        gone = {"run_id": run["run_id"]}
        ask(f"{url}/api/2.0/mlflow/runs/delete", method="POST", body=gone, headers=user)
    return f"run {run['run_id'][:8]}"


def _experiment(url: str, user: dict[str, str]) -> str:
    name = "slipway-test"
    try:
        found = ask(
            f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}", headers=user
        )
        return str(json.loads(found)["experiment"]["experiment_id"])
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
    made = ask(
        f"{url}/api/2.0/mlflow/experiments/create",
        method="POST",
        body={"name": name},
        headers=user,
    )
    return str(json.loads(made)["experiment_id"])


def store_keeps_logs_of_airflow_and_nothing_else() -> str:
    """Airflow's user writes logs; it may not look at models."""
    boto3 = importlib.import_module("boto3")
    store = boto3.client("s3")
    logs, models = os.environ["LOGS_BUCKET"], os.environ["MODELS_BUCKET"]
    key, text = f"slipway-test/{uuid.uuid4().hex}", uuid.uuid4().hex.encode()
    store.put_object(Bucket=logs, Key=key, Body=text)
    same(store.get_object(Bucket=logs, Key=key)["Body"].read(), text)
    store.delete_object(Bucket=logs, Key=key)
    refused(lambda: store.list_objects_v2(Bucket=models))
    return f"bucket {logs}"


def same(found: bytes, wanted: bytes) -> None:
    """Raise unless what was read is what was written."""
    if found != wanted:
        raise ValueError(f"read {found!r}, wrote {wanted!r}")


def refused(question: Callable[[], Any]) -> None:
    """Raise unless the question is answered with 'not allowed'."""
    try:
        question()
    except urllib.error.HTTPError as error:
        if error.code not in {401, 403}:
            raise
    except Exception as error:
        if "AccessDenied" not in str(error):
            raise
    else:
        raise ValueError("something was allowed that must be refused")


QUESTIONS: list[Callable[[], str]] = [
    airflow_is_healthy,
    airflow_lets_the_administrator_in,
    mlflow_answers_to_every_name,
    mlflow_keeps_an_artifact,
    store_keeps_logs_of_airflow_and_nothing_else,
]


def main() -> int:
    """Ask everything, also after a wrong answer."""
    wrong = 0
    for question in QUESTIONS:
        name = question.__name__.replace("_", " ")
        try:
            print(f"ok    {name} ({question()})", flush=True)
        except Exception as error:  # every kind of wrong answer is reported alike
            wrong += 1
            print(f"WRONG {name}: {type(error).__name__}: {error}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
