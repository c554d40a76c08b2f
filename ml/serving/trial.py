"""Load a model as its server will: in a process of its own, with the server's packages only.

Usage: python -m ml.serving.trial FOLDER SHA256 [PACKAGE...], the packages being what a model server
has beyond ours. Prints one sentence and exits with 1 when the model can't be served.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = (
    "cloudpickle",
    "fastapi",
    "fastapi-offline",
    "numpy",
    "obstore",
    "onnxruntime",
    "pandas",
    "prometheus-client",
    "pydantic",
    "pydantic-settings",
    "scikit-learn",
    "skops",
    "uvicorn[standard]",
)
"""What the model server's image is made of: the group `serving` of pyproject.toml."""


def main(arguments: Sequence[str]) -> int:
    """Load the model in a folder and have it repeat its sample; return the exit code."""
    folder, digest, *more = arguments
    sys.meta_path.insert(0, OnlyServed(lacking([*PACKAGES, *more])))
    from ml.serving.artifact import ArtifactError, fetch
    from ml.serving.predictors import load

    try:
        load(*fetch(folder, digest))
    except ArtifactError as error:
        print(_sentence(error), file=sys.stderr)
        return 1
    return 0


def _sentence(error: Exception) -> str:
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError):
        return str(error)
    return (
        f"it needs the package {cause.name}, which a model server does not have; where yours has "
        "it, name it in SLIPWAY_SERVING_PACKAGES"
    )


class OnlyServed(MetaPathFinder):
    """Lets nothing be imported that a model server does not have."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the interface is Python's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for what is not there; leave the rest to the other finders."""
        top, _, rest = fullname.partition(".")
        other_room = top == "ml" and rest and rest.split(".")[0] != "serving"
        if other_room or top in self._names:
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=top)
        return None


def lacking(packages: Sequence[str]) -> set[str]:
    """Name the modules that are installed here for other packages than these and their needs."""
    needed = set(_with_needs(packages, set()))
    owners = packages_distributions().items()
    return {module for module, of in owners if not needed & {canonicalize_name(one) for one in of}}


def _with_needs(packages: Sequence[str], seen: set[str]) -> Iterator[str]:
    for text in packages:
        package = Requirement(text)
        name = canonicalize_name(package.name)
        if name in seen:
            continue
        seen.add(name)
        yield name
        yield from _with_needs(list(_needs(name, package.extras)), seen)


def _needs(name: str, extras: set[str]) -> Iterator[str]:
    try:
        found = requires(name) or []
    except PackageNotFoundError:  # a stage's image lacks what only answers over HTTP
        return
    for text in found:
        need = Requirement(text)
        places = [{"extra": extra} for extra in ("", *extras)]
        if need.marker is None or any(need.marker.evaluate(place) for place in places):
            yield text.partition(";")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
