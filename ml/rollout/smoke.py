"""smoke: ask the deployed model what its contract says it answers, over the way that users take.

It asks each time, also when the version was asked before; what the first time gave is kept as
the record.
"""

from __future__ import annotations

import json
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ml.core.errors import BrokenContractError
from ml.core.fingerprint import code_digest, fingerprint
from ml.core.job import Job, log
from ml.core.ledger import Outcome, once, read_outputs, upstream
from ml.core.record import Record, Result, Status
from ml.rollout.contract import CONTRACT, Contract
from ml.rollout.target import UnansweredError
from ml.stages import Stage

# Scores come back as decimal text, from float32 arithmetic on another processor.
TOLERANCE = 1e-4
TIMED = 50
TRIES, PAUSE = 5, 1.0


@dataclass(frozen=True)
class Reply:
    """What the endpoint answered to one request."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the endpoint says
        """The content as JSON; BrokenContractError when it is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise BrokenContractError(f"the endpoint answered {self.content[:80]!r}") from None


@dataclass(frozen=True)
class Endpoint:
    """Where a project's deployed model answers."""

    url: str
    project: str

    def predict(self, rows: object) -> Reply:
        """Ask for predictions; any object may be sent as the rows."""
        return self.ask(f"/v1/projects/{self.project}/predict", json.dumps({"rows": rows}).encode())

    def ask(self, path: str, body: bytes | None = None) -> Reply:
        """Send one request; UnansweredError when no answer comes in several tries."""
        for left in reversed(range(TRIES)):
            try:
                return self._once(path, body)
            except OSError as error:
                if not left:
                    raise UnansweredError(f"{self.url}{path} did not answer: {error}") from error
                time.sleep(PAUSE)
        raise AssertionError("the last try returns or raises")

    def _once(self, path: str, body: bytes | None) -> Reply:
        # A connection for every request, as a kept one would stay with the pod it knows.
        headers = {"content-type": "application/json", "connection": "close"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)  # noqa: S310
        began = time.perf_counter()
        try:
            answer = urllib.request.urlopen(request, timeout=20)  # noqa: S310 - our own address
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            content = answer.read()
            seconds = time.perf_counter() - began
            named = {key.lower(): value for key, value in answer.headers.items()}
            return Reply(int(answer.status or 0), named, content, seconds)


def run(job: Job) -> Result:
    """Hold the deployed model to the contract that build_artifacts wrote."""
    built = upstream(job, Stage.BUILD_ARTIFACTS)
    (text,) = read_outputs(job, Stage.BUILD_ARTIFACTS, [built.outputs[CONTRACT]])
    contract = Contract.model_validate_json(text)
    with endpoint_of(job) as endpoint:
        facts = hold_to(contract, endpoint)
    result = once(job, Stage.SMOKE, _key(built), lambda _: Outcome(facts=facts))
    now = {name: facts[name] for name in Stage.SMOKE.tells}
    return result.model_copy(update={"status": Status.DONE, "facts": now})


def _key(built: Record) -> str:
    return fingerprint(stage=Stage.SMOKE, contract=built.fingerprint, code=code_digest(__name__))


@contextmanager
def endpoint_of(job: Job) -> Iterator[Endpoint]:
    """Find where the project answers; where no server runs, run the one that would."""
    if job.settings.serving_url:
        host = job.project.replace("_", "-")
        yield Endpoint(job.settings.serving_url.replace("{project}", host), job.project)
        return
    from ml.rollout.targets.local import LocalTarget
    from ml.rollout.targets.local_server import served

    with served(LocalTarget.from_environment(), job.project) as url:
        yield Endpoint(url, job.project)


def hold_to(contract: Contract, endpoint: Endpoint) -> dict[str, Any]:
    """Ask everything; return the numbers, or raise BrokenContractError with what is not kept."""
    difference = check_scores(contract, endpoint)
    check_refusals(contract, endpoint)
    check_document(contract, endpoint)
    times = time_rows(contract, endpoint)
    log.info("version %s keeps its contract at %s", contract.version, endpoint.url)
    return {
        "version": contract.version,
        "sha256": contract.sha256,
        "endpoint": endpoint.url,
        "rows": len(contract.sample),
        "largest_difference": difference,
        "p50_ms": round(statistics.median(times), 2),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
    }


def check_scores(contract: Contract, endpoint: Endpoint) -> float:
    """Insist that the new version repeats its sample predictions; return how far it is off."""
    reply = endpoint.predict(contract.sample)
    _insist(reply.status == 200, f"known rows are answered with status {reply.status}")
    found = reply.headers.get("x-model-version")
    _insist(
        found == contract.version,
        f"version {found} answers in place of version {contract.version}",
    )
    said = reply.json
    _insist(str(said.get("model_version")) == contract.version, "header and body differ")
    scores = said.get("predictions", [])
    _insist(
        len(scores) == len(contract.expected),
        f"{len(scores)} scores for {len(contract.sample)} rows",
    )
    gaps: list[float] = [
        abs(got - known) for got, known in zip(scores, contract.expected, strict=True)
    ]
    _insist(all(gap <= TOLERANCE for gap in gaps), f"a known row scores {max(gaps):.2g} off")
    return max(gaps)


def check_refusals(contract: Contract, endpoint: Endpoint) -> None:
    """Insist that what is no row is refused, and said to be the caller's mistake."""
    unknown = {**contract.sample[0], "no such column": 1}
    for what, rows in {
        "an unknown column": [unknown],
        "a row that is a number": [1],
        "no rows": [],
        "a row without columns": [{}] if contract.row.get("required") else [],
    }.items():
        status = endpoint.predict(rows).status
        _insist(status == 422, f"{what} is answered with status {status} instead of 422")


def check_document(contract: Contract, endpoint: Endpoint) -> None:
    """Insist that the OpenAPI document is there and describes this version's rows."""
    reply = endpoint.ask("/openapi.json")
    _insist(reply.status == 200, f"the OpenAPI document is answered with status {reply.status}")
    path = f"/v1/projects/{contract.project}/predict"
    _insist(path in reply.json.get("paths", {}), f"the OpenAPI document has no {path}")
    row = reply.json.get("components", {}).get("schemas", {}).get("Row")
    _insist(row == contract.row, "the OpenAPI document describes other rows")
    status = endpoint.ask("/v2/health/ready").status
    _insist(status == 200, f"the endpoint says with status {status} that it is not ready")


def time_rows(contract: Contract, endpoint: Endpoint) -> list[float]:
    """Return the milliseconds of predictions of one row each, connection included."""
    rows = [contract.sample[n % len(contract.sample)] for n in range(TIMED)]
    replies = [endpoint.predict([row]) for row in rows]
    failed = [reply.status for reply in replies if reply.status != 200]
    _insist(not failed, f"{len(failed)} of {TIMED} single rows are not answered")
    return [reply.seconds * 1000 for reply in replies]


def _insist(kept: bool, otherwise: str) -> None:
    if not kept:
        raise BrokenContractError(
            f"the deployed model breaks its contract: {otherwise}; "
            "`python -m ml roll-back` gives users the version before"
        )
