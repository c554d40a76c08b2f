"""Questions to MLflow's REST API, apart from how they are sent.

A question is a generator: it yields calls, is sent their answers, and returns what it found out.
`MlflowHook.ask` carries one out on a worker, `MlflowHook.aask` in the triggerer, so that what a
sensor waits for is the same in both.

MLflow's basic login answers 403 to whoever asks for a model that does not exist and has no rights
on everything. Models are therefore searched for by name, which finds nothing instead.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowFailException

READY, FAILED = "READY", "FAILED_REGISTRATION"
NOT_FOUND, EXISTS_ALREADY = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


@dataclass(frozen=True)
class Call:
    """One request; `path` is under `/api/2.0/mlflow/`, `expected` are error codes that may come.

    An expected error is answered with an empty object instead of an exception.
    """

    method: str
    path: str
    content: Mapping[str, Any] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()


T = TypeVar("T")
Answer = dict[str, Any]
Question = Generator[Call, Answer, T]


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model."""

    model: str
    version: str
    status: str
    run_id: str
    source: str
    tags: Mapping[str, str]

    @classmethod
    def of(cls, entry: Answer) -> ModelVersion:
        """Read a version as MLflow writes it."""
        return cls(
            model=entry["name"],
            version=str(entry["version"]),
            status=entry.get("status", READY),
            run_id=entry.get("run_id", ""),
            source=entry.get("source", ""),
            tags={tag["key"]: tag.get("value", "") for tag in entry.get("tags", [])},
        )


def get(path: str, *expected: str, **content: str | int) -> Call:
    """Return a call that reads."""
    return Call("GET", path, content, frozenset(expected))


def post(path: str, *expected: str, **content: object) -> Call:
    """Return a call that writes."""
    return Call("POST", path, content, frozenset(expected))


def find_aliases(model: str) -> Question[dict[str, str] | None]:
    """Ask for a model's aliases, alias to version; None when there is no such model."""
    answer = yield get("registered-models/search", filter=f"name = '{quoted(model)}'")
    for entry in answer.get("registered_models", []):
        if entry["name"] == model:
            return {one["alias"]: str(one["version"]) for one in entry.get("aliases", [])}
    return None


def find_version(model: str, version: str) -> Question[ModelVersion | None]:
    """Ask for one version of a model; None when either does not exist."""
    if (yield from find_aliases(model)) is None:
        return None
    answer = yield get("model-versions/get", NOT_FOUND, name=model, version=version)
    entry = answer.get("model_version")
    return ModelVersion.of(entry) if entry else None


def find_newest(model: str) -> Question[ModelVersion | None]:
    """Ask for the version of a model that was registered last; None when there is none."""
    return max((yield from list_versions(model)), key=lambda one: int(one.version), default=None)


def find_alias(model: str, alias: str) -> Question[str | None]:
    """Ask for the version that an alias names; None when it names none."""
    aliases = yield from find_aliases(model)
    return (aliases or {}).get(alias)


def list_versions(model: str, **where: str) -> Question[list[ModelVersion]]:
    """Ask for all versions of a model, or those with `run_id=...`, oldest first."""
    terms = {"name": model, **where}
    question = " AND ".join(f"{name} = '{quoted(value)}'" for name, value in terms.items())
    found: list[ModelVersion] = []
    token = ""
    while True:
        page = {"page_token": token} if token else {}
        answer = yield get("model-versions/search", filter=question, max_results=200, **page)
        found += [ModelVersion.of(entry) for entry in answer.get("model_versions", [])]
        token = answer.get("next_page_token", "")
        if not token:
            return sorted(found, key=lambda one: int(one.version))


def find_metrics(run_id: str) -> Question[dict[str, float]]:
    """Ask for the newest value of each metric of a run."""
    answer = yield get("runs/get", run_id=run_id)
    metrics = answer["run"]["data"].get("metrics", [])
    return {one["key"]: float(one["value"]) for one in metrics}


def register(
    model: str, source: str, run_id: str | None, tags: Mapping[str, str], description: str
) -> Question[ModelVersion]:
    """Make `source` a version of a model; the one that is there already when it is registered.

    Two that register the same at once both get the older version, and the newer one is removed.
    """
    found = yield from _registered(model, source, run_id)
    if found:
        return found[0]
    yield post("registered-models/create", EXISTS_ALREADY, name=model)
    optional = {"run_id": run_id, "model_id": _model_id(source), "description": description}
    content = {name: value for name, value in optional.items() if value}
    answer = yield post(
        "model-versions/create", name=model, source=source, tags=as_tags(tags), **content
    )
    created = ModelVersion.of(answer["model_version"])
    oldest = (yield from _registered(model, source, run_id))[0]
    if oldest.version != created.version:
        doubled = {"name": model, "version": created.version}
        yield Call("DELETE", "model-versions/delete", doubled)
    return oldest


def _registered(model: str, source: str, run_id: str | None) -> Question[list[ModelVersion]]:
    if (yield from find_aliases(model)) is None:
        return []
    where = {"run_id": run_id} if run_id else {}
    versions = yield from list_versions(model, **where)
    return [one for one in versions if one.source == source]


def _model_id(source: str) -> str | None:
    """Return the id in the address of a logged model, `models:/m-...`."""
    name = source.removeprefix("models:/")
    return name if name != source and name.startswith("m-") and "/" not in name else None


def set_tags(model: str, version: str, tags: Mapping[str, str]) -> Question[None]:
    """Write tags on a version; writing one again with the same value changes nothing."""
    for key, value in tags.items():
        yield post("model-versions/set-tag", name=model, version=version, key=key, value=value)


def set_alias(model: str, alias: str, version: str) -> Question[None]:
    """Give an alias to a version, taking it from the one that had it."""
    yield post("registered-models/alias", name=model, alias=alias, version=version)


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags as MLflow reads them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def quoted(text: str) -> str:
    """Return a name that can stand between single quotes in a filter.

    Raises AirflowFailException for one with a quote in it, which no filter can express.
    """
    if "'" in text or "\\" in text:
        raise AirflowFailException(
            f"MLflow cannot search for `{text}`: a name must have no quote in it"
        )
    return text
