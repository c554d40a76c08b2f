"""Fetch a model artifact and make sure that it is the one that was asked for."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore, from_url
from pydantic import ValidationError

from ml.serving.manifest import ArtifactManifest

MANIFEST = "manifest.json"
# A pod's network can need some seconds before it lets traffic through.
_RETRY_FOR = timedelta(seconds=30)


class ArtifactError(Exception):
    """The artifact can't be served; one sentence that names it and the reason.

    `passing` says whether that may be over soon, as its store did not answer.
    """

    def __init__(self, sentence: str, *, passing: bool = False) -> None:
        super().__init__(sentence)
        self.passing = passing


def fetch(uri: str, sha256: str) -> tuple[ArtifactManifest, bytes]:
    """Return a manifest and the bytes of its model; `uri` names the manifest or its folder.

    Raises ArtifactError when something is missing or its digest is not `sha256`.
    """
    uri = uri.removesuffix(MANIFEST).rstrip("/")
    store = _open(uri)
    manifest = _read_manifest(store, uri)
    if manifest.sha256 != sha256:
        raise ArtifactError(f"{uri}/{MANIFEST} is about model {manifest.sha256}, not {sha256}")
    model = _get(store, uri, manifest.file)
    found = hashlib.sha256(model).hexdigest()
    if found != sha256:
        raise ArtifactError(f"{uri}/{manifest.file} has sha256 {found}, expected {sha256}")
    return manifest, model


def _open(uri: str) -> ObjectStore:
    url = uri if "://" in uri else Path(uri).resolve().as_uri()
    try:
        return from_url(url, retry_config={"max_retries": 20, "retry_timeout": _RETRY_FOR})
    except (BaseError, OSError, ValueError) as error:
        raise ArtifactError(f"{uri} can't be opened: {first_line(error)}") from error


def _get(store: ObjectStore, uri: str, name: str) -> bytes:
    try:
        return bytes(store.get(name).bytes())
    except (NotFoundError, FileNotFoundError) as error:
        raise ArtifactError(f"{uri}/{name} does not exist") from error
    except (BaseError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{uri}/{name} can't be read: {first_line(error)}", passing=_passes(uri, error)
        ) from error


def _passes(uri: str, error: Exception) -> bool:
    """A bucket that did not answer may do so later; one that refused, and a folder, will not."""
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
    return uri.startswith("s3://") and not refused and "status code: 4" not in str(error)


def _read_manifest(store: ObjectStore, uri: str) -> ArtifactManifest:
    raw = _get(store, uri, MANIFEST)
    try:
        return ArtifactManifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ArtifactError(f"{uri}/{MANIFEST} is damaged: {where}: {first['msg']}") from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or the name of its kind when it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
