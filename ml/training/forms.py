"""The forms in which a fitted estimator is kept in a file, and the trial of one in a fresh process.

skops is read without running code, so it comes before cloudpickle, which takes whatever model.py
defines along.
"""

import os
import pickletools
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

from ml.serving.manifest import ArtifactManifest, Column
from ml.serving.predictors import quiet_skops

ROOT = Path(__file__).parents[2]
TRIAL_SECONDS = 600


class UnservableError(Exception):
    """A form can't hold the estimator, or its file can't be loaded by a server; says why."""


def onnx(estimator: object, columns: Sequence[Column]) -> bytes:
    """Convert to a graph with an input for each column; raises whatever the converter does."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    inputs = [
        (c.name, StringTensorType([None, 1]) if c.type == "str" else FloatTensorType([None, 1]))
        for c in columns
    ]
    options = {id(estimator): {"zipmap": False}}
    with warnings.catch_warnings():
        # What the converter's own libraries deprecate says nothing about the model.
        warnings.simplefilter("ignore")
        graph = to_onnx(estimator, initial_types=inputs, options=options)
    return bytes(graph.SerializeToString())


def skops(estimator: object, module: ModuleType) -> bytes:
    """Keep the estimator by the names of its classes, which must be a library's."""
    with quiet_skops() as skops_io:
        content = bytes(skops_io.dumps(estimator))
        types = skops_io.get_untrusted_types(data=content)
    own = sorted(name for name in types if name.startswith(f"{module.__name__}."))
    if own:
        names = ", ".join(name.removeprefix(f"{module.__name__}.") for name in own)
        raise UnservableError(f"model.py itself defines {names}")
    return content


def pickled(estimator: object, module: ModuleType) -> bytes:
    """Keep the estimator with all that it uses of model.py."""
    import cloudpickle  # type: ignore[import-untyped]

    with by_value(module):
        return bytes(cloudpickle.dumps(estimator))


def packages_in(content: bytes) -> dict[str, str]:
    """Return the installed versions of the packages that a pickle names a module of.

    A word that happens to be a module's name counts too: one package too many does no harm.
    """
    words = {str(word) for _, word, _ in pickletools.genops(content) if isinstance(word, str)}
    modules = {part.split(".")[0] for word in words for part in word.split()}
    owners = packages_distributions()
    names = {name for module in modules & owners.keys() for name in owners[module]}
    return {name: version(name) for name in names}


@contextmanager
def by_value(*modules: ModuleType) -> Iterator[None]:
    """Let cloudpickle take modules along that can't be imported where the file is loaded."""
    import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def try_out(manifest: ArtifactManifest, content: bytes, packages: Sequence[str]) -> None:
    """Load a model file as a server will; raises UnservableError with the server's words.

    `packages` are those that the model server has beyond ours.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / manifest.file).write_bytes(content)
        (Path(folder) / "manifest.json").write_text(manifest.model_dump_json())
        try:
            tried = _start(folder, manifest.sha256, *packages)
        except subprocess.TimeoutExpired:
            raise UnservableError(f"it takes more than {TRIAL_SECONDS} s to load") from None
    if tried.returncode:
        raise UnservableError((tried.stderr.strip().splitlines() or ["it gave no reason"])[-1])


def _start(folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ml.serving.trial", folder, *arguments],
        env=_bare(os.environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TRIAL_SECONDS,
        check=False,
    )


def _bare(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what only this process is told, its warnings included."""
    kept = {k: v for k, v in environment.items() if not k.startswith(("SLIPWAY", "PYTHONWARN"))}
    return kept | {"PYTHONPATH": str(ROOT)}
