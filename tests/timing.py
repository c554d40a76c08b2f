"""What tests and fixtures take: time, CPU time of their own, CPU time of the whole machine.

`pytest --times FILE` writes a table of it. What takes more than its budget allows fails.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Container, Generator, Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.budget import is_shared, of_fixture, of_test, overrun, undeclared

WORTH_A_LINE_S = 5.0
PROPERTY = "took"
TICKS = os.sysconf("SC_CLK_TCK")
# Of the first line of /proc/stat: all but what is idle, waits for a disk, or is counted twice.
BUSY = (0, 1, 2, 5, 6, 7)


@dataclass(frozen=True)
class Spent:
    """Seconds: by the clock, of this process and the ended ones it started, of all processors."""

    wall: float = 0.0
    own: float = 0.0
    machine: float = 0.0

    @classmethod
    def now(cls) -> Spent:
        """Return the counters as they stand: only differences mean anything."""
        return cls(time.monotonic(), sum(os.times()[:4]), machine_seconds())

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.own - other.own, self.machine - other.machine)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.own + other.own, self.machine + other.machine)


def machine_seconds() -> float:
    """Return for how long the machine's processors have been at work."""
    try:
        counters = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0  # no Linux
    return sum(int(counters[index]) for index in BUSY) / TICKS


@dataclass(frozen=True)
class Took:
    """What a test took, or making or unmaking a fixture; `part` when a test's time includes it."""

    place: str
    name: str
    part: bool
    on_cluster: bool
    budget: float | None
    wall: float
    own: float
    machine: float

    @property
    def spent(self) -> Spent:
        """The numbers alone."""
        return Spent(self.wall, self.own, self.machine)


class Stopwatch:
    """Measures the test that runs, and the fixtures that are made and unmade meanwhile."""

    def __init__(self) -> None:
        self._began = self._unmaking = Spent()
        self._fixtures: list[tuple[pytest.FixtureDef[Any], str, Spent]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._began, self._fixtures = Spent.now(), []
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        began = Spent.now()
        try:
            return (yield)
        finally:
            self._fixtures.append((fixturedef, "made", Spent.now() - began))
            fixturedef.addfinalizer(self._unmake)  # the last one added is the first to run

    def _unmake(self) -> None:
        self._unmaking = Spent.now()

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._fixtures.append((fixturedef, "unmade", Spent.now() - self._unmaking))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":
            took = list(self._took(item))
            report.user_properties.append((PROPERTY, [astuple(one) for one in took]))
            overruns = (overrun(one.name, one.budget, one.wall) for one in took)
            too_long = [sentence for sentence in overruns if sentence]
            if too_long and report.passed:
                report.outcome, report.longrepr = "failed", "\n".join(too_long)
        return report

    def _took(self, item: pytest.Item) -> Iterable[Took]:
        """Yield the fixtures' rows and then the test's, which leaves out what is shared."""
        on_cluster = item.get_closest_marker("e2e") is not None
        test = Spent.now() - self._began
        for fixture, what, spent in self._fixtures:
            name, shared = f"fixture {fixture.argname} {what}", is_shared(fixture)
            test = test - spent if shared else test
            yield Took(
                fixture.baseid, name, not shared, on_cluster, of_fixture(fixture), *astuple(spent)
            )
        place, _, name = item.nodeid.partition("::")
        yield Took(place, name, False, on_cluster, of_test(item), *astuple(test))


class Table:
    """Collects what was measured, in however many processes, and writes it down."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Took] = []
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == "teardown":
            found: list[Any] = [value for name, value in report.user_properties if name == PROPERTY]
            self._rows += [Took(*one) for took in found for one in took]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(PAGE.format(today=datetime.now(UTC)) + self._tables())
        terminalreporter.write_line(f"what took how long: {self._path}")

    def _tables(self) -> str:
        return "\n".join([*by_file(self._rows), "", *single(self._rows, self._failed), ""])


PAGE = """# What the tests took

Written by `pytest --times` on {today:%Y-%m-%d}; not edited by hand. Files, and then single tests
and fixtures of five seconds and more.

"""
HEAD = [
    "| file | test or fixture | s | budget | own CPU s | machine's CPU s | |",
    "| --- | --- | ---: | ---: | ---: | ---: | --- |",
]


def by_file(rows: Iterable[Took]) -> list[str]:
    """Return a table of all files, the longest first, and their sum."""
    files: dict[str, Spent] = defaultdict(Spent)
    budgets: dict[str, float] = defaultdict(float)
    for row in rows:
        if not row.part:
            files[row.place] += row.spent
            # What a fixture may take is for making and unmaking it.
            budgets[row.place] += 0 if row.name.endswith(" unmade") else row.budget or 0
    longest = sorted(files, key=lambda place: -files[place].wall)
    lines = [_line(place, "", files[place], budgets[place]) for place in longest]
    return [*HEAD, *lines, _line("in all", "", sum(files.values(), Spent()), sum(budgets.values()))]


def single(rows: Iterable[Took], failed: Container[str] = ()) -> list[str]:
    """Return a table of the tests and fixtures that are worth a line, the longest first."""
    worth = [row for row in rows if row.wall >= WORTH_A_LINE_S]
    lines = []
    for row in sorted(worth, key=lambda row: -row.wall):
        # Where several tests run at once, the machine's time is not one test's.
        spent = row.spent if row.on_cluster else Spent(row.wall, row.own)
        result = "failed" if f"{row.place}::{row.name}" in failed else ""
        lines.append(_line(row.place, row.name, spent, row.budget, result))
    return [*HEAD, *lines]


def _line(place: str, name: str, spent: Spent, budget: float | None, result: str = "") -> str:
    numbers = f"{spent.wall:.1f} | {budget or 0:g} | {spent.own:.1f} | {spent.machine:.0f}"
    return f"| {place} | {name} | {numbers} | {result} |"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run tests on the cluster that do not say how long they may take."""
    silent = {name for item in items if item.get_closest_marker("e2e") for name in undeclared(item)}
    if silent:
        raise pytest.UsageError(
            "these need the cluster and declare no budget (see tests/budget.py): "
            + ", ".join(sorted(silent))
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--times`."""
    parser.addoption("--times", type=Path, metavar="FILE", help="write what took how long to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Measure always, as budgets count always; keep a table where one was asked for."""
    config.pluginmanager.register(Stopwatch())
    if config.option.times:
        config.pluginmanager.register(Table(config.option.times))
