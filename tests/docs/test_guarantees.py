"""Each promise names tests that are there, and the page leaves out no promise of the README."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/guarantees.md").read_text()
README = (REPO / "README.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@dataclass(frozen=True)
class Promise:
    """A row of the page: what is said, the tests that hold it, and what is not said."""

    text: str
    held_by: tuple[tuple[str, str], ...]
    limits: str


def promises() -> Iterator[Promise]:
    for line in PAGE.splitlines():
        if line.startswith("|") and not line.startswith(("| promise |", "|---")):
            text, held_by, limits = line.strip("|").split("|")
            yield Promise(text.strip(), tuple(TEST.findall(held_by)), limits.strip())


PROMISES = list(promises())


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.text[:60])
def test_a_promise_is_held_by_tests_that_are_there(promise: Promise) -> None:
    assert promise.held_by, f"no test holds: {promise.text}"
    for file, name in promise.held_by:
        assert name in functions_of(file), f"{file} has no {name}"


def functions_of(file: str) -> set[str]:
    """Names of the test functions of a file; none when there is no such file."""
    path = REPO / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    # A machine of hypothesis is a test by the name that it is given.
    targets = (one for n in tree.body if isinstance(n, ast.Assign) for one in n.targets)
    given = {one.id for one in targets if isinstance(one, ast.Name)}
    names = {found.name for found in functions} | given
    return {name for name in names if name.startswith(("test_", "Test"))}


def test_every_test_named_on_the_page_is_in_a_row() -> None:
    named = {test for promise in PROMISES for test in promise.held_by}
    assert named == set(TEST.findall(PAGE))


def test_what_the_readme_promises_in_bold_is_on_the_page() -> None:
    section = README.split("## What it does\n")[1].split("\n## ")[0]
    bold = re.findall(r"^- \*\*(.+?)\.?\*\*", section, re.MULTILINE)
    assert len(bold) >= 7
    rows = " ".join(promise.text for promise in PROMISES)
    assert [claim for claim in bold if f"**{claim}**" not in rows] == []
