"""What it would cost to draw the report's charts with a plotting library, beside what ours cost.

    python -m tests.bench.chart_libraries [--pages FOLDER] [--json]

Needs no cluster, only the package registry. Each library goes into a copy of the stage image's
environment in a temporary folder, which shows what it adds; none of them is in our lock. There the
same findings become the same page, with its four charts drawn by the library in the place of ours.
Times are the best of some processes that start as a pod does: with bytecode and an empty home.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from importlib import import_module
from pathlib import Path

from ml.core.project import Monitor
from ml.core.record import Output, Record
from ml.monitoring import report, svg
from ml.monitoring.findings import (
    GateRecord,
    Measures,
    Model,
    Monitoring,
    Reading,
    Signal,
    Training,
    Verdict,
)
from ml.monitoring.svg import Value
from ml.stages import Stage
from ml.training.intervals import Interval
from tests.bench import library_charts
from tests.bench.library_charts import Picture

REPO = Path(__file__).parents[2]
IMAGE = ("--no-default-groups", "--group", "cluster", "--group", "flights")
PACKAGES = {"altair": ("altair", "vl-convert-python"), "matplotlib": ("matplotlib",)}
MODULES = {
    "altair": ("altair", "vl_convert"),
    "matplotlib": ("matplotlib.figure", "matplotlib.backends.backend_svg"),
}
OURS = "ours"
RUNS = 3
MIB = 1024 * 1024
SVG = re.compile(r'<svg viewBox="0 0 \d{3} .*?</svg>', re.S)
MACRO = re.compile(r"<svg viewBox.*?</svg>", re.S)

AS_OF = date(2013, 3, 14)
RULES = Monitor(window=14)
OWN, OTHER = Model(version="3", sha256="ab" * 32), Model(version="2", sha256="cd" * 32)
GATE = GateRecord(auc=Interval(0.74, 0.73, 0.75), as_of=date(2013, 3, 1), record="s3://data/gate")
RECORD = Record(
    stage=Stage.MONITOR,
    project="flights",
    as_of=AS_OF,
    fingerprint="0" * 16,
    outputs={"monitoring": Output(uri="s3://data/found.json", sha256="", bytes=1)},
    facts={"run_id": "f" * 32},
    created_at=datetime.fromisoformat("2013-03-15T06:00Z"),
)


@dataclass(frozen=True)
class Drawing:
    """One process: a page, and what a library took; of ours, all the memory there is."""

    page: str
    import_seconds: float
    draw_seconds: float
    mib: float


@dataclass(frozen=True)
class Cost:
    """What one way of drawing costs."""

    way: str
    page_bytes: int
    import_seconds: float
    draw_seconds: float
    mib: float
    installed_mib: float
    same_bytes: bool
    lines: int


# What is drawn: two weeks with a day missing, labels that have not arrived, and an older version.


def reading(back: int, model: Model) -> Reading:
    """Invent one day of a model."""
    swing = (back * 37 % 11 - 5) / 250
    auc = 0.715 + back / 1000 + swing - (0.02 if model == OTHER else 0)
    late = back < 2
    measures = Measures(
        scored=900 + back * 31 % 170,
        refused=back * 13 % 40,
        labelled=0 if late else 780 + back * 17 % 90,
        mean_score=0.22 + swing,
        positive_rate=None if late else 0.25 - swing / 2,
        auc=None if late else Interval(auc, auc - 0.026, auc + 0.024),
        log_loss=None if late else 0.5 - swing,
        brier=None if late else 0.15 - swing / 3,
    )
    return Reading(day=AS_OF - timedelta(days=back), model=model, measures=measures, gate=GATE)


def findings() -> Monitoring:
    """Invent what monitoring found."""
    own = [reading(back, OWN) for back in range(13, -1, -1) if back != 6]
    return Monitoring(
        project="flights",
        title="Will a flight arrive late?",
        as_of=AS_OF,
        rules=RULES,
        model=OWN,
        gate=GATE,
        champion="3",
        readings=own + [reading(back, OTHER) for back in (13, 12, 11, 10)],
        window=own[0].measures,
        signals=[Signal(name="quality", verdict=Verdict.WATCH, reason="AUC 0.715")],
        decision=Verdict.WATCH,
        reason="the AUC is 0.025 below the gate's",
        training=Training(due=False),
    )


def pictures(found: Monitoring) -> list[Picture]:
    """Say what the report's four charts show."""
    own = [one for one in found.readings if one.model == OWN]
    days = found.rules.until(found.as_of)
    aucs = [
        (
            f"AUC of version {model.version}",
            look,
            list(report._aucs(found.readings, model)),
        )
        for model, look in ((OWN, "own"), (OTHER, "other-1"))
    ]
    shares = [
        ("mean score", "own", values(own, "mean_score")),
        ("share that came true", "truth", values(own, "positive_rate")),
    ]
    errors = [("Brier score", "own", values(own, "brier"))]
    limits = report._limits(found)
    return [
        Picture("Quality", "AUC per day", days, from_zero=False, series=aucs, levels=limits),
        Picture("Predicted and true", "Mean score per day", days, "%", series=shares),
        Picture("Rows", "Rows per day", days, columns=columns(own)),
        Picture("Error", "Brier score per day", days, digits=4, series=errors),
    ]


