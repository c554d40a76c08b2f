"""Objects under a URL: read, publish once, never overwrite.

A store is one bucket (`s3://data`) or one folder (`file:///…`). Credentials and the endpoint of S3
come from the AWS_* variables, which obstore reads itself.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ml.core.errors import BadInputError
from ml.core.store_trouble import reached

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# A dead endpoint should fail the stage within a minute, not after obstore's three.
PATIENCE: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=40)}
READERS = 8


def sha256(content: bytes) -> str:
    """Name bytes by their hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Store:
    """One bucket or folder, addressed by paths relative to it."""

    url: str

    def uri(self, path: str) -> str:
        """Return the full address of a path in this store."""
        return f"{self.url}/{path}"

    def path(self, uri: str) -> str:
        """Return the path of an address in this store; BadInputError when it lies elsewhere."""
        if not uri.startswith(self.url + "/"):
            raise BadInputError(f"{uri} is not in {self.url}, the place this stage was told to use")
        return uri[len(self.url) + 1 :]

    def read(self, path: str) -> bytes:
        """Return an object's bytes; FileNotFoundError when there is none."""
        with reached(self.url, leave=FileNotFoundError):
            return bytes(self._open.get(path).bytes())

    def read_many(self, paths: list[str]) -> list[bytes]:
        """Read several objects at the same time, in the order asked for."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self.read, paths))

    def size(self, path: str) -> int | None:
        """Return an object's size in bytes, or None when there is no such object."""
        try:
            with reached(self.url, leave=FileNotFoundError):
                return int(self._open.head(path)["size"])
        except FileNotFoundError:
            return None

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return path -> bytes of every object under a prefix."""
        with reached(self.url):
            return {item["path"]: int(item["size"]) for item in self._list(prefix)}

    def create(self, path: str, content: bytes) -> bool:
        """Publish an object whole, unless one is there already; tell whether it was ours."""
        from obstore.exceptions import AlreadyExistsError

        try:
            with reached(self.url, leave=AlreadyExistsError):
                self._open.put(path, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def replace(self, path: str, content: bytes) -> None:
        """Publish an object whole, over an older one: only for what a person asked to mend."""
        with reached(self.url):
            self._open.put(path, content, use_multipart=False)

    def _list(self, prefix: str) -> Iterator[Any]:
        for chunk in self._open.list(prefix):
            yield from chunk

    @cached_property
    def _open(self) -> "ObjectStore":
        from obstore.store import LocalStore, from_url

        parts = urlsplit(self.url)
        if parts.scheme == "file":
            return LocalStore(Path(unquote(parts.path)), mkdir=True)
        return from_url(self.url, retry_config=PATIENCE)


@dataclass(frozen=True)
class Stores:
    """The three places a pipeline touches."""

    landing: Store
    data: Store
    models: Store

    @classmethod
    def at(cls, landing_url: str, data_url: str, models_url: str) -> "Stores":
        """Name the stores by their URLs; nothing is opened before it is used."""
        return cls(Store(landing_url), Store(data_url), Store(models_url))
