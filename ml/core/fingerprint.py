"""Names for work: the same inputs, code and parameters give the same fingerprint.

Code counts by what it does: comments, docstrings and formatting change no name.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

OURS = Path(__file__).parents[1]
LENGTH = 16
# What a verb is called, may take and tells decides nothing of what it makes.
NO_WORK = frozenset({"ml.stages"})


def fingerprint(**parts: object) -> str:
    """Digest named JSON-able parts to 16 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


@cache
def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of libraries that shape a stage's output."""
    return {package: version(package) for package in packages}


@cache
def code_digest(module: str, package: Path = OURS) -> str:
    """Digest a module of a package with every module of it that it imports, at any depth."""
    digest = hashlib.sha256()
    for path, tree in sorted(_sources(module, package, {}).items()):
        digest.update(f"{path.relative_to(package)}\n{_meaning(tree)}\n".encode())
    return digest.hexdigest()[:LENGTH]


@cache
def source_digest(source: bytes) -> str:
    """Digest a project's code; text that is not Python is digested as it is."""
    try:
        meaning = _meaning(ast.parse(source)).encode()
    except (SyntaxError, ValueError):
        meaning = source
    return hashlib.sha256(meaning).hexdigest()[:LENGTH]


@cache
def libraries(source: bytes) -> dict[str, str]:
    """Return the installed version of each library that a project's code imports.

    By the names they are imported by; "" for one that is not installed. Code that is not Python
    imports none.
    """
    try:
        names = {name.split(".")[0] for name in _imported(ast.parse(source))}
    except (SyntaxError, ValueError):
        return {}
    return {name: _version_of(name) for name in sorted(names - sys.stdlib_module_names)}


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # sklearn comes with scikit-learn
        places = (f"\n{name}/__init__.py,", f"\n{name}.py,")
        texts = ((one, "\n" + (one.read_text("RECORD") or "")) for one in distributions())
        return next((one.version for one, text in texts if any(p in text for p in places)), "")


def _sources(module: str, package: Path, seen: dict[Path, ast.Module]) -> dict[Path, ast.Module]:
    path = _path(module, package)
    if path is None:
        return seen
    if path not in seen:
        seen[path] = ast.parse(path.read_bytes())
        for name in sorted(_imported(seen[path]) - NO_WORK):
            _sources(name, package, seen)
    return seen


def _path(module: str, package: Path) -> Path | None:
    """Find a module's file; None for what is no module of the package, a function for example."""
    root, *parts = module.split(".")
    if root != package.name:
        return None
    place = package.joinpath(*parts)
    files = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _imported(tree: ast.Module) -> set[str]:
    """Name all that is imported, anywhere: `from a import b` may mean the module a.b."""
    return {name for node in ast.walk(tree) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _meaning(tree: ast.Module) -> str:
    """Write code down without what only readers need: places, comments, docstrings."""
    for node in ast.walk(tree):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