def values(readings: list[Reading], name: str) -> list[Value]:
    """List one measure of the days that have it."""
    pairs = [(one.day, getattr(one.measures, name)) for one in readings]
    return [Value(day, value) for day, value in pairs if value is not None]


def columns(readings: list[Reading]) -> list[tuple[date, str, int, str]]:
    """List the parts of every day's column."""
    found = []
    for one in readings:
        seen = one.measures
        found += [
            (one.day, "labelled", seen.labelled, "rows with a label"),
            (one.day, "waiting", seen.scored - seen.labelled, "rows without a label"),
            (one.day, "refused", seen.refused, "rows refused"),
        ]
    return [part for part in found if part[2]]


# What it costs.

SHARED = ("Picture", "Value", "told", "label")
ALTAIR = ("altair_spec", "altair_series", "altair_levels", "altair_columns")
MATPLOTLIB = ("Canvas", "matplotlib_axes", "matplotlib_series", "matplotlib_columns", "finished")
DRAWN_BY: dict[str, tuple[str, ...]] = {
    OURS: (),
    "altair": (*SHARED, *ALTAIR, "altair"),
    "altair with scripts": (*SHARED, *ALTAIR, "scripted"),
    "matplotlib": (*SHARED, *MATPLOTLIB, "matplotlib"),
}


def lines_of(way: str) -> int:
    """Count the lines that turn values into a chart's markup, blank ones aside."""
    text = "\n".join(inspect.getsource(getattr(library_charts, name)) for name in DRAWN_BY[way])
    if way == OURS:
        text = inspect.getsource(svg) + MACRO.findall(report.PAGE.read_text())[0]
    return sum(bool(line.strip()) for line in text.splitlines())


def write(way: str) -> str:
    """Return the page with its charts drawn one way."""
    found = findings()
    page = report.render(found, RECORD)
    if way == OURS:
        return page
    if way == "altair with scripts":
        script, charts = library_charts.scripted(pictures(found))
        page = page.replace("</head>", f'<script type="module">{script}</script>\n</head>')
    else:
        charts = [getattr(library_charts, way)(picture) for picture in pictures(found)]
    left = iter(charts)
    page, replaced = SVG.subn(lambda _: next(left), page)
    assert replaced == len(charts), "the template draws other charts than these"
    return page


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def draw(way: str) -> Drawing:
    """Write the page once; our own modules are imported and the template is read before."""
    report._template()
    before, start = peak_mib(), time.perf_counter()
    for name in MODULES.get(way.split(" ")[0], ()):
        import_module(name)
    imported = time.perf_counter()
    page = write(way)
    drawn = time.perf_counter()
    more = peak_mib() - (0 if way == OURS else before)
    return Drawing(page, imported - start, drawn - imported, more)


