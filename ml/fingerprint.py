"""Names for work: the same inputs, code and parameters give the same fingerprint."""

import ast
import hashlib
import importlib.util
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
LENGTH = 16


def fingerprint(**parts: object) -> str:
    """Digest named JSON-able parts to 16 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


@cache
def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of libraries that shape a stage's output."""
    return {package: version(package) for package in packages}


@cache
def code_digest(module: str) -> str:
    """Digest a module of ours with every module of ours it imports, at any depth."""
    digest = hashlib.sha256()
    for path in sorted(_sources(_path(module), set())):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:LENGTH]


def _sources(path: Path, seen: set[Path]) -> set[Path]:
    if path not in seen:
        seen.add(path)
        for name in _imports(path):
            _sources(_path(name), seen)
    return seen


def _imports(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    named = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return {name for name in named if name.startswith("ml.")}


def _path(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module}")
    return Path(spec.origin)