def size_mib(folder: Path) -> float:
    """Return the size of a folder's files that the image keeps, its bytecode aside."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    kept = (file for file in files if "tests" not in file.relative_to(folder).parts)
    return sum(file.stat().st_size for file in kept) / MIB


def environment(folder: Path, packages: tuple[str, ...]) -> float:
    """Make the stage image's environment; returns the MiB that packages add, or all without any."""
    from tests.bench.report import cache  # its imports are not in the stage image

    uv = str(max(cache().glob("uv-*/bin/uv")))
    place = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)}
    sync = [uv, "sync", "--quiet", "--frozen", *IMAGE]
    subprocess.run(sync, check=True, cwd=REPO, env=place)
    before = size_mib(folder)
    if not packages:
        return before
    install = [uv, "pip", "install", "--quiet", "--python", str(folder), *packages]
    subprocess.run(install, check=True, cwd=REPO)
    return size_mib(folder) - before


def processes(way: str, venv: Path, bytecode: Path) -> Iterator[Drawing]:
    """Draw in processes of their own, after one that only leaves bytecode behind."""
    for run in range(RUNS + 1):
        with tempfile.TemporaryDirectory() as home:
            command = [str(venv / "bin/python"), "-m", "tests.bench.chart_libraries", "--draw", way]
            place = {"HOME": home, "PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(bytecode)}
            done = subprocess.run(command, check=True, cwd=REPO, env=place, stdout=subprocess.PIPE)
        if run:
            yield Drawing(**json.loads(done.stdout))


def cost(way: str, venv: Path, installed: float, pages: Path | None) -> Cost:
    """Measure one way."""
    drawn = list(processes(way, venv, venv.with_name("bytecode")))
    page = drawn[0].page
    if pages:
        (pages / f"{way.replace(' ', '-')}.html").write_text(page)
    return Cost(
        way,
        len(page.encode()),
        min(one.import_seconds for one in drawn),
        min(one.draw_seconds for one in drawn),
        max(one.mib for one in drawn),
        installed,
        all(one.page == page for one in drawn),
        lines_of(way),
    )


def measure(pages: Path | None = None) -> list[Cost]:
    """Measure all ways, each in the environment it needs."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        sizes = {}
        for way in DRAWN_BY:
            name = way.split(" ")[0]
            venv = Path(folder) / name
            if name not in sizes:
                sizes[name] = environment(venv, PACKAGES.get(name, ()))
            found.append(cost(way, venv, sizes[name], pages))
    return found


def rows(found: list[Cost]) -> str:
    """Return the costs as a Markdown table."""
    from tests.bench.report import table

    head = ("", "page", "import", "draw", "memory", "image", "same bytes", "lines")
    return table(head, [row(one) for one in found])


def row(one: Cost) -> tuple[str, ...]:
    """Return the cells of one way; what a library takes comes on top of what there is."""
    sign = "" if one.way == OURS else "+"
    return (
        *(one.way, f"{one.page_bytes / 1000:.1f} kB"),
        *(f"{one.import_seconds:.2f} s", f"{one.draw_seconds:.3f} s"),
        *(f"{sign}{one.mib:.0f} MiB", f"{sign}{one.installed_mib:.0f} MiB"),
        *("yes" if one.same_bytes else "no", str(one.lines)),
    )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pages", type=Path, help="a folder to keep the pages in")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--draw", choices=DRAWN_BY, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        print(json.dumps(asdict(draw(options.draw))))
        return
    found = measure(options.pages)
    print(json.dumps([asdict(one) for one in found]) if options.json else rows(found))


if __name__ == "__main__":
    main()
